"""A provider's socket as an endless flow of records, over all that happens to a connection.

Whatever ends a connection (an error, a close, silence), another follows, after a pause that grows
while they fail; only wrong use (a key that is refused) ends the flow. What was missed in between,
what the buffer had no room for, and what a dialect finds missing by itself, becomes gap records,
and is asked for from the source's history where it has any.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, Protocol, runtime_checkable

import pyarrow as pa

from tickerlake import clock
from tickerlake.errors import (
    RateLimitedError,
    TickerlakeError,
    UnreachableError,
    UsageError,
)
from tickerlake.records import Kind
from tickerlake.sources.base import Source
from tickerlake.sources.holes import Filled, Filler, Hole, gap_records
from tickerlake.sources.live import Dialect, Frame, Heard, Live
from tickerlake.sources.reach import Reach
from tickerlake.sources.settings import variable_of_key
from tickerlake.sources.sockets import Connection, Dropped, Line, SocketSettings

if TYPE_CHECKING:
    from tickerlake.sources.memory import Left, Memory

__all__ = ["Feed", "Fresh", "Recorded", "Said"]

_LOOK_SECONDS: Final = 0.2
_NOTES_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Said:
    """What happened to the connection, or what the provider said beside its records."""

    event: Literal["connected", "lost", "gap", "filled", "note"]
    text: str


@dataclass(frozen=True, slots=True)
class Fresh:
    """Records to publish now, in order, and what to tell."""

    tables: Mapping[Kind, pa.Table] = field(default_factory=dict)
    said: Sequence[Said] = ()
    #: What the provider sent that is no record of ours, and how many.
    left_out: Mapping[str, int] = field(default_factory=dict)
    #: These bars come from history: which of them are new is to be found out.
    from_history: bool = False


@runtime_checkable
class Recorded(Protocol):
    """A live source whose connections lie in a file."""

    @property
    def provider(self) -> str:
        """Whose records they hold."""
        ...

    def lines(self, stop: threading.Event) -> Iterator[Connection]:
        """Each connection, one after the other, until `stop`."""
        ...


class Feed:
    """Live records of some symbols.

    Promise: what was received before `stop` is handed out before the flow ends; what is known to
    have been missed stands in a gap record, also where a process over the same `memory` was
    killed. For that, what was handed out counts as kept once more is asked for. Not promised: that
    a provider's silence about a record can be noticed where its frames carry no numbers.
    """

    def __init__(
        self,
        source: Source,
        symbols: Sequence[str],
        kinds: Sequence[Kind],
        settings: SocketSettings | None = None,
        *,
        record: Callable[[Frame, int], None] | None = None,
        patient: bool = False,
        memory: Memory | None = None,
    ) -> None:
        """A `patient` one tries without end, though there never was a connection.

        `record` is told each frame, in and out, with the number of its connection. `memory` keeps
        until when was heard, over kills; nothing is kept of what lies in a file.

        Raises:
            UsageError: The source is not live, or not for these kinds, or a key is missing.
        """
        if not isinstance(source, Live):
            raise UsageError(
                f"The source {source.name!r} does not send records by itself.",
                expected="a source with a socket",
                found=source.name,
                todo="leave out what needs a socket; `tickerlake sources` lists what each can",
            )
        self._source, self._live = source, source
        self._recorded = source if isinstance(source, Recorded) else None
        self._key = variable_of_key(source.name) if source.limits.needs_key else None
        self._provider = source.name if self._recorded is None else self._recorded.provider
        self._symbols, self._kinds = tuple(symbols), tuple(kinds or source.limits.live_unnamed)
        #: Empty: all that comes, also what a recording holds beside what is sent live.
        self._chosen = frozenset(kinds)
        self._settings = settings or SocketSettings()
        self._patient = patient
        self._record = record or (lambda _frame, _connection: None)
        self._live.dialect(self._symbols, self._kinds)  # what is wrong shows before all else
        named = () if self._recorded is not None else self._symbols
        delay = source.limits.delay_seconds
        self._reach = Reach(named, self._kinds, delay_seconds=delay)
        self._memory = memory if self._recorded is None else None
        self._left: Sequence[Left] = ()
        self._heard_at: datetime | None = None
        self._lost_why: str | None = None
        #: Why this connection is read no further.
        self._fault: TickerlakeError | None = None
        self._noted: set[str] = set()
        self._connections = 0

    def fresh(self, stop: threading.Event) -> Iterator[Fresh]:
        """Records and events until `stop`.

        Raises:
            UsageError: The provider refuses for good.
            UnreachableError: There never was a connection, after all attempts.
        """
        if self._recorded is not None:
            yield from self._played(self._recorded, stop)
            return
        pauses = _Pauses(self._settings)
        filler = Filler(self._source, self._settings)
        try:
            if self._memory is not None:
                self._left = self._memory.left_behind(self._symbols, self._kinds)
                for left in self._left:
                    self._reach.learn(left.newest)
                    filler.ask(left.holes)
            while not stop.is_set():
                try:
                    talk = self._live.dialect(self._symbols, self._kinds)
                    line = Line(talk, self._settings, key=self._key)
                except UsageError:
                    raise
                except TickerlakeError as error:
                    pause = pauses.next(error)
                    tried_enough = pauses.failed >= self._settings.attempts_max
                    if tried_enough and not self._connections and not self._patient:
                        raise
                    yield Fresh(said=[Said("lost", f"{error.problem} ({error.found})")])
                    yield from self._wait(pause, filler, stop)
                    continue
                began = clock.monotonic_seconds()
                try:
                    ended_by = yield from self._follow(line, talk, filler, stop)
                finally:
                    line.close()
                self._connections += 1
                if not stop.is_set():
                    stood = clock.monotonic_seconds() - began
                    yield from self._wait(pauses.next(ended_by, stood), filler, stop)
            holes = yield from self._last_words(filler)
            if self._memory is not None and not self._left:  # else it is not told yet
                self._memory.close([*filler.open, *holes])
        finally:
            filler.close()
            if self._memory is not None:
                self._memory.release()

    def _played(self, recorded: Recorded, stop: threading.Event) -> Iterator[Fresh]:
        """Holes are told as they were; no history is asked, and nothing follows the last frame."""
        filler = Filler(self._source, self._settings)
        for line in recorded.lines(stop):
            if stop.is_set():
                break
            talk = self._live.dialect(self._symbols, self._kinds)
            yield from self._follow(line, talk, filler, stop)
            self._connections += 1

    def _wait(self, seconds: float, filler: Filler, stop: threading.Event) -> Iterator[Fresh]:
        until = clock.monotonic_seconds() + seconds
        while not stop.is_set() and clock.monotonic_seconds() < until:
            stop.wait(max(0.0, min(_LOOK_SECONDS, until - clock.monotonic_seconds())))
            yield from self._from_history(filler.done())
            yield from self._remember(filler)

    def _follow(
        self, line: Connection, talk: Dialect, filler: Filler, stop: threading.Event
    ) -> Generator[Fresh, None, TickerlakeError | None]:
        """One connection to its end; returns the error that the provider named, if it did."""
        error: TickerlakeError | None = None
        ready = closing = False
        self._fault = None
        while True:
            if stop.is_set() and not closing:
                line.close()
                closing = True
            taken = line.take(_LOOK_SECONDS)
            if taken.dropped is not None:
                yield self._told(self._dropped(taken.dropped), filler)
            incoming = self._incoming(taken.frames)
            if incoming:
                heard = self._read(line, talk, incoming)
                at = incoming[-1].received_at
                begins = not ready and (heard.ready or bool(heard.tables))
                yield from self._understood(heard, at, filler, begins=begins)
                ready = ready or begins
                if ready and self._fault is None:
                    self._heard_at = at
                if heard.error is not None:
                    error = heard.error
                    line.close()
                    closing = True
            yield from self._from_history(filler.done())
            yield from self._remember(filler)
            if taken.why is not None:
                break
            if not closing:
                stop.wait(line.batch_seconds)
        if isinstance(error, UsageError):
            raise error
        if not stop.is_set():
            why = error.problem if error is not None else f"the connection ended: {taken.why}"
            self._lost_why = self._lost_why or why
            if self._recorded is None:
                yield Fresh(said=[Said("lost", why)])
        return error

    def _incoming(self, frames: Sequence[Frame]) -> list[Frame]:
        """Those to read: all that came are recorded."""
        for frame in frames:
            self._record(frame, self._connections)
        return [frame for frame in frames if frame.direction == "in" and self._fault is None]

    def _read(self, line: Connection, talk: Dialect, incoming: Sequence[Frame]) -> Heard:
        """What frames say. A fault of ours ends the connection, not the flow.

        What follows on the connection is not read: a hole begins there.
        """
        try:
            with line.talking:
                heard = talk.read(incoming)
            line.send(heard.replies)
        except Exception as error:  # noqa: BLE001 - whatever it is, other frames are readable
            self._fault = UnreachableError(
                f"A frame of {self._provider} broke our reading.",
                expected="frames that we can read, or pass over",
                found=f"{type(error).__name__}: {str(error)[:200]}",
                todo="report it, with a file of `tickerlake capture record`",
            )
            return Heard(error=self._fault)
        return heard

    def _understood(
        self, heard: Heard, at: datetime, filler: Filler, *, begins: bool
    ) -> Iterator[Fresh]:
        """What some frames said; with the first of a connection, what was missed before it."""
        if begins:
            yield Fresh(said=[Said("connected", "records come")])
            yield self._told(self._missed(at), filler)
            if self._memory is not None:  # before the first record can be on the stream
                self._memory.note(self._heard_at or at, self._reach.series(), filler.open)
        yield self._fresh(heard, at)
        yield self._told(self._reach.suspected(heard.suspicions), filler)

    def _fresh(self, heard: Heard, received_at: datetime) -> Fresh:
        chosen = self._chosen or heard.tables.keys()
        tables = {kind: table for kind, table in heard.tables.items() if kind in chosen}
        for kind, table in tables.items():
            self._reach.take(kind, table, received_at)
        said = [Said("note", note) for note in heard.notes if note not in self._noted]
        if len(self._noted) < _NOTES_MAX:
            self._noted.update(note.text for note in said)
        return Fresh(tables=tables, said=said, left_out=heard.left_out)

    def _missed(self, until: datetime) -> list[Hole]:
        """From the last word of the connection, or the process, before to the first of this one."""
        why, self._lost_why = self._lost_why, None
        left, self._left = self._left, ()
        delay = self._source.limits.delay_seconds
        holes = [hole for one in left for hole in one.holes_until(until, delay_seconds=delay)]
        if why is not None and self._heard_at is not None:
            holes += self._reach.holes(self._heard_at, until, why)
        return holes

    def _dropped(self, dropped: Dropped) -> list[Hole]:
        why = f"{dropped.frames} frames came faster than they could be published"
        return self._reach.holes(dropped.first, dropped.last, why)

    def _remember(self, filler: Filler) -> Iterator[Fresh]:
        """What was handed out until now is kept by whoever took it."""
        memory = self._memory
        if memory is None or self._heard_at is None or not memory.is_due():
            return
        memory.note(self._heard_at, self._reach.series(), filler.open)
        if memory.trouble is not None and memory.trouble not in self._noted:
            self._noted.add(memory.trouble)
            yield Fresh(said=[Said("note", memory.trouble)])

    def _told(self, holes: Sequence[Hole], filler: Filler) -> Fresh:
        if not holes:
            return Fresh()
        at = clock.now()
        if self._recorded is None:
            filler.ask(holes)
        else:
            at = max(hole.end for hole in holes)  # a second replay tells the same event
        return Fresh(
            tables={"gap": gap_records(self._provider, holes, at)},
            said=[Said("gap", _shown(hole, hole.why)) for hole in holes],
        )

    def _from_history(self, done: Sequence[Filled]) -> Iterator[Fresh]:
        for one in done:
            if one.table is not None:
                yield Fresh(tables={one.hole.kind: one.table}, from_history=True)
            if one.filled is not None:
                table = gap_records(
                    self._provider,
                    [one.hole],
                    clock.now(),
                    filled=one.filled,
                    reason=one.reason,
                )
                event: Literal["filled", "gap"] = "filled" if one.filled else "gap"
                yield Fresh(tables={"gap": table}, said=[Said(event, _shown(one.hole, one.reason))])

    def _last_words(self, filler: Filler) -> Generator[Fresh, None, list[Hole]]:
        """Returns the holes that it is too late to ask for."""
        holes: list[Hole] = []
        if self._lost_why is not None and self._heard_at is not None:
            why = f"{self._lost_why}; stopped before another connection stood"
            holes = self._reach.holes(self._heard_at, clock.now(), why)
            yield Fresh(tables={"gap": gap_records(self._provider, holes, clock.now())})
        filler.close()
        yield from self._from_history(filler.done())
        return holes


class _Pauses:
    """How long to wait before the next attempt: longer each time, until a connection stood."""

    def __init__(self, settings: SocketSettings) -> None:
        self._settings = settings
        self.failed = 0

    def next(self, error: TickerlakeError | None, stood_seconds: float = 0.0) -> float:
        settings = self._settings
        if stood_seconds >= settings.reconnect_seconds_max:
            self.failed = 0
        pause = min(settings.reconnect_seconds * 2.0**self.failed, settings.reconnect_seconds_max)
        self.failed = min(self.failed + 1, 1000)
        if isinstance(error, RateLimitedError):
            pause = max(pause, settings.rate_limited_seconds)
        # Between half and the whole, so that many clients do not come back together.
        return pause * (0.5 + secrets.randbelow(500) / 1000)


def _shown(hole: Hole, reason: str) -> str:
    span = f"{hole.start:%Y-%m-%d %H:%M:%S} to {hole.end:%H:%M:%S}Z"
    return f"{hole.symbol} {hole.interval or hole.kind} {span}: {reason}"
