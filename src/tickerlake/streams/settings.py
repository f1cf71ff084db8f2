"""Settings of the streams room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tickerlake.errors import ConfigError
from tickerlake.records import Kind
from tickerlake.streams.base import Wire
from tickerlake.streams.kafka.settings import KafkaSettings
from tickerlake.streams.kinesis.settings import KinesisSettings

__all__ = ["SchemaRegistrySettings", "StreamsSettings", "TopicSettings"]


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """`[streams.bars]` and its like: one kind's topic, where it is not ours."""

    #: The topic's (Kinesis: stream's) own name; null: the namespace and the kind.
    topic: str | None = None
    #: How a foreign producer's records become ours: for each of our columns the producer's field,
    #: or a table; see docs/formats.md.
    mapping: Mapping[str, str | Mapping[str, str | float | bool]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SchemaRegistrySettings:
    """`[streams.schema_registry]`: where schemas of `avro` and `json_schema` records are kept."""

    #: Its address, or several with commas; null: there is none.
    url: str | None = None
    #: Who we are to it; null: nobody asks.
    user: str | None = None
    #: Its secret.
    password: str | None = None
    #: Register the schemas of our own records when we publish; off: they must be there already.
    register: bool = True
    #: How long to wait for an answer.
    timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class StreamsSettings:
    """`[streams]`: how topics that we create look, and how long they keep what was delivered."""

    #: Partitions of a topic that we create; a symbol keeps its number where the count is the same.
    partitions: int = 6
    #: Null: `arrow` in the embedded log, `json` on brokers (any consumer can read it).
    wire: Wire | None = None
    #: Delivered records older than this may go; null keeps them. Kafka: a topic that we create
    #: drops what is older, delivered or not; null: as the broker does.
    retention_hours: float | None = None
    #: Delivered records beyond this size may go, oldest first; null keeps them. Kafka: of each
    #: partition of a topic that we create, as above.
    retention_bytes: int | None = field(default=None, metadata={"least": 0})
    #: Let retention drop records that no delivery has committed. Off: nothing undelivered goes.
    retention_drops_undelivered: bool = False
    #: Where workers agree who reads what, on streams that have no groups of their own:
    #: `sqlite:PATH`, `postgresql://…` or `dynamodb://REGION/TABLE`; null: a file in the workspace.
    leases: str | None = None
    #: A worker that was not heard of for so long loses its partitions to the others.
    lease_seconds: float = field(default=6.0, metadata={"least": 0.1})
    bars: TopicSettings = field(default_factory=TopicSettings)
    trades: TopicSettings = field(default_factory=TopicSettings)
    quotes: TopicSettings = field(default_factory=TopicSettings)
    price_bands: TopicSettings = field(default_factory=TopicSettings)
    corporate_actions: TopicSettings = field(default_factory=TopicSettings)
    gaps: TopicSettings = field(default_factory=TopicSettings)
    schema_registry: SchemaRegistrySettings = field(default_factory=SchemaRegistrySettings)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    kinesis: KinesisSettings = field(default_factory=KinesisSettings)

    def unregistered_wire(self, otherwise: Wire) -> Wire:
        """The wire of a stream whose records cannot name a schema.

        Raises:
            ConfigError: The settings say one that needs a registry.
        """
        if self.wire in {"avro", "json_schema"}:
            raise ConfigError(
                f"This stream cannot carry records of the wire {self.wire!r}.",
                expected="json or arrow; avro and json_schema are for Kafka",
                found=f'[streams] wire = "{self.wire}"',
                todo="take the line out, or choose another wire",
            )
        return self.wire or otherwise

    def of(self, kind: Kind) -> TopicSettings:
        """What is said about the kind's topic."""
        return {
            "bar": self.bars,
            "trade": self.trades,
            "quote": self.quotes,
            "price_band": self.price_bands,
            "corporate_action": self.corporate_actions,
            "gap": self.gaps,
        }[kind]
