"""From a stream's URL to the stream: ours by name, others through entry points."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from tickerlake.errors import ConfigError
from tickerlake.streams.base import Stream
from tickerlake.streams.settings import StreamsSettings

__all__ = ["open_stream", "schemes"]

#: Packages of others add a scheme under this group; the entry point names a function with the
#: signature of `open_stream`.
ENTRY_POINT_GROUP: Final = "tickerlake.streams"


def open_stream(url: str, *, workspace: Path, settings: StreamsSettings) -> Stream:
    """Open the stream that `url` names; relative paths start at `workspace`.

    Raises:
        ConfigError: No stream goes by this scheme.
    """
    scheme, colon, _ = url.partition(":")
    openers = _openers()
    if not colon or scheme not in openers:
        raise ConfigError(
            f"The stream {url!r} is of no known kind.",
            expected=" or ".join(f"{name}:" for name in sorted(openers)),
            found=url,
            todo='set stream = "embedded:" for the log that needs nothing else installed',
        )
    return openers[scheme]()(url, workspace=workspace, settings=settings)


def schemes() -> list[str]:
    """Every scheme that can be opened here."""
    return sorted(_openers())


_Opener = Callable[..., Stream]


def _openers() -> dict[str, Callable[[], _Opener]]:
    found: dict[str, Callable[[], _Opener]] = {
        point.name: point.load for point in entry_points(group=ENTRY_POINT_GROUP)
    }
    return found | {
        "embedded": lambda: _open_embedded,
        "kafka": lambda: _open_kafka,
        "kinesis": lambda: _open_kinesis,
    }


def _open_embedded(url: str, *, workspace: Path, settings: StreamsSettings) -> Stream:
    """`embedded:` is the workspace's own log, `embedded:FOLDER` one in another place."""
    from tickerlake.streams.embedded import EmbeddedStream

    folder = url.removeprefix("embedded:")
    place = workspace / (folder or "stream")
    return EmbeddedStream(place, settings, url=url, workspace=workspace)


def _open_kafka(url: str, *, workspace: Path, settings: StreamsSettings) -> Stream:  # noqa: ARG001
    """`kafka://HOST:PORT/NAMESPACE` is a namespace of a broker's topics."""
    from tickerlake.streams.kafka.stream import KafkaStream

    return KafkaStream(url, settings)


def _open_kinesis(url: str, *, workspace: Path, settings: StreamsSettings) -> Stream:
    """`kinesis://REGION/NAMESPACE`."""
    from tickerlake.streams.kinesis.stream import KinesisStream

    return KinesisStream(url, workspace, settings)
