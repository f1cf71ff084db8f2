"""A real broker behind the contract of streams, and what only Kafka does to us."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from services import Kafka
from tickerlake.streams import Stream, StreamsSettings, open_stream
from tickerlake.testing.stream_suite import StreamSuite


class TestKafka(StreamSuite):
    """The contract, on a broker; each test has a namespace of its own."""

    @pytest.fixture(autouse=True)
    def _broker(self, kafka: Kafka) -> None:
        self.kafka = kafka

    def open(self, folder: Path, settings: StreamsSettings) -> Stream:
        """The folder's namespace."""
        namespace = "test-" + hashlib.sha256(str(folder).encode()).hexdigest()[:12]
        url = f"kafka://{self.kafka.bootstrap}/{namespace}"
        return open_stream(url, workspace=folder, settings=settings)
