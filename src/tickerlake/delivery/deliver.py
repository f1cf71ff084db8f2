"""Deliver all kinds at once: a thread for each, and the lake's small maintenance between."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tickerlake import clock
from tickerlake.delivery.buffer import MemoryBudget
from tickerlake.delivery.outage import Outage
from tickerlake.delivery.report import (
    Delivered,
    DeliveryReport,
    Event,
    KindReport,
    OnEvent,
    Refused,
)
from tickerlake.delivery.settings import DeliverySettings
from tickerlake.delivery.worker import Stop, Worker
from tickerlake.errors import CommitRefusedError, CommitUnknownError, UnreachableError
from tickerlake.lake.base import Loaded
from tickerlake.records import TABLES, Kind
from tickerlake.streams import Membership, Stream

if TYPE_CHECKING:  # settings of this room are read by commands that never open the lake
    from tickerlake.lake.lake import Lake

__all__ = ["deliver", "group_of"]


def group_of(loaded: Loaded) -> str:
    """The name of the group whose members share a table's topic, wherever they run.

    By the table's own id: two lakes that read one topic are two groups, and a lake that is reached
    by another address is the same one.
    """
    return f"tickerlake-{loaded.table_id}-{loaded.name}"


def deliver(
    stream: Stream,
    lake: Lake,
    kinds: Sequence[Kind],
    *,
    once: bool,
    stop: threading.Event,
    settings: DeliverySettings | None = None,
    accept_loss: bool = False,
    on_event: OnEvent | None = None,
) -> DeliveryReport:
    """Bring records from the stream into the lake, exactly once, until told to stop.

    Args:
        stream: Where records come from.
        lake: Where they go; one table a kind.
        kinds: Which kinds to deliver.
        once: End at the streams' ends as seen now; otherwise go on until `stop`.
        stop: Set it from anywhere: what was read is committed, then this returns.
        settings: When to flush, and how much memory to hold.
        accept_loss: Go on after holes that the log's retention made, and record them.
        on_event: Told what happens, from several threads.

    Raises:
        ConfigError: The lake's catalog cannot tell a stale writer from a fresh one.
        TickerlakeError: The first error of any kind; the other kinds stop gracefully before it
            is raised. Whatever was not committed is still in the stream.
    """
    lake.probe()
    chosen = settings or DeliverySettings()
    began_seconds = clock.monotonic_seconds()
    halt = _Halt(stop)
    crew = _Crew(
        stream, lake, chosen, once, accept_loss, MemoryBudget(chosen.memory_bytes), on_event
    )
    jobs = [(kind, number) for kind in kinds for number in range(chosen.workers)]
    with ThreadPoolExecutor(max_workers=len(jobs), thread_name_prefix="deliver") as threads:
        try:
            futures = [
                (kind, threads.submit(crew.work, kind, number, halt)) for kind, number in jobs
            ]
            wait([future for _, future in futures], return_when=FIRST_EXCEPTION)
        finally:
            # One kind failed, or somebody interrupts us: the others commit what they hold.
            halt.set()
    reports: dict[Kind, KindReport] = {}
    for kind, future in futures:
        reports[kind] = reports.get(kind, KindReport()) + future.result()
    return DeliveryReport(reports, clock.monotonic_seconds() - began_seconds)


@dataclass(frozen=True, slots=True)
class _Crew:
    """What all workers of a process have in common."""

    stream: Stream
    lake: Lake
    settings: DeliverySettings
    once: bool
    accept_loss: bool
    budget: MemoryBudget
    on_event: OnEvent | None

    def work(self, kind: Kind, number: int, stop: Stop) -> KindReport:
        """Worker after worker: one that cannot reach what it needs is followed, after a rest.

        The next one goes on where the lake is, like any other: nothing of the first is needed.
        """
        reports: list[KindReport] = []
        outage = Outage(self.settings.outage_seconds_max)
        while True:
            began_seconds = clock.monotonic_seconds()
            try:
                self._live(kind, number, stop, reports)
                return sum(reports, KindReport())
            except (UnreachableError, CommitUnknownError) as error:
                rest_seconds = outage.rest_seconds(began_seconds)
                if self.once or stop.is_set() or rest_seconds is None:
                    raise
                if self.on_event is not None:
                    why = f"{error.problem} Trying again in {rest_seconds:.0f} s"
                    self.on_event(Refused(kind, why))
                until_seconds = clock.monotonic_seconds() + rest_seconds
                while not stop.is_set() and clock.monotonic_seconds() < until_seconds:
                    stop.wait(self.settings.poll_seconds)

    def _live(self, kind: Kind, number: int, stop: Stop, reports: list[KindReport]) -> None:
        """One worker's whole life; what it did is added to `reports` however it ends."""
        table = self.lake.table(TABLES[kind])
        membership = self._join(kind, number, group_of(table.load()))
        try:
            worker = Worker(
                self.stream.topic(kind),
                table,
                settings=self.settings,
                membership=membership,
                accept_loss=self.accept_loss,
                file_hours_max=self.lake.settings.sweep_age_hours / 2,
                budget=self.budget,
                on_event=_Tending(self.lake, TABLES[kind], self.on_event),
            )
            try:
                worker.run(stop, once=self.once)
            finally:
                reports.append(worker.report)
        finally:
            membership.leave()

    def _join(self, kind: Kind, number: int, group: str) -> Membership:
        if not self.once:
            return self.stream.join(kind, group)
        # Up to the end as seen now: of all partitions, whoever else delivers.
        return _Part(self.stream.join(kind, group, alone=True), number, self.settings.workers)


class _Tending:
    """Passes events on, and tends the table every so many commits, so that they stay fast."""

    def __init__(self, lake: Lake, name: str, on_event: OnEvent | None) -> None:
        self._lake = lake
        self._name = name
        self._on_event = on_event
        self._commits = 0

    def __call__(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)
        if not isinstance(event, Delivered):
            return
        self._commits += 1
        if not self._due():
            return
        from tickerlake.lake.maintenance import tend

        try:
            tend(self._lake, self._name)
        except (CommitRefusedError, CommitUnknownError) as error:
            # Rivals were faster. The next turn does it; no reader saw anything of this one.
            if self._on_event is not None:
                self._on_event(Refused(event.kind, f"maintenance: {error.problem}"))

    def _due(self) -> bool:
        every = self._lake.settings.expire_every_commits
        if self._commits > 1:
            return self._commits % every == 0
        # Runs that end before so many commits (`--once`, every minute) must come to it, too.
        table = self._lake.table(self._name)
        return len(table.snapshots(table.load())) >= self._lake.settings.snapshots_max + every


class _Part:
    """A membership whose partitions several workers of this process divide among them."""

    def __init__(self, whole: Membership, number: int, of: int) -> None:
        self._whole = whole
        self._number = number
        self._of = of

    def share(self) -> frozenset[str]:
        """Every so manieth partition."""
        return frozenset(sorted(self._whole.share())[self._number :: self._of])

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        """Tell how far the lake is."""
        self._whole.acknowledge(positions)

    def leave(self) -> None:
        """Give the partitions to the others at once."""
        self._whole.leave()


class _Halt:
    """Set by us when a kind fails, or by the caller: the caller's own event stays the caller's."""

    def __init__(self, outer: threading.Event) -> None:
        self._outer = outer
        self._own = threading.Event()

    def set(self) -> None:
        self._own.set()

    def is_set(self) -> bool:
        return self._own.is_set() or self._outer.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        # The pauses are short (`poll_seconds`), so the other event may wait for the next look.
        return self._outer.wait(timeout) or self._own.is_set()
