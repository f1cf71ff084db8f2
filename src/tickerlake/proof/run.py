"""One run: a log and a lake of its own, workers that suffer a fault, and the judgement."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa

from tickerlake import app, clock
from tickerlake.config import make_workspace
from tickerlake.errors import TickerlakeError
from tickerlake.proof.base import MissedError, Strike
from tickerlake.proof.ledger import Counts, Ledger, mark
from tickerlake.records import TABLES, Kind, is_ended
from tickerlake.testing.faults import Child, Nursery, Plan
from tickerlake.testing.invariants import findings, lake_offsets, live_rows, spans_of, table_state
from tickerlake.testing.sample_records import sample_bars

if TYPE_CHECKING:
    from tickerlake.lake.lake import Lake
    from tickerlake.proof.ground import Lakes, Logs, Place
    from tickerlake.streams import Stream, Topic

__all__ = ["WINDOW", "Run"]

WINDOW = 4_000
#: Small flushes, so that a run has many commits, and reads that cut across them.
SETTINGS: Mapping[str, Any] = {
    "flush_rows": 60,
    "read_records": 50,
    "repeat_window": WINDOW,
    "poll_seconds": 0.05,
    "flush_seconds": 0.2,
    "commit_pause_seconds": 0.005,
    "commit_seconds_max": 20.0,
}
#: Before the others nothing was read, after them all that was read is committed.
HOLDING = ("5", "6", "6a", "7", "2", "3", "8a", "8b")
#: After these a worker knows that what it holds has landed.
_LANDED = ("7c", "8", "10")
#: So many more workers, and so many more records for each, until one comes to its step.
_TRIES = 3
_MORE = 360
SYMBOLS = ("AAPL", "IBM", "MSFT", "GOOG", "FB", "GBp.L", "BTC-USD", "^GSPC", "0700.HK")
_SETTLED_SECONDS = 30.0
#: A publisher that is not done by then waits for a worker that was stopped.
_STUCK_SECONDS = 30.0
#: The longest that a worker takes to come to a step, broker and all.
PAUSED_SECONDS = 10.0
_RAW_FIRST = 1_000_000_000
#: Bars of another deployment have other numbers, so that each can be told apart.
_BESIDE_FIRST = 300_000


class Run:
    """What a fault works with. Everything that it draws comes from `random`.

    Args:
        seed: Of everything that is drawn.
        place: The run's own log and lake.
        logs: What may be done to the log.
        lakes: What may be done to the lake.
        nursery: Where workers come from.
    """

    kind: Kind = "bar"

    def __init__(
        self, seed: int, *, place: Place, logs: Logs, lakes: Lakes, nursery: Nursery
    ) -> None:
        self.seed = seed
        self.random = random.Random(seed)  # noqa: S311 - a seed that can be repeated
        # Its own: publishing may run in a thread beside the fault.
        self._publisher_random = random.Random(f"publisher {seed}")  # noqa: S311
        self.place = place
        self.logs = logs
        self.lakes = lakes
        self.ledger = Ledger()
        self.strikes: list[Strike] = []
        self.findings: list[str] = []
        #: Positions that somebody gave up on purpose: retention had passed them.
        self.group = f"prove-{place.folder.name}"
        #: Whether repeats are sent: not where a fault voids the window that drops them.
        self.repeats = True
        #: Whether records without an id are sent: not where what is sent again comes twice.
        self.raws = True
        self._nursery = nursery
        self._children: list[Child] = []
        self._beside: list[Run] = []
        self._endless: set[int] = set()
        self._next_bar = 0
        self._next_raw = _RAW_FIRST
        self._unsure: list[pa.Table] = []
        self._last: pa.Table | None = None
        self._open = ExitStack()
        make_workspace(place.folder)

    @cached_property
    def workspace(self) -> app.Workspace:
        """The run's own workspace, as its publisher sees it."""
        flags = {"tables.fsync": False, **self.place.flags}
        return self._open.enter_context(app.open(self.place.folder, settings=flags))

    def reopen(self) -> None:
        """Go on as a publisher that has only just started."""
        self._open.close()
        del self.workspace

    @property
    def stream(self) -> Stream:
        """The run's stream."""
        return self.workspace.stream

    @property
    def topic(self) -> Topic:
        """The run's topic, opened as whoever publishes has it."""
        return self.stream.topic(self.kind)

    @property
    def lake(self) -> Lake:
        """The run's lake."""
        return self.workspace.lake

    @property
    def table(self) -> str:
        """The table that the run's topic feeds."""
        return TABLES[self.kind]

    @property
    def namespace(self) -> str:
        """Where the lake's tables are in its catalog."""
        return self.workspace.config.settings.tables.namespace

    def power(self, name: str) -> Any:  # noqa: ANN401 - each power is its own kind of thing
        """What may be done to the log or the lake, by name."""
        return {**self.logs.powers, **self.lakes.powers}[name]

    # Publishing

    def publish(
        self,
        count: int = 240,
        *,
        symbols: Sequence[str] = SYMBOLS,
        seconds_apart: int = 86_400,
    ) -> None:
        """New bars in several batches, some of them sent twice, and a few dead letters."""
        third = max(1, count // 3)
        for _ in range(3):
            first = self._next_bar
            bars = sample_bars(third, symbols=symbols, first=first, seconds_apart=seconds_apart)
            self._next_bar += third
            self._last = bars
            self._send(bars)
            if self.repeats and self._publisher_random.random() < 0.3:
                self._send(bars.slice(0, third // 2))
        if self.raws:
            self.raw(['{"symbol":"X","open":"MARK"', "\u20ac MARK", "[MARK"])

    def publish_again(self) -> None:
        """The last bars once more, as a producer does that was not sure of them."""
        if self._last is not None:
            self._send(self._last)

    def raw(self, templates: Sequence[str | bytes], *, partition: str | None = None) -> None:
        """Records of a foreign producer; `MARK` in them becomes what they are known by."""
        payloads, numbers = [], []
        for template in templates:
            text = template.encode() if isinstance(template, str) else template
            payloads.append(text.replace(b"MARK", mark(self._next_raw).encode()))
            numbers.append(self._next_raw)
            self._next_raw += 1
        try:
            chosen = partition or self._publisher_random.choice(self.topic.partitions())
            self.stream.append_raw(self.kind, chosen, payloads)
        except TickerlakeError:
            self.ledger.unsure_raw.update(numbers)
        else:
            self.ledger.acked.update(numbers)

    def foreign(self, count: int, *, acknowledged: bool) -> Iterator[str]:
        """Marks of records that somebody else publishes in JSON, as their `provider`."""
        for _ in range(count):
            if acknowledged:
                self.ledger.acked.add(self._next_raw)
            yield mark(self._next_raw)
            self._next_raw += 1

    @contextmanager
    def publishing(self, count: int) -> Iterator[None]:
        """Publish in a thread of its own, whatever happens to the log meanwhile."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="publisher") as thread:
            future = thread.submit(self.publish, count)
            try:
                yield
            finally:
                if not wait([future], _STUCK_SECONDS).done:
                    # One that was stopped may hold the embedded log's turn to write, which the
                    # kernel gives back only when its holder dies.
                    for child in self._children:
                        child.signal(signal.SIGCONT)
            future.result()

    def _send(self, bars: pa.Table) -> None:
        numbers = {int(volume) for volume in bars.column("volume").to_pylist()}
        try:
            self.topic.publish(bars)
        except TickerlakeError:
            # Nobody knows what of it has landed: it is sent again when all is well.
            self._unsure.append(bars)
            self.ledger.unsure |= numbers - self.ledger.acked
        else:
            self.ledger.acked |= numbers
            self.ledger.unsure -= numbers

    def send_again(self) -> None:
        """Publish what had an unknown outcome once more, as a producer does that came back."""
        again, self._unsure = self._unsure, []
        for bars in again:
            self._send(bars)

    def beside(self) -> Run:
        """Another deployment, with a log of its own, that somebody pointed at the same lake."""
        name = f"{self.place.folder.name}-beside"
        place = replace(
            self.place,
            folder=self.place.folder.with_name(name),
            stream=self.logs.url(name),
        )
        other = Run(self.seed, place=place, logs=self.logs, lakes=self.lakes, nursery=self._nursery)
        other._next_bar, other._next_raw = _BESIDE_FIRST, self._next_raw + _RAW_FIRST
        self._beside.append(other)
        return other

    # Workers

    def plan(self, **plan: Any) -> Plan:  # noqa: ANN401 - fields of `Plan`
        """A worker of this run."""
        settings = {**SETTINGS, **plan.pop("settings", {})}
        flags = {**self.place.flags, **plan.pop("flags", {})}
        # A member gets its share in a moment: the end as seen now would be no end.
        filled = {"group": self.group, "once": plan.get("alone", True), **plan}
        return Plan(
            str(self.place.folder), kind=self.kind, settings=settings, flags=flags, **filled
        )

    def start(self, **plan: Any) -> Child:  # noqa: ANN401 - fields of `Plan`
        """Start a worker."""
        wanted = self.plan(**plan)
        child = self._nursery.start(wanted)
        self._children.append(child)
        if not wanted.once:
            self._endless.add(child.number)
        return child

    def wake(self, child: Child, *errors: str) -> str | None:
        """Let a worker go on that stands still, to the log's end; its error, if it had one."""
        child.signal(signal.SIGCONT)
        if child.number in self._endless:
            self.wait_for(lambda: child.ended or self.backlog() == 0, "the delivery of the rest")
            child.signal(signal.SIGTERM)
        return self.expect_end(child, *errors)

    def paused(self, step: str, *, nth: int = 1, **plan: Any) -> Child:  # noqa: ANN401
        """Start a worker and wait until it stands still after a step, with rows in its hands.

        One that had delivered all before it came there gets more records.

        Raises:
            MissedError: It never came there.
        """
        wanted = {"step": step, "nth": nth, "action": "pause", "holding": True, **plan}
        child = self.start(**wanted)
        for _ in range(_TRIES):
            endless = child.number in self._endless
            with suppress(TimeoutError) if endless else nullcontext():
                if child.wait_paused(at_most=PAUSED_SECONDS if endless else None):
                    return child
            self.publish(_MORE)
            if child.ended:
                child = self.start(**{**wanted, "nth": 1})
        raise MissedError(step)

    def some_time(self, step: str) -> int:
        """Which time a worker comes to a step: drawn, an early one."""
        return 1 if step in {"1", "4"} else self.random.choice([1, 1, 1, 2])

    def killed(self, step: str, *, nth: int = 1, **plan: Any) -> None:  # noqa: ANN401
        """Let a worker die by SIGKILL after a step, with records in flight.

        Raises:
            MissedError: None ever came there with any.
        """
        for times in (nth, *[1] * _TRIES):
            child = self.dead(step, nth=times, **plan)
            if child is not None:
                self.struck(f"killed after {step}", child, step=step)
                if self.strikes[-1].counts:
                    return
            self.publish(_MORE)
        raise MissedError(step)

    def dead(self, step: str, *, nth: int = 1, **plan: Any) -> Child | None:  # noqa: ANN401
        """A worker that died by SIGKILL after a step; null if it never came there."""
        child = self.start(step=step, nth=nth, holding=step in HOLDING, **plan)
        return child if child.wait() == -signal.SIGKILL else None

    def struck(self, what: str, child: Child | None = None, *, step: str | None = None) -> None:
        """The fault happens now, or has just happened: note what is under way."""
        in_hand = child.rows_in_hand() if child and step not in _LANDED else None
        self.strikes.append(Strike(what, self.backlog(), in_hand))

    def missed(self, why: str) -> NoReturn:
        """The fault cannot strike this time."""
        self.strikes.clear()
        raise MissedError(why)

    def expect_end(self, child: Child, *errors: str) -> str | None:
        """Wait for a worker's end; an error that the fault does not explain is a finding."""
        status = child.wait()
        if status < 0:
            name = signal.Signals(-status).name
            if name not in errors:
                self.findings.append(f"a worker was ended by {name}")
            return name
        report = child.report()
        error: str | None = report.get("error")
        if error is not None and error not in errors:
            self.findings.append(f"a worker failed: {error}: {report['problem']}")
        return error

    def deliver(self, *errors: str, **plan: Any) -> str | None:  # noqa: ANN401
        """A worker that nobody disturbs, up to the log's end; its error, if it had one."""
        return self.expect_end(self.start(**plan), *errors)

    # Looking

    def backlog(self) -> int:
        """Records of the log that no commit covers."""
        offsets = lake_offsets(self.lakes.eyes(self.place), self.topic)
        return sum(self._after(name, offsets.get(name)) for name in self.topic.partitions())

    def _after(self, partition: str, offset: int | None) -> int:
        bounds = self.topic.bounds(partition)
        at = bounds.beginning if offset is None else offset
        if bounds.end is not None:
            return max(0, bounds.end - at)
        count, at_end = 0, is_ended(at)
        while not at_end:
            batch = self.topic.read(partition, at, records_max=100_000, wait_seconds=0)
            count += sum(message.count for message in batch.messages)
            at, at_end = batch.next_position, batch.at_end
        return count

    def positions(self) -> Mapping[str, int]:
        """Next position by partition, as the lake has it; the log's beginning where it has none."""
        offsets = lake_offsets(self.lakes.eyes(self.place), self.topic)
        topic = self.topic
        return {n: offsets.get(n, topic.bounds(n).beginning) for n in topic.partitions()}

    def wait_for(self, condition: Callable[[], bool], what: str) -> bool:
        """Wait until something is so; that it never is, is a finding."""
        deadline = clock.monotonic_seconds() + _SETTLED_SECONDS
        while not condition():
            if clock.monotonic_seconds() > deadline:
                self.findings.append(f"{what} did not happen within {_SETTLED_SECONDS:.0f} s")
                return False
            clock.sleep(0.03)
        return True

    def judge(self) -> None:
        """Look for what is wrong now, while some of the log may still be undelivered."""
        self.findings += findings(
            self.topic,
            self.lakes.eyes(self.place),
            repeat_window=WINDOW,
            acknowledged=self.logs.acknowledged(self.place, self.group),
        )

    # The end

    def finish(self) -> None:
        """After the fault: more records, and a worker that nobody disturbs. All must be there."""
        self._end_workers()
        self.send_again()
        self.publish(30)
        if self.deliver() is None and (left := self.backlog()):
            self.findings.append(f"{left} records of the log were not delivered")
        for other in self._beside:
            other.finish()
            self.findings += other.findings
            self.ledger.acked |= other.ledger.acked
        self.judge()

    def counts(self) -> Counts:
        """What was published beside what is in the lake."""
        eyes = self.lakes.eyes(self.place)
        state = table_state(eyes, self.table)
        columns = ["provider", "volume", "dead_reason", "payload"]
        empty = pa.table({name: pa.nulls(0) for name in columns})
        return self.ledger.counts(live_rows(state, eyes, columns) if state else empty)

    def dropped(self) -> int:
        """Repeats that became no row, as the deliveries count them."""
        eyes = self.lakes.eyes(self.place)
        state = table_state(eyes, self.table)
        spans = spans_of(state, eyes, self.topic.identity().id) if state else {}
        return sum(span.dropped for ranges in spans.values() for span in ranges)

    def close(self) -> None:
        """End all workers, and give back what is open."""
        self._end_workers()
        for other in self._beside:
            with suppress(TickerlakeError):
                other.stream.remove(other.kind)
            other.close()
            shutil.rmtree(other.place.folder, ignore_errors=True)
        self._open.close()

    def _end_workers(self) -> None:
        for child in self._children:
            if not child.ended:
                child.signal(signal.SIGKILL)
                child.wait()
