"""How the records of one topic are written, where it is not our own way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tickerlake.records import Kind
from tickerlake.streams.base import Batch
from tickerlake.streams.fields import Layout, plain_layout
from tickerlake.streams.mapping import layout_of
from tickerlake.streams.settings import StreamsSettings

if TYPE_CHECKING:
    from tickerlake.streams.fields import Side

__all__ = ["Form", "form_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """What a topic gives each of its messages, so that all readers read them alike.

    Safe to share between threads.
    """

    layout: Layout

    def wants(self, side: Side) -> bool:
        """Whether a message must carry its records' keys, or their times."""
        return self.layout.wants(side)

    def of(self, batch: Batch) -> Batch:
        """The batch with this form on each of its messages."""
        messages = [replace(message, form=self) for message in batch.messages]
        return replace(batch, messages=messages)


def form_of(settings: StreamsSettings, kind: Kind) -> Form | None:
    """What the settings say of the kind's topic; null: its records are ours.

    Raises:
        ConfigError: The mapping is wrong.
    """
    said = settings.of(kind).mapping
    layout = layout_of(kind, said) if said else plain_layout(kind)
    return Form(layout) if said else None
