"""Where bars come from: one file per provider behind one contract."""

from tickerlake.sources.base import (
    About,
    Answer,
    BarsRequest,
    Batches,
    Describes,
    Hit,
    Limits,
    Lists,
    Rename,
    Renames,
    Searches,
    Source,
    Ticks,
    TicksRequest,
    empty_answer,
    select,
)
from tickerlake.sources.batching import Refusals, batched
from tickerlake.sources.live import Dialect, Frame, Heard, Live, Suspicion
from tickerlake.sources.registry import names, open_source

__all__ = [
    "About",
    "Answer",
    "BarsRequest",
    "Batches",
    "Describes",
    "Dialect",
    "Frame",
    "Heard",
    "Hit",
    "Limits",
    "Lists",
    "Live",
    "Refusals",
    "Rename",
    "Renames",
    "Searches",
    "Source",
    "Suspicion",
    "Ticks",
    "TicksRequest",
    "batched",
    "empty_answer",
    "names",
    "open_source",
    "select",
]
