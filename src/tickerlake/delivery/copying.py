"""Copy a stream's history into another stream, and tell the lake that it has it.

The lake knows how far a copy is: in the table's properties, beside the offsets, so a copy that was
killed goes on from any machine. For each kind:

1. Deliver the source to its end: what is copied is in the lake before it is copied.
2. Open: write down where the copy stands. While it is open no worker delivers from the target and
   no query reads it, since both would take the copies for new records.
3. Read a chunk of the source; make sure that the lake has it.
4. Publish those of its records that a killed try has not brought there already. They are told by
   key and event id, or by their bytes, in what the target holds from the open chunk's begin on.
5. Deliver the target with a worker that drops what the lake holds already: all copies become
   dropped repeats, and offsets move over them; what others published meanwhile becomes rows.
6. Write down that the chunk is done. Back to 3 until the source's end as seen at the start.
7. Close: from here on the target is a stream like any other, and its offsets stand at its end.

Killed anywhere: 5 may have been done for a part, or for all. A chunk that is begun again finds its
records in the target (4) and in the lake (5), so it sends and delivers none of them twice. Even
records of a killed try that land late, or of a second copy that somebody started by mistake,
become dropped repeats: 5 asks the lake itself about each record that it does not expect.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.delivery.checkpoint import offsets_checked
from tickerlake.delivery.copies import KnownRecords, is_dead, marks_of
from tickerlake.delivery.deliver import deliver
from tickerlake.delivery.settings import DeliverySettings
from tickerlake.delivery.worker import Worker
from tickerlake.errors import (
    CommitRefusedError,
    CommitUnknownError,
    ConfigError,
    DataLossError,
    UnreachableError,
)
from tickerlake.lake.base import Change, Loaded
from tickerlake.lake.positions import copy_property, offsets_of
from tickerlake.lake.retry import commit_until_landed
from tickerlake.records import SCHEMAS, TABLES, TOPICS, Kind, Position, address_of, is_ended
from tickerlake.streams import Stream, Topic, codec

if TYPE_CHECKING:
    from tickerlake.lake.lake import Lake

__all__ = ["Copied", "copy_stream", "copy_topic"]

#: About how many records a chunk has: what a killed copy does again, and what it holds in memory.
CHUNK_RECORDS = 250_000
_READ_RECORDS = 65_536
#: Each chunk makes a few snapshots; too many of them slow every commit down.
_TEND_EVERY_CHUNKS = 20
_WAIT_SECONDS = 1.0
#: Until when a log shows what it has acknowledged, and how often we look.
_SHOWN_SECONDS_MAX = 60.0
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy of one kind did."""

    kind: Kind
    #: Records that were sent to the target, dead letters among them.
    records: int = 0
    dead_letters: int = 0
    #: Records that a killed try had brought to the target already.
    found: int = 0
    #: Records that others had published to the target: delivered on the way.
    delivered: int = 0
    #: Positions that the source dropped before they could be copied; the lake has them.
    gone: int = 0


@dataclass(frozen=True, slots=True)
class _Progress:
    """Where a copy stands: in the table's property of the target."""

    source_id: str
    is_open: bool
    #: Next positions of the source; in the target, where the open chunk's records begin.
    source: Mapping[str, int] = field(default_factory=dict)
    target: Mapping[str, int] = field(default_factory=dict)

    def text(self) -> str:
        return json.dumps(
            {
                "from": self.source_id,
                "open": self.is_open,
                "source": {name: str(at) for name, at in self.source.items()},
                "target": {name: str(at) for name, at in self.target.items()},
            },
            separators=(",", ":"),
        )

    @staticmethod
    def parse(text: str) -> _Progress:
        said = json.loads(text)
        places = (
            {name: Position.parse(at) for name, at in said[side].items()}
            for side in ("source", "target")
        )
        return _Progress(said["from"], said["open"], *places)


def copy_stream(
    source: Stream,
    open_target: Callable[[int], Stream],
    kinds: Sequence[Kind],
    lake: Lake,
    *,
    settings: DeliverySettings,
    stop: threading.Event,
    on_progress: Callable[[Copied], None] = lambda _: None,
) -> list[Copied]:
    """Copy several kinds, one after the other; those that the source has no topic of are left out.

    Topics that the target lacks are made with as many partitions as the source's have, so a symbol
    keeps its number: `open_target` is called with it, for each kind.

    Raises:
        ConfigError, DataLossError: As `copy_topic`.
    """
    there = source.kinds()
    copied = []
    for kind in kinds:
        if kind in there and not stop.is_set():
            target = open_target(len(source.topic(kind).partitions()))
            done = copy_topic(
                source, target, kind, lake, settings=settings, stop=stop, on_progress=on_progress
            )
            copied.append(done)
    return copied


def copy_topic(
    source: Stream,
    target: Stream,
    kind: Kind,
    lake: Lake,
    *,
    settings: DeliverySettings,
    stop: threading.Event,
    on_progress: Callable[[Copied], None] = lambda _: None,
    failpoint: Callable[[str], None] = lambda _: None,
) -> Copied:
    """Copy one kind's records that the source holds now; the lake knows them in both.

    Promise: each record that the source holds at the start is in the target once it returns, in
    order per symbol, with fetched_at, event_id and origin as they were; it is one row of the lake,
    wherever it is delivered from. Run again, it goes on: after a kill, and for what came since.
    Not promised: that a record stands only once in the target after a broker took in late what a
    killed try had sent. The lake still has one row of it.

    Args:
        source: Where the history is. Others may go on publishing to it and delivering from it.
        target: Where it shall be. Others may publish to it; nobody delivers from it meanwhile.
        kind: Which topic.
        lake: What it must not get twice.
        settings: As those of a delivery.
        stop: Set it to end after the chunk that is under way; run it again to go on.
        on_progress: Told after each chunk.
        failpoint: Called after each numbered step. For tests alone.

    Raises:
        ConfigError: Source and target are one log, or another copy into the target is open.
        DataLossError: As a delivery of the source raises it.
    """
    copying = _Copying(
        source, target, kind, lake, settings=settings, stop=stop, failpoint=failpoint
    )
    return copying.run(on_progress)


class _Copying:
    def __init__(
        self,
        source: Stream,
        target: Stream,
        kind: Kind,
        lake: Lake,
        *,
        settings: DeliverySettings,
        stop: threading.Event,
        failpoint: Callable[[str], None],
    ) -> None:
        self._streams = source, target
        self._kind = kind
        self._lake = lake
        self._settings = settings
        self._stop = stop
        self._reached = failpoint
        self._source, self._target = source.topic(kind), target.topic(kind)
        self._table = lake.table(TABLES[kind])
        self._known = KnownRecords(lake, kind)
        self._copied = Copied(kind)
        if self._source.identity() == self._target.identity():
            raise ConfigError(
                f"{source.url} and {target.url} are one and the same log of {TOPICS[kind]}.",
                todo="name another target",
            )

    def run(self, on_progress: Callable[[Copied], None]) -> Copied:
        """Steps 1 to 7."""
        self._deliver_source(self._stop)  # 1.
        if self._stop.is_set():
            return self._copied
        ends = {name: self._source.bounds(name).end for name in self._source.partitions()}
        progress = self._open()  # 2.
        sent = Counter(self._marks_in_target(progress.target))
        first: list[bytes] = []
        for number, (rows, positions) in enumerate(self._chunks(progress.source, ends)):  # 3.
            self._reached("3")
            self._secure(positions)
            marks = marks_of(rows, self._kind)
            first = first or marks
            self._publish(rows, marks, sent)  # 4.
            # Late records of a killed try can only be of the first chunk of this one.
            self._known.expect(first, marks)
            self._deliver_target(progress.target)  # 5.
            # 6. What a killed try left is looked for again until all of it was met.
            at = progress.target if sent else self._offsets(self._target)
            progress = replace(progress, source={**progress.source, **positions}, target=at)
            self._write(progress)
            self._reached("6")
            on_progress(self._copied)
            if number % _TEND_EVERY_CHUNKS == _TEND_EVERY_CHUNKS - 1:
                _tend(self._lake, self._table.name)
            if self._stop.is_set():
                return self._copied
        self._deliver_target(progress.target)
        self._write(replace(progress, is_open=False, target=self._offsets(self._target)))  # 7.
        self._reached("7")
        return self._copied

    def _deliver_source(self, stop: threading.Event) -> None:
        deliver(
            self._streams[0],
            self._lake,
            [self._kind],
            once=True,
            stop=stop,
            settings=self._settings,
        )
        self._reached("1")

    def _open(self) -> _Progress:
        """2. The progress of a copy that is begun, or goes on."""
        source_id, target_id = self._source.identity().id, self._target.identity().id
        begun = _Progress(source_id, is_open=True)

        def decide(loaded: Loaded) -> Change | None:
            nonlocal begun
            offsets_checked(self._table, loaded, self._target.identity())
            text = loaded.properties.get(copy_property(target_id))
            known = _Progress.parse(text) if text else None
            if known is not None and known.is_open and known.source_id != source_id:
                raise ConfigError(
                    f"A copy of another stream into {self._streams[1].url} has not ended.",
                    expected=f"a copy from {self._streams[0].url}",
                    found=f"one from the stream {known.source_id}",
                    todo="run that copy again to its end first, or name another target",
                )
            if known is not None and known.is_open:
                begun = known
            else:
                at = offsets_of(loaded.properties, target_id)
                begun = _Progress(source_id, is_open=True, target=at)
            if known is not None and known.source_id == source_id:
                begun = replace(begun, source=known.source)
            return self._change(begun) if begun != known else None

        commit_until_landed(self._table, decide)
        self._reached("2")
        return begun

    def _write(self, progress: _Progress) -> None:
        text, name = progress.text(), copy_property(self._target.identity().id)

        def decide(loaded: Loaded) -> Change | None:
            return None if loaded.properties.get(name) == text else self._change(progress)

        commit_until_landed(self._table, decide)

    def _change(self, progress: _Progress) -> Change:
        """An empty snapshot: properties alone are compared with nothing."""
        return Change(properties={copy_property(self._target.identity().id): progress.text()})

    def _offsets(self, topic: Topic) -> Mapping[str, int]:
        return offsets_of(self._table.load().properties, topic.identity().id)

    def _marks_in_target(self, begin: Mapping[str, int]) -> Iterator[bytes]:
        """4. What the target holds from where the open chunk's records begin."""
        topic = self._target
        for partition in topic.partitions():
            position = begin.get(partition, topic.bounds(partition).beginning)
            for rows, _ in _read_to_end(topic, self._kind, partition, position, None):
                yield from marks_of(rows, self._kind)

    def _chunks(
        self, begin: Mapping[str, int], ends: Mapping[str, int | None]
    ) -> Iterator[tuple[pa.Table, dict[str, int]]]:
        """3. Records of the source, with the positions after them; parents before children."""
        topic = self._source
        parts: list[pa.Table] = []
        positions: dict[str, int] = {}
        waiting = list(topic.partitions())
        while waiting:
            ready = [p for p in waiting if not set(topic.parents(p)) & (set(waiting) - {p})]
            partition = (ready or waiting)[0]
            waiting.remove(partition)
            position = self._begin_of(partition, begin.get(partition))
            for rows, after in _read_to_end(
                topic, self._kind, partition, position, ends.get(partition)
            ):
                parts.append(rows)
                positions[partition] = after
                if sum(part.num_rows for part in parts) >= CHUNK_RECORDS:
                    yield pa.concat_tables(parts), dict(positions)
                    parts = []
        if positions:
            yield pa.concat_tables(parts) if parts else _no_rows(self._kind), positions

    def _begin_of(self, partition: str, known: int | None) -> int:
        bounds = self._source.bounds(partition, known)
        if known is None or known >= bounds.beginning:
            return bounds.beginning if known is None else known
        self._copied = replace(self._copied, gone=self._copied.gone + bounds.beginning - int(known))
        return bounds.beginning

    def _secure(self, positions: Mapping[str, int]) -> None:
        """3. The lake has all that was read; what came after the first delivery, too."""
        # Numbers of a log that is entered by addresses may have been counted from elsewhere.
        numbered = {name: at for name, at in positions.items() if not address_of(at)}

        def lacks() -> bool:
            offsets = self._offsets(self._source)
            return any(offsets.get(name, -1) < at for name, at in numbered.items())

        if len(numbered) < len(positions) or lacks():
            self._deliver_source(threading.Event())
        if lacks():
            raise DataLossError(
                f"{self._table.name} lacks records that were read from {self._streams[0].url}.",
                todo="nothing of them was copied; run it again, and report it if this stays",
            )

    def _publish(self, rows: pa.Table, marks: Sequence[bytes], sent: Counter[bytes]) -> None:
        """4. The records that are not there yet: sound ones as records, dead ones as they came."""
        fresh = np.ones(rows.num_rows, dtype=bool)
        if sent:
            for row, mark in enumerate(marks):
                if sent[mark] > 0:
                    fresh[row] = False
                    sent[mark] -= 1
            for mark in set(marks):
                if not sent[mark]:
                    del sent[mark]
        found = int(np.count_nonzero(~fresh))
        # Of a dead letter that held nothing the lake has its row, and there is nothing to send.
        blank = pc.and_(is_dead(rows), pc.is_null(rows.column("payload")))
        fresh &= ~blank.to_numpy(zero_copy_only=False)
        self._known.sent(marks[row] for row in np.flatnonzero(fresh).tolist())
        left = rows.filter(pa.array(fresh))
        dead = is_dead(left)
        sound = left.filter(pc.invert(dead))
        letters = left.filter(dead)
        if sound.num_rows:
            self._target.publish(sound.select(SCHEMAS[self._kind].names))
        names = self._target.partitions()
        for partition in sorted(set(letters.column("_partition").to_pylist())):
            own = letters.filter(pc.equal(letters.column("_partition"), partition))
            payloads = own.column("payload").to_pylist()
            self._streams[1].append_raw(self._kind, _place(partition, names), payloads)
            self._reached("4a")
        self._copied = replace(
            self._copied,
            records=self._copied.records + left.num_rows,
            dead_letters=self._copied.dead_letters + letters.num_rows,
            found=self._copied.found + found,
        )
        self._reached("4")

    def _deliver_target(self, begin: Mapping[str, int]) -> None:
        """5. Move the target's offsets over all that was sent; copies become dropped repeats.

        Raises:
            UnreachableError: The target does not show some of them for long.
        """
        until_seconds = clock.monotonic_seconds() + _SHOWN_SECONDS_MAX
        while True:
            worker = Worker(self._target, self._table, settings=self._settings, known=self._known)
            report = worker.run(threading.Event(), once=True)
            self._copied = replace(self._copied, delivered=self._copied.delivered + report.rows)
            self._reached("5")
            if not self._known.has_missing:
                return
            # Its end was seen, but not ours: what it shows after the copy's end would be rows.
            if clock.monotonic_seconds() > until_seconds:
                raise UnreachableError(
                    f"{self._streams[1].url} does not show all that it has acknowledged.",
                    todo="run the same copy again: it goes on; nobody else may deliver from there",
                )
            clock.sleep(_LOOK_SECONDS)
            # What is shown by now, the next round delivers, unless another copy did it for us.
            self._known.shown(self._marks_in_target(begin))


def _read_to_end(
    topic: Topic, kind: Kind, partition: str, position: int, end: int | None
) -> Iterator[tuple[pa.Table, int]]:
    """Decoded rows from `position` on, up to `end` or, where that is null, to the end as of now."""
    if end is None:
        end = topic.bounds(partition).end
    while not is_ended(position) and (end is None or position < end):
        batch = topic.read(
            partition, position, records_max=_READ_RECORDS, wait_seconds=_WAIT_SECONDS
        )
        rows = codec.decode(kind, batch.messages)
        if batch.messages and batch.messages[0].first_position < position:
            rows = rows.filter(pc.greater_equal(rows.column("_offset"), int(position)))
        moved = str(batch.next_position) != str(position)
        position = batch.next_position
        if moved:
            yield rows, position
        elif end is None and batch.at_end:
            return


def _tend(lake: Lake, name: str) -> None:
    """Expire old snapshots; rivals that are faster leave it to the next turn."""
    from tickerlake.lake.maintenance import tend

    with contextlib.suppress(CommitRefusedError, CommitUnknownError):
        tend(lake, name)


def _no_rows(kind: Kind) -> pa.Table:
    return codec.decode(kind, [])


def _place(partition: str, names: Sequence[str]) -> str:
    """Where a dead letter goes: nobody knows its symbol, so it keeps its number if it can."""
    if partition in names:
        return partition
    number = int(partition) if partition.isdecimal() else sum(partition.encode())
    return names[number % len(names)]
