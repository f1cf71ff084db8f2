"""How the work is seen from outside: log lines, Prometheus figures, traces."""

from tickerlake.observe.log import log, set_up_log, tell
from tickerlake.observe.prometheus import Family, prometheus_text
from tickerlake.observe.settings import LogSettings
from tickerlake.observe.tracing import trace_span

__all__ = [
    "Family",
    "LogSettings",
    "log",
    "prometheus_text",
    "set_up_log",
    "tell",
    "trace_span",
]
