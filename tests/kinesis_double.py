"""Kinesis streams over an emulator: in a namespace of their own, without limits of rate."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tickerlake.clock import sleep
from tickerlake.records import Position, lake_schema
from tickerlake.streams import Stream, StreamsSettings, Topic, open_stream
from tickerlake.streams.codec import decode
from tickerlake.streams.kinesis.settings import KinesisSettings
from tickerlake.testing.services.http_proxy import HttpProxy
from tickerlake.testing.services.kinesis import REGION, Kinesis

#: An emulator has no limits of its own.
UNHURRIED = KinesisSettings(
    shard_bytes_per_second=0, shard_records_per_second=0, reads_per_second=200
)


def namespace(folder: Path) -> str:
    """A name that belongs to the folder."""
    return "m" + hashlib.sha256(str(folder).encode()).hexdigest()[:12]


def open_kinesis(
    folder: Path, endpoint_url: str, settings: StreamsSettings | None = None, **kinesis: Any
) -> Stream:
    """The namespace that belongs to the folder."""
    own = replace(UNHURRIED, endpoint_url=endpoint_url, **kinesis)
    url = f"kinesis://{REGION}/{namespace(folder)}"
    chosen = replace(settings or StreamsSettings(), kinesis=own)
    return open_stream(url, workspace=folder, settings=chosen)


class Streams:
    """Opens the namespace of a folder, and knows the emulator behind it."""

    def __init__(self, folder: Path, emulator: Kinesis, proxy: HttpProxy) -> None:
        self.folder = folder
        self.proxy = proxy
        self.client = emulator.client()
        self.name = f"{namespace(folder)}-bars"
        self._opened: list[Stream] = []

    def open(self, settings: StreamsSettings | None = None, **kinesis: Any) -> Stream:
        stream = open_kinesis(self.folder, self.proxy.url, settings, **kinesis)
        self._opened.append(stream)
        return stream

    def bars(self, partitions: int = 2, **kinesis: Any) -> Topic:
        """The topic of bars."""
        return self.open(StreamsSettings(partitions=partitions), **kinesis).topic("bar")

    def split(self, shard: str, at: int) -> None:
        """Split a shard at a hash key, and wait until it is done."""
        before = len(self._shards())
        self.client.split_shard(
            StreamName=self.name, ShardToSplit=_shard_id(shard), NewStartingHashKey=str(at)
        )
        self._await_shards(before + 2)

    def merge(self, shard: str, other: str) -> None:
        """Merge two neighbours, and wait until it is done."""
        before = len(self._shards())
        self.client.merge_shards(
            StreamName=self.name,
            ShardToMerge=_shard_id(shard),
            AdjacentShardToMerge=_shard_id(other),
        )
        self._await_shards(before + 1)

    def close(self) -> None:
        for stream in self._opened:
            stream.close()

    def _shards(self) -> list[Any]:
        found: list[Any] = self.client.list_shards(StreamName=self.name)["Shards"]
        return found

    def _await_shards(self, count: int) -> None:
        while len(self._shards()) < count:
            sleep(0.02)


def _shard_id(partition: str) -> str:
    return f"shardId-{int(partition):012d}"


def read_out(topic: Topic) -> tuple[pa.Table, dict[str, int]]:
    """All rows, partition by partition, each after its parents; and where each ends."""
    parts = [lake_schema(topic.kind).empty_table()]
    positions: dict[str, int] = {}
    waiting = topic.partitions()
    while waiting:
        ready = [
            name
            for name in waiting
            if all(getattr(positions.get(p), "ended", False) for p in topic.parents(name))
        ]
        assert ready, f"{waiting} wait for parents that do not end"
        for name in ready:
            at: int = Position(0)
            at_end = False
            while not at_end:
                batch = topic.read(name, at, records_max=500, wait_seconds=0)
                parts.append(decode(topic.kind, batch.messages))
                at, at_end = batch.next_position, batch.at_end
            positions[name] = at
            waiting.remove(name)
    return pa.concat_tables(parts), positions


@pytest.fixture
def kinesis_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any will do."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tickerlake")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tickerlake-secret")


@pytest.fixture
def kinesis_streams(
    kinesis: Kinesis, tmp_path: Path, kinesis_credentials: None
) -> Iterator[Streams]:
    """An empty namespace behind a proxy that can misbehave."""
    with HttpProxy(kinesis.port) as proxy:
        opened = Streams(tmp_path, kinesis, proxy)
        yield opened
        opened.close()
