"""How the records of one topic are written, where it is not our own way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tickerlake.errors import ConfigError
from tickerlake.records import TOPICS, Kind
from tickerlake.streams.base import Batch
from tickerlake.streams.fields import Layout, plain_layout
from tickerlake.streams.mapping import layout_of
from tickerlake.streams.schema_registry import SchemaRegistry
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
    registry: SchemaRegistry | None = None

    def wants(self, side: Side) -> bool:
        """Whether a message must carry its records' keys, or their times."""
        return self.layout.wants(side)

    def of(self, batch: Batch) -> Batch:
        """The batch with this form on each of its messages."""
        messages = [replace(message, form=self) for message in batch.messages]
        return replace(batch, messages=messages)


def form_of(settings: StreamsSettings, kind: Kind, *, keys: bool = False) -> Form | None:
    """What the settings say of the kind's topic; null: its records are ours, and plain.

    `keys` says that the stream has a key for each record.

    Raises:
        ConfigError: The mapping is wrong, or wants keys of a stream that has none; or the wire
            needs a registry and none is named.
    """
    said = settings.of(kind).mapping
    registry = settings.schema_registry
    if registry.url is None and settings.wire in {"avro", "json_schema"}:
        raise ConfigError(
            f"Records of the wire {settings.wire!r} need a schema registry.",
            expected='url = "http://HOST:8081" in [streams.schema_registry]',
            todo="name the registry, or choose another wire in [streams]",
        )
    if not said and registry.url is None:
        return None
    layout = layout_of(kind, said) if said else plain_layout(kind)
    if layout.wants("key") and not keys:
        raise ConfigError(
            f"[streams.{TOPICS[kind]}.mapping] says from_key, and this stream has no keys.",
            expected="a field of the record, or a value that is the same for all",
            todo='write { from = "FIELD" }; keys are for Kafka',
        )
    return Form(
        layout,
        None if registry.url is None else SchemaRegistry(registry),
    )
