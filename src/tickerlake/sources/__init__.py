"""Where bars come from: one file per provider behind one contract."""

from tickerlake.sources.base import Answer, BarsRequest, Limits, Source, empty_answer, select
from tickerlake.sources.registry import names, open_source

__all__ = [
    "Answer",
    "BarsRequest",
    "Limits",
    "Source",
    "empty_answer",
    "names",
    "open_source",
    "select",
]
