"""Kinesis: the contract of every stream, and what is its own, against an emulator."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from tickerlake.streams import Stream, StreamsSettings, open_stream
from tickerlake.streams.kinesis.settings import KinesisSettings
from tickerlake.testing.services.kinesis import REGION, Kinesis
from tickerlake.testing.stream_suite import StreamSuite

#: An emulator has no limits of its own.
UNHURRIED = KinesisSettings(
    shard_bytes_per_second=0, shard_records_per_second=0, reads_per_second=200
)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any will do."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tickerlake")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tickerlake-secret")


def namespace(folder: Path) -> str:
    """A name that belongs to the folder."""
    return "m" + hashlib.sha256(str(folder).encode()).hexdigest()[:12]


class TestKinesisStream(StreamSuite):
    """The contract."""

    @pytest.fixture(autouse=True)
    def emulator(self, kinesis: Kinesis) -> None:
        self.url = kinesis.url

    def open(self, folder: Path, settings: StreamsSettings) -> Stream:
        own = replace(UNHURRIED, endpoint_url=self.url)
        url = f"kinesis://{REGION}/{namespace(folder)}"
        return open_stream(url, workspace=folder, settings=replace(settings, kinesis=own))
