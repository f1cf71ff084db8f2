"""The embedded log keeps the contract of streams, and promises of its own."""

from __future__ import annotations

from pathlib import Path

import hypothesis

from tickerlake.streams import Stream, StreamsSettings, open_stream
from tickerlake.testing.stream_machine import StreamMachine
from tickerlake.testing.stream_suite import StreamSuite


class TestEmbedded(StreamSuite):
    """The contract, on the embedded log."""

    def open(self, folder: Path, settings: StreamsSettings) -> Stream:
        """The log in the folder's `stream`."""
        return open_stream("embedded:", workspace=folder, settings=settings)


class EmbeddedMachine(StreamMachine):
    """Any order of steps, on the embedded log."""

    def open(self, folder: Path, settings: StreamsSettings) -> Stream:
        return open_stream("embedded:", workspace=folder, settings=settings)


TestEmbeddedMachine = EmbeddedMachine.TestCase
TestEmbeddedMachine.settings = hypothesis.settings(
    max_examples=40, stateful_step_count=30, deadline=None
)
