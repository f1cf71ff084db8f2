"""Durable, partitioned, ordered logs behind one contract."""

from tickerlake.streams.base import (
    Batch,
    Bounds,
    Membership,
    Message,
    Places,
    Position,
    Published,
    Stream,
    StreamIdentity,
    Topic,
    Wire,
)
from tickerlake.streams.registry import open_stream
from tickerlake.streams.settings import StreamsSettings

__all__ = [
    "Batch",
    "Bounds",
    "Membership",
    "Message",
    "Places",
    "Position",
    "Published",
    "Stream",
    "StreamIdentity",
    "StreamsSettings",
    "Topic",
    "Wire",
    "open_stream",
]
