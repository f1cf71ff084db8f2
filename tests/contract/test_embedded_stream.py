"""The embedded log keeps the contract of streams, and promises of its own."""

from __future__ import annotations

from pathlib import Path

from tickerlake.streams import Stream, StreamsSettings, open_stream
from tickerlake.testing.stream_suite import StreamSuite


class TestEmbedded(StreamSuite):
    """The contract, on the embedded log."""

    def open(self, folder: Path, settings: StreamsSettings) -> Stream:
        """The log in the folder's `stream`."""
        return open_stream("embedded:", workspace=folder, settings=settings)
