"""The Kinesis stream: a namespace with one Kinesis stream for each kind of record."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa

from tickerlake import clock
from tickerlake.errors import ConfigError, NotFoundError, UnreachableError
from tickerlake.records import KINDS, TOPICS, Kind, Position
from tickerlake.streams.aws import RefusedError, Reply, Service
from tickerlake.streams.base import (
    Batch,
    Bounds,
    Membership,
    Published,
    StreamIdentity,
    Wire,
)
from tickerlake.streams.form import form_of
from tickerlake.streams.kinesis.fan_out import FanOut
from tickerlake.streams.kinesis.polling import Polling, Source
from tickerlake.streams.kinesis.publisher import Publisher
from tickerlake.streams.kinesis.reader import Reader
from tickerlake.streams.kinesis.shards import Shards
from tickerlake.streams.leases import AloneMembership, LeasedMembership, open_store
from tickerlake.streams.outgoing import checked
from tickerlake.streams.settings import StreamsSettings

__all__ = ["KinesisStream", "KinesisTopic"]

#: Notes at a stream that we created by how many partitions its symbols were spread.
_TAG: Final = "tickerlake-partitions"
_MISSING: Final = "ResourceNotFoundException"
_DESCRIBED_SECONDS_MAX: Final = 600.0
#: A new stream of the same name is noticed within this.
_CHECKED_SECONDS_MAX: Final = 10.0
_ACTIVE_SECONDS_MAX: Final = 120.0
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
#: What Kinesis keeps records for at least, and at most, in hours.
_RETENTION_HOURS: Final = (24, 8760)


class KinesisTopic:
    """One kind's Kinesis stream.

    Promise: what `publish` returned is in the stream, on disk in three availability zones, in order
    per symbol also where shards are split or merged. Not promised: that a `publish` which raised
    did not land, nor that a record which was published twice is there once; delivery sees to that.
    """

    dense = False

    def __init__(self, service: Service, name: str, kind: Kind, settings: StreamsSettings) -> None:
        self.kind: Kind = kind
        self._service = service
        self._name = name
        self._settings = settings
        self._wire: Wire = settings.unregistered_wire("json")
        self._form = form_of(settings, kind)
        self._described = _opened(service, name, settings)
        self._described_at = clock.monotonic_seconds()
        text = f"Kinesis {self._described['StreamARN']}, created {_created(self._described)}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._identity = StreamIdentity(id=digest, text=text)
        self._lock = threading.Lock()
        self._shards = Shards(service, name)
        self._publisher: Publisher | None = None
        polling = Polling(
            service, name, self._shards, reads_per_second=settings.kinesis.reads_per_second
        )
        source: Source = polling
        if settings.kinesis.fan_out:
            arn = self._described["StreamARN"]
            source = FanOut(service, polling, arn, self._shards, settings.kinesis.fan_out)
        self._reader = Reader(
            service,
            name,
            self._shards,
            polling,
            source,
            retention_seconds=self._retention_seconds,
            check_stream=lambda: self._describe(_CHECKED_SECONDS_MAX),
        )

    def identity(self) -> StreamIdentity:
        """A hash of the stream's ARN and of when it was created."""
        return self._identity

    def partitions(self) -> list[str]:
        """The shards that Kinesis names, also those that are closed and still hold records."""
        return list(self._shards.listed())

    def partition_sets(self) -> list[list[str]]:
        """Those that may still get records, and those that are closed: workers share each set."""
        listed = self._shards.listed()
        return [
            [name for name, shard in listed.items() if shard.is_open == is_open]
            for is_open in (True, False)
        ]

    def parents(self, partition: str) -> Sequence[str]:
        """The shards that this one was split off from, or merged from, as long as they are named.

        Raises:
            NotFoundError: Kinesis names no such shard.
        """
        shard = self._shards.named(partition)
        listed = self._shards.listed()
        return [parent for parent in shard.parents if parent in listed]

    def bounds(
        self, partition: str, seen: int | None = None, *, parents: Sequence[int] = ()
    ) -> Bounds:
        """The oldest record's place; the end is only found by reading."""
        return self._reader.bounds(partition, seen, parents)

    def tip(self, partition: str) -> Position:
        """Behind what is there now; its number counts from here on, not from the beginning."""
        return self._reader.tip(partition)

    def publish(self, table: pa.Table) -> list[Published]:
        """Put the records in; return once Kinesis has taken them all.

        Positions are addresses alone: nobody says how many records came before them.

        Raises:
            MalformedError: The table does not fit the schema; nothing was published.
            LimitError: A record is too large; nothing was published.
            UnreachableError: Records may have landed; the message says which.
        """
        records = checked(table, self.kind)
        if not records.num_rows:
            return []
        published = self._opened_publisher().publish(records, self.kind, self._wire)
        self._reader.published()
        return published

    def append_raw(self, partition: str, payloads: Sequence[bytes]) -> Published:
        """Append records that are JSON already, checked by nobody, to the end of one shard."""
        shard = self._shards.named(partition)
        if not payloads:
            at = Position(0)
            return Published(partition, 0, at, at)
        published = self._opened_publisher().put_raw(payloads, shard.first_hash)
        self._reader.published()
        return published[0]

    def read(
        self, partition: str, position: int, *, records_max: int, wait_seconds: float
    ) -> Batch:
        """Messages from `position` on; waits up to `wait_seconds` where there are none yet.

        Raises:
            RetentionPassedError: The stream may no longer hold what comes next.
            RangeError: The position is a plain number: a shard cannot be entered by it.
        """
        batch = self._reader.read(
            partition, position, records_max=records_max, wait_seconds=wait_seconds
        )
        return batch if self._form is None else self._form.of(batch)

    def wait(self, positions: Mapping[str, int], *, wait_seconds: float) -> bool:
        """Ask within the limits until any of the shards holds something behind its position."""
        return self._reader.wait(positions, wait_seconds=wait_seconds)

    def close(self) -> None:
        """End what Kinesis pushes."""
        self._reader.close()

    def _opened_publisher(self) -> Publisher:
        with self._lock:
            if self._publisher is None:
                self._publisher = Publisher(
                    self._service,
                    self._name,
                    self._shards,
                    self._partition_count(),
                    self._settings.kinesis,
                )
            return self._publisher

    def _partition_count(self) -> int:
        """By how many a symbol's hash is divided: what the stream was created for."""
        try:
            reply = self._service.ask("list_tags_for_stream", StreamName=self._name)
        except (ConfigError, RefusedError):  # Not allowed: then the settings say so.
            return self._settings.partitions
        tags = {tag["Key"]: tag["Value"] for tag in reply["Tags"]}
        return int(tags.get(_TAG, self._settings.partitions))

    def _retention_seconds(self) -> float:
        return float(self._describe(_DESCRIBED_SECONDS_MAX)["RetentionPeriodHours"]) * 3600

    def _describe(self, seconds_max: float) -> Reply:
        """What Kinesis says of the stream, at most so old; raises if it is another one by now."""
        with self._lock:
            now = clock.monotonic_seconds()
            if now - self._described_at > seconds_max:
                found = _summary(self._service, self._name)
                if found is None or _created(found) != _created(self._described):
                    raise NotFoundError(
                        f"The Kinesis stream {self._name} is not the one that was opened.",
                        expected=self._identity.text,
                        found="none of that name"
                        if found is None
                        else f"one that was created {_created(found)}",
                        todo="start again; the lake begins the new stream at its beginning",
                    )
                self._described, self._described_at = found, now
            return self._described


class KinesisStream:
    """A namespace: `kinesis://REGION/NAMESPACE` holds the streams `NAMESPACE-bars` and so on."""

    def __init__(self, url: str, workspace: Path, settings: StreamsSettings) -> None:
        self.url = url
        self._workspace = workspace
        self._settings = settings
        region, _, namespace = url.removeprefix("kinesis:").removeprefix("//").partition("/")
        self._namespace = namespace.strip("/") or "market"
        sound = region and url.startswith("kinesis://") and _NAME.fullmatch(self._namespace)
        if not sound:
            raise ConfigError(
                f"The stream {url!r} names no region, or a namespace that Kinesis does not take.",
                expected="kinesis://REGION/NAMESPACE",
                found=url,
                todo='write, say, stream = "kinesis://us-east-1/market"',
            )
        kinesis = settings.kinesis
        self._service = Service(
            "kinesis", region, kinesis.endpoint_url, patience_seconds=kinesis.patience_seconds
        )
        self._lock = threading.Lock()
        self._topics: dict[Kind, KinesisTopic] = {}

    def kinds(self) -> list[Kind]:
        """Kinds whose stream exists already."""
        return [kind for kind in KINDS if _summary(self._service, self._name(kind))]

    def topic(self, kind: Kind) -> KinesisTopic:
        """The kind's stream; created with our settings if it does not exist yet."""
        with self._lock:
            if kind not in self._topics:
                self._topics[kind] = KinesisTopic(
                    self._service, self._name(kind), kind, self._settings
                )
            return self._topics[kind]

    def append_raw(self, kind: Kind, partition: str, payloads: Sequence[bytes]) -> Published:
        """Append records that are JSON already, checked by nobody, to the end of one shard."""
        return self.topic(kind).append_raw(partition, payloads)

    def join(self, kind: Kind, group: str, *, alone: bool = False) -> Membership:
        """A member of a group whose leases are kept where the settings say."""
        topic = self.topic(kind)
        if alone:
            return AloneMembership(topic.partition_sets)
        return LeasedMembership(
            open_store(self._settings.leases, workspace=self._workspace),
            group,
            topic.partition_sets,
            lease_seconds=self._settings.lease_seconds,
        )

    def remove(self, kind: Kind) -> None:
        """Delete the kind's stream and all that it holds, for ever; nothing if there is none."""
        try:
            self._service.ask("delete_stream", StreamName=self._name(kind))
        except RefusedError as error:
            if error.code != _MISSING:
                raise

    def close(self) -> None:
        """Give back the connections."""
        with self._lock:
            for topic in self._topics.values():
                topic.close()
        self._service.close()

    def _name(self, kind: Kind) -> str:
        return self._settings.of(kind).topic or f"{self._namespace}-{TOPICS[kind]}"


def _opened(service: Service, name: str, settings: StreamsSettings) -> Reply:
    """The stream's description; a missing one is created, one that exists is left as it is."""
    found = _summary(service, name)
    is_new = found is None
    if is_new:
        _create(service, name, settings)
    deadline = clock.monotonic_seconds() + _ACTIVE_SECONDS_MAX
    while found is None or found["StreamStatus"] in {"CREATING", "DELETING"}:
        if clock.monotonic_seconds() > deadline:
            raise UnreachableError(
                f"The Kinesis stream {name} does not become active.",
                expected=f"ACTIVE within {_ACTIVE_SECONDS_MAX:g} seconds",
                found=found["StreamStatus"] if found else "no such stream",
                todo="look at it in the AWS console, then try again",
            )
        clock.sleep(0.2)
        found = _summary(service, name)
    hours = min(int(settings.retention_hours or 0), _RETENTION_HOURS[1])
    if is_new and hours > _RETENTION_HOURS[0]:
        service.ask("increase_stream_retention_period", StreamName=name, RetentionPeriodHours=hours)
        found = {**found, "RetentionPeriodHours": hours}
    return found


def _create(service: Service, name: str, settings: StreamsSettings) -> None:
    how: dict[str, object] = {"ShardCount": settings.partitions}
    if settings.kinesis.on_demand:
        how = {"StreamModeDetails": {"StreamMode": "ON_DEMAND"}}
    try:
        service.ask("create_stream", StreamName=name, Tags={_TAG: str(settings.partitions)}, **how)
    except RefusedError as error:
        if error.code != "ResourceInUseException":  # Somebody else was faster.
            raise


def _summary(service: Service, name: str) -> Reply | None:
    try:
        reply = service.ask("describe_stream_summary", StreamName=name)
    except RefusedError as error:
        if error.code == _MISSING:
            return None
        raise
    found: Reply = reply["StreamDescriptionSummary"]
    return found


def _created(description: Reply) -> str:
    """The whole second it fell into, in UTC, as in the stream's own sequence numbers."""
    return f"{int(description['StreamCreationTimestamp'].timestamp())}"
