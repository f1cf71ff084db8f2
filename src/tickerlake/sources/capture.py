"""Recorded sockets as a source: played again through the way that live records take.

The frames of a file go through the provider's own dialect, the feed, and onto the stream, at the
pace at which they came, faster, or as fast as they can be read. `fetched_at` is when they came
first, so a second replay sends the same events, which delivery drops as repeats.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import ClassVar, Final

from tickerlake import clock
from tickerlake.errors import ConfigError, RangeError
from tickerlake.records import Kind
from tickerlake.sources.base import Answer, BarsRequest, Limits, Source
from tickerlake.sources.captures import stream_capture
from tickerlake.sources.live import Dialect, Frame, Live
from tickerlake.sources.sockets import Taken

__all__ = ["CaptureSettings", "CaptureSource"]

#: Frames handed out at once where nothing paces them.
_FRAMES_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """`[sources.capture]`."""

    #: The recorded file; `tickerlake capture record` makes one, and others' are read too.
    path: str | None = None
    #: Whose frames it holds, such as finnhub.
    provider: str | None = None
    #: So many times as fast as it was recorded; none for as fast as it can be read.
    speed: float | None = 1.0

    def __post_init__(self) -> None:
        if self.speed is not None and self.speed <= 0:
            raise ConfigError(
                "[sources.capture] speed must be positive.",
                expected="more than 0, or none",
                found=str(self.speed),
                todo="1 is the original pace, 10 ten times as fast",
            )


class CaptureSource:
    """Frames of a file, once, in their order. Everything in the file is played."""

    name = "capture"
    limits = Limits(intervals=(), history=())
    settings_type: ClassVar[type[CaptureSettings]] = CaptureSettings

    def __init__(self, settings: CaptureSettings | None = None) -> None:
        self._settings = settings or CaptureSettings()
        self._opened: Source | None = None
        if self._settings.provider is not None:
            self._opened = _opened(self._settings.provider)
            self.limits = replace(self.limits, live=self._opened.limits.live)

    @property
    def provider(self) -> str:
        """Whose records these are."""
        return self._theirs().name

    def bars(self, request: BarsRequest) -> Answer:
        """None: a capture is played, not asked.

        Raises:
            RangeError: Always.
        """
        raise RangeError(
            "A capture holds no history to ask for.",
            expected="a replay",
            found=f"a request for {request.symbol} {request.interval}",
            todo="tickerlake capture replay FILE --source PROVIDER",
        )

    def symbols(self) -> Iterator[str]:
        """None."""
        return iter(())

    def dialect(self, symbols: Sequence[str], kinds: Sequence[Kind]) -> Dialect:
        """The provider's own talk.

        Raises:
            ConfigError: No provider is set, or it has no socket.
            RangeError: A kind that it does not send.
        """
        theirs = self._theirs()
        assert isinstance(theirs, Live)  # noqa: S101 - `_opened` has looked
        return theirs.dialect(symbols, kinds)

    def lines(self, stop: threading.Event) -> Iterator[Replayed]:
        """Each recorded connection, one after the other.

        Raises:
            ConfigError: No path is set.
            NotFoundError, MalformedError: There is no such file, or it is none.
        """
        if self._settings.path is None:
            raise ConfigError(
                "[sources.capture] has no path.",
                expected="a recorded file",
                found="none",
                todo="tickerlake capture replay FILE --source PROVIDER",
            )
        found = stream_capture(Path(self._settings.path))
        pace = _Pace(self._settings.speed, stop)
        for _, connection in groupby(found, key=itemgetter(0)):
            yield Replayed((frame for _, frame in connection), pace)

    def parse(
        self,
        payload: bytes,
        *,
        symbol: str | None = None,
        interval: str | None = None,
        received_at: datetime | None = None,
    ) -> Answer:
        """As the provider's own `parse`.

        Raises:
            ConfigError: No provider is set.
            MalformedError: As the provider's.
        """
        return self._theirs().parse(
            payload, symbol=symbol, interval=interval, received_at=received_at
        )

    def _theirs(self) -> Source:
        if self._opened is None:
            raise ConfigError(
                "[sources.capture] does not say whose frames these are.",
                expected="provider, such as finnhub",
                found="none",
                todo="tickerlake capture replay FILE --source PROVIDER",
            )
        return self._opened


def _opened(name: str) -> Source:
    from tickerlake.sources.registry import open_source, settings_type

    declared = {field.name for field in fields(settings_type(name))}
    # Nobody is asked anything, so any key will do.
    keys: dict[str, object] = {
        key: secrets.token_hex() for key in ("api_key", "api_secret") if key in declared
    }
    source = open_source(name, settings=keys)
    if not isinstance(source, Live) or name == CaptureSource.name:
        raise ConfigError(
            f"The source {name!r} has no socket whose frames could be played.",
            expected="a live source",
            found=name,
            todo="`tickerlake sources` lists what each can",
        )
    return source


class Replayed:
    """One recorded connection in place of an open one; nothing of what we say is sent."""

    def __init__(self, frames: Iterator[Frame], pace: _Pace) -> None:
        first = next(frames)
        self.url = first.url
        self.talking = threading.Lock()
        self.batch_seconds = 0.0
        self._frames = chain([first], frames)
        self._pace = pace
        self._next: Frame | None = next(self._frames)
        self._closed = False

    def send(self, texts: Sequence[str | bytes]) -> None:
        """To nobody."""

    def take(self, wait_seconds: float) -> Taken:
        """The frames whose time has come; waits for the first one at most so long."""
        if self._next is None or self._closed:
            return Taken(why="so it was recorded")
        if not self._pace.wait_for(self._next.received_at, wait_seconds):
            return Taken()
        frames: list[Frame] = []
        while (
            self._next is not None
            and len(frames) < _FRAMES_MAX
            and self._pace.is_due(self._next.received_at)
        ):
            frames.append(self._next)
            self._next = next(self._frames, None)
        return Taken(frames)

    def close(self) -> None:
        """Play no more of it."""
        self._closed = True


class _Pace:
    """From the file's clock to ours, over all of its connections."""

    def __init__(self, speed: float | None, stop: threading.Event) -> None:
        self._speed = speed
        self._stop = stop
        self._first: datetime | None = None
        self._began = 0.0

    def is_due(self, at: datetime) -> bool:
        return self._left(at) <= 0

    def wait_for(self, at: datetime, seconds_max: float) -> bool:
        left = self._left(at)
        if left > 0:
            self._stop.wait(min(left, seconds_max))
        return left <= seconds_max and not self._stop.is_set()

    def _left(self, at: datetime) -> float:
        if self._speed is None:
            return 0.0
        if self._first is None:
            self._first, self._began = at, clock.monotonic_seconds()
        story = (at - self._first).total_seconds() / self._speed
        return story - (clock.monotonic_seconds() - self._began)
