"""Frames that are arrays of events of several forms, each of which names its own.

One compiled decoder reads a frame into structs, one of a form; columns are made of many frames'
structs at once. Arrow's reader of JSON (see `frames`) cannot be used where one name holds a list
in one form and a number in another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, get_args

import msgspec
import numpy as np
import pyarrow as pa

from tickerlake.records import SCHEMAS
from tickerlake.sources.columns import LaxDecoder
from tickerlake.sources.live import Frame

__all__ = ["Pile", "TaggedFrames", "codes", "column", "has_tag", "texts"]

_INSTANT: Final = SCHEMAS["trade"].field("fetched_at").type
_RAWS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NOTED_CHARS: Final = 120


@dataclass(slots=True)
class Pile:
    """Events of one kind in their order, and the number of each one's frame."""

    events: list[Any] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def add(self, event: object, place: int) -> None:
        """Put one on top."""
        self.events.append(event)
        self.places.append(place)

    def received(self, frames: Sequence[Frame]) -> pa.Array:
        """When each one's frame came: timestamp[us, UTC]."""
        times = pa.array([frame.received_at for frame in frames], _INSTANT)
        return times.take(pa.array(np.array(self.places, np.int64)))

    def where(self, keep: Sequence[bool]) -> Pile:
        """Only some."""
        chosen = [at for at, kept in enumerate(keep) if kept]
        return Pile([self.events[at] for at in chosen], [self.places[at] for at in chosen])


class TaggedFrames:
    """Reads incoming frames of one union of tagged structs. Keeps nothing between two calls."""

    def __init__(self, events: Any, tag: str) -> None:  # noqa: ANN401 - a union of structs
        """`tag`: the field by which an event says what it is."""
        self._list = msgspec.json.Decoder(list[events])
        self._one = LaxDecoder(events)
        self._tag = tag
        self._known = frozenset(kind.__struct_config__.tag for kind in get_args(events))

    def read(
        self, frames: Sequence[Frame], notes: list[str]
    ) -> Iterable[tuple[int, Sequence[Any]]]:
        """The number of each incoming frame, and its events; what cannot be read is noted."""
        decode = self._list.decode
        for place, frame in enumerate(frames):
            if frame.direction == "out":
                continue
            try:
                yield place, decode(frame.data)
            except (ValueError, RecursionError):
                yield place, self._piecewise(frame.data, notes)

    def _piecewise(self, data: str | bytes, notes: list[str]) -> Sequence[Any]:
        """One by one, so that an odd event costs only itself."""
        raws: list[str | bytes | msgspec.Raw] = []
        try:
            for told in _RAWS.decode(data):  # recorders gather frames in an array of their own
                raws += _RAWS.decode(told) if bytes(told)[:1] == b"[" else [told]
        except (ValueError, RecursionError):
            raws = [data]  # a single event, or nothing of the kind
        events = []
        for raw in raws:
            try:
                events.append(self._one.decode(raw))
            except (ValueError, RecursionError):
                notes.append(self._odd(raw))
        return events

    def _odd(self, raw: str | bytes | msgspec.Raw) -> str:
        """What is told of an event that is not read: one sentence for all of its kind."""
        try:
            kind = msgspec.json.decode(_OBJECT.decode(raw)[self._tag])
        except (ValueError, KeyError, RecursionError):
            kind = None
        if isinstance(kind, str) and kind not in self._known:
            return f"events of the kind {kind[:20]!r} were left out: we have no such record"
        shown = raw if isinstance(raw, str) else bytes(raw).decode(errors="replace")
        return f"an event that we cannot read: {shown[:_NOTED_CHARS]!r}"


def column(events: Sequence[Any], name: str) -> pa.Array:
    """One field of all events, float64, null where it is."""
    return pa.array(list(map(attrgetter(name), events)), pa.float64())


def texts(values: Iterable[object]) -> pa.Array:
    """Numbers and texts as text."""
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def codes(events: Sequence[Any], name: str) -> pa.Array:
    """One field of all events as text, where it is one code, several, or null; with commas."""
    found = map(attrgetter(name), events)
    return texts([",".join(map(str, one)) if type(one) is list else one for one in found])


def has_tag(payload: bytes, tag: str) -> bool:
    """Whether a file is one single frame of such events, an event, or an array of frames."""
    try:
        first: bytes | msgspec.Raw = payload
        for _ in range(2):
            if bytes(first).lstrip()[:1] == b"[":
                first = _RAWS.decode(first)[0]
        return tag in _OBJECT.decode(first)
    except (ValueError, RecursionError, IndexError):
        return False
