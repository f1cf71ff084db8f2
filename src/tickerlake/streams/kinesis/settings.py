"""`[streams.kinesis]`."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["KinesisSettings"]


@dataclass(frozen=True, slots=True)
class KinesisSettings:
    """`[streams.kinesis]`: how we speak to Kinesis, within its limits.

    Credentials come by boto3's own chain (environment, profile, role), never from here.
    """

    #: Where an emulator listens, such as `http://127.0.0.1:4567`; null: AWS itself.
    endpoint_url: str | None = None
    #: A stream that we create scales by itself, instead of having `streams.partitions` shards.
    on_demand: bool = False
    #: Put many JSON records into one Kinesis record (the Kinesis Producer Library's format).
    aggregate: bool = True
    #: A call of PutRecords is at most so large. AWS takes 10485760, emulators 5242880.
    call_bytes_max: int = field(default=5 * 1024 * 1024, metadata={"least": 1024})
    #: A Kinesis record is at most so large, its partition key counted.
    record_bytes_max: int = field(default=1024 * 1024, metadata={"least": 1024})
    #: What we publish to one shard in a second; 0 leaves the pace to the service's refusals.
    shard_bytes_per_second: int = field(default=1024 * 1024, metadata={"least": 0})
    #: The same in Kinesis records.
    shard_records_per_second: int = field(default=1000, metadata={"least": 0})
    #: How often one process reads a shard in a second. AWS allows 5 for all processes together.
    reads_per_second: float = field(default=2.0, metadata={"least": 0.1})
    #: The name of a registered consumer: its reads have a rate of their own (enhanced fan-out).
    fan_out: str | None = None
    #: How long we try again where Kinesis cannot be reached, or asks to come back later.
    patience_seconds: float = field(default=60.0, metadata={"least": 0})
