"""Until when a listening process had heard what: for the next one, where this one is killed.

Each run keeps one small file, replaced as a whole every few seconds, and a lock beside it that the
kernel frees when the process ends, however it does. A file whose lock is free is what a dead run
left behind. What it says was on the stream by then, so the time since is a hole. A run that is
stopped politely leaves nothing, or the holes that history has not answered yet.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from tickerlake import clock
from tickerlake.locks import file_lock
from tickerlake.records import Kind
from tickerlake.sources.holes import Hole
from tickerlake.sources.reach import Reach, Series

__all__ = ["Left", "Memory"]

#: How often what was heard is written down: at most so much is asked for twice after a kill.
_EVERY_SECONDS: Final = 2.0
_SUFFIX: Final = ".json"
_LOCK: Final = ".lock"
_PART: Final = ".part"


class _State(msgspec.Struct):
    """What a file holds; a later version may add fields."""

    #: Null: nothing is left but `holes`.
    heard_until: datetime | None
    #: Every series, and the time of its newest record.
    series: list[tuple[Series, datetime | None]]
    #: Told as not filled, and not answered for good.
    holes: list[Hole]


_DECODER: Final = msgspec.json.Decoder(_State)


class Left:
    """What a dead run left behind of what is asked for now."""

    def __init__(
        self, path: Path, state: _State, symbols: Sequence[str], kinds: Sequence[Kind]
    ) -> None:
        every, wanted = "*" in symbols, {symbol.casefold() for symbol in symbols}

        def is_ours(one: Series | Hole) -> bool:
            return one.kind in kinds and (every or one.symbol.casefold() in wanted)

        self.path = path
        self.newest = {series: at for series, at in state.series if is_ours(series)}
        self.holes = [hole for hole in state.holes if is_ours(hole)]
        self._heard_until = state.heard_until
        self._others = _State(
            state.heard_until,
            [told for told in state.series if not is_ours(told[0])],
            [hole for hole in state.holes if not is_ours(hole)],
        )

    def holes_until(self, until: datetime, *, delay_seconds: float) -> list[Hole]:
        """What nobody listened to, from its last word to `until`."""
        if self._heard_until is None:
            return []
        reach = Reach((), (), delay_seconds=delay_seconds, newest=self.newest)
        why = f"a process that ended without a word was last heard of at {self._heard_until:%F %T}Z"
        return reach.holes(self._heard_until, until, why)

    def settle(self) -> None:
        """It is told now, and remembered by another; others' part stays."""
        if self._others.series or self._others.holes:
            _write(self.path, self._others)
        else:
            _remove(self.path)


class Memory:
    """One run's file. Used by one thread.

    Promise: after a kill the next run over the same folder learns since when it must ask. Not
    promised: anything where files cannot be written (`trouble` says why), or on Windows, which has
    no locks: there two runs at once take each other for dead, and tell gaps that are none.
    """

    def __init__(self, folder: Path, provider: str) -> None:
        """Nothing is touched before `left_behind`."""
        self._folder, self._provider = folder, provider
        #: Why nothing can be remembered, if so.
        self.trouble: str | None = None
        self._path: Path | None = None
        self._left: list[Left] = []
        self._held: dict[Path, ExitStack] = {}
        self._noted_at: float | None = None

    def left_behind(self, symbols: Sequence[str], kinds: Sequence[Kind]) -> Sequence[Left]:
        """Take over what dead runs left of these; it stays on disk until the first `note`."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(self._folder.glob(f"{self._provider}-*{_SUFFIX}")):
                self._take_over(path, symbols, kinds)
            own = self._folder / f"{self._provider}-{secrets.token_hex(6)}{_SUFFIX}"
            self._hold(own)
            self._path = own
        except OSError as error:
            self.trouble = f"gaps of a killed process cannot be known: {error}"
        return tuple(self._left)

    def note(
        self,
        heard_until: datetime,
        series: Mapping[Series, datetime | None],
        holes: Sequence[Hole],
    ) -> None:
        """All that was heard until then is on the stream, and these holes are told."""
        self._noted_at = clock.monotonic_seconds()
        if series or holes:
            self._put(_State(heard_until, list(series.items()), list(holes)))

    def is_due(self) -> bool:
        """Whether it is time for another note."""
        at = self._noted_at
        return at is None or clock.monotonic_seconds() - at >= _EVERY_SECONDS

    def close(self, holes: Sequence[Hole]) -> None:
        """The run ended politely; these holes wait for the next one."""
        self._put(_State(None, [], list(holes)))
        self.release()

    def release(self) -> None:
        """The run is over, in whatever way: what is on disk is for the next one."""
        for held in self._held.values():
            held.close()
        self._held.clear()
        self._path = None

    def _put(self, state: _State) -> None:
        if self._path is None:
            return
        try:
            if state.series or state.holes:
                _write(self._path, state)
            else:
                _remove(self._path)
            for left in self._left:
                left.settle()
                self._held.pop(left.path).close()
            self._left.clear()
        except OSError as error:  # such as a full disk: what is listened to matters more
            self.trouble = f"gaps of a killed process cannot be known: {error}"

    def _take_over(self, path: Path, symbols: Sequence[str], kinds: Sequence[Kind]) -> None:
        if not self._hold(path):
            return  # it lives
        with contextlib.suppress(OSError, msgspec.DecodeError):  # gone meanwhile; or not ours
            left = Left(path, _DECODER.decode(path.read_bytes()), symbols, kinds)
            if left.newest or left.holes:
                self._left.append(left)
                return
        self._held.pop(path).close()

    def _hold(self, path: Path) -> bool:
        """Whether the file is ours now; it is, until `release`."""
        held = ExitStack()
        try:
            held.enter_context(file_lock(path.with_suffix(_LOCK), seconds_max=0))
        except TimeoutError:
            return False
        self._held[path] = held
        return True


def _write(path: Path, state: _State) -> None:
    """As a whole or not at all: also where the machine stops in the middle."""
    part = path.with_suffix(_PART)
    with part.open("wb") as file:
        file.write(msgspec.json.encode(state))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _remove(path: Path) -> None:
    """The file first: whoever sees the lock's file alone learns nothing from it."""
    for name in (path, path.with_suffix(_PART), path.with_suffix(_LOCK)):
        name.unlink(missing_ok=True)
