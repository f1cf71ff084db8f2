"""Traces through OpenTelemetry's API, where that is installed; otherwise nothing at all.

Only the API is used. Who wants traces installs the extra `otel` and an SDK, and says where they
go in the standard way, such as `opentelemetry-instrument tickerlake deliver`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

__all__ = ["trace_span"]

Attribute = str | bool | int | float | None

_NOTHING: Final = nullcontext()


def trace_span(name: str, **attributes: Attribute) -> AbstractContextManager[object]:
    """A piece of work; what it raises is recorded with it.

    Args:
        name: What is done, such as `deliver.commit`.
        attributes: What it is done to; those that are null are left out.
    """
    tracer = _tracer()
    if tracer is None:
        return _NOTHING
    return tracer.start_as_current_span(f"tickerlake.{name}", attributes=_given(attributes))


@functools.cache
def _tracer() -> Tracer | None:
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.trace") is None:
        return None
    from opentelemetry import trace

    return trace.get_tracer("tickerlake")


def _given(attributes: Mapping[str, Attribute]) -> dict[str, str | bool | int | float]:
    return {f"tickerlake.{name}": value for name, value in attributes.items() if value is not None}
