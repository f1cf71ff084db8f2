"""What people and their tools do meanwhile."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, ClassVar

from tickerlake.lake.maintenance import compact, expire, rewind, sweep
from tickerlake.proof.base import Fault, Group
from tickerlake.proof.run import HOLDING
from tickerlake.records import address_of

if TYPE_CHECKING:
    from tickerlake.proof.run import Run

__all__ = ["Maintenance", "PreviousVersion", "RolledBack", "TwoDeployments"]


class PeopleFault(Fault):
    """A fault of the group."""

    group: ClassVar[Group] = "people"


class Maintenance(PeopleFault):
    """Compaction, expiry and sweep run while a worker is about to commit."""

    name = "people-maintenance"
    what = "compaction, expiry and sweep run while workers are about to commit, or die"

    def strike(self, run: Run) -> None:
        """The table changes under a worker that stands before its commit."""
        run.publish()
        run.deliver()
        run.publish()
        step = run.random.choice(HOLDING)
        worker = run.paused(step, nth=run.some_time(step))
        run.struck(f"maintenance after {step}", worker)
        tables = [run.table]
        for work in run.random.sample(["compact", "expire", "sweep"], 2):
            if work == "compact":
                compact(run.lake, tables)
            elif work == "expire":
                expire(run.lake, tables, keep=run.random.choice([1, 3]))
            else:
                # By the age that is set: files of a worker that waits are younger.
                sweep(run.lake, tables)
        worker.signal(run.random.choice([signal.SIGCONT, signal.SIGCONT, signal.SIGKILL]))
        run.expect_end(worker, "SIGKILL")
        run.judge()


class RolledBack(PeopleFault):
    """A foreign tool turns the table back. Nobody may go on as if nothing were."""

    name = "people-rollback"
    what = "a foreign tool rolls the table back: delivery stops with exit 5 until `lake rewind`"

    def strike(self, run: Run) -> None:
        """Loud at the start and before a commit; after the rewind all comes again."""
        run.repeats = False  # a rewind may cut through what counted them
        for _ in range(2):
            run.publish()
            run.deliver()
        run.publish()
        step = run.random.choice(["5", "6", "3"])
        worker = run.paused(step, nth=run.some_time(step))
        run.struck("rolled back", worker)
        table = run.lake.catalog.load_table((run.namespace, run.table))
        history = [entry.snapshot_id for entry in table.history()]
        if len(history) < 3:
            run.missed("there is nothing to roll back to")
        back = run.random.choice(history[1:-1])
        with table.manage_snapshots() as snapshots:
            snapshots.set_current_snapshot(back)
        worker.signal(signal.SIGCONT)
        for failing in (worker, run.start()):
            if run.expect_end(failing, "RolledBackError") is None:
                run.findings.append("a worker went on after a rollback as if nothing were")
        rewind(run.lake, [run.table])


class TwoDeployments(PeopleFault):
    """Two deployments with logs of their own feed one lake by mistake."""

    name = "people-two-deployments"
    what = "two deployments with different logs are pointed at one lake by mistake"

    def strike(self, run: Run) -> None:
        """Both stand before their commits; neither may take the other's offsets for its own."""
        other = run.beside()
        sleepers = []
        for each in (run, other):
            each.publish()
            step = run.random.choice(HOLDING)
            sleepers.append(each.paused(step, nth=run.some_time(step)))
            run.struck(f"two deployments, after {step}", sleepers[-1])
        victim = run.random.choice([None, *sleepers])
        for each, sleeper in zip((run, other), sleepers, strict=True):
            sleeper.signal(signal.SIGKILL if sleeper is victim else signal.SIGCONT)
            each.expect_end(sleeper, *(["SIGKILL"] if sleeper is victim else []))
            each.judge()


class PreviousVersion(PeopleFault):
    """A worker of the previous version runs beside one of this version."""

    name = "people-previous-version"
    what = "a worker of the previous version runs beside a new one"
    wire = "json"  # it knew one record a position

    def strike(self, run: Run) -> None:
        """Both race for each commit, and one of them dies."""
        run.publish(360)
        if any(address_of(run.topic.bounds(name).beginning) for name in run.topic.partitions()):
            run.missed("the previous version knew no logs whose positions have addresses")
        steps = run.random.choice(HOLDING), run.random.choice(HOLDING)
        old = run.paused(steps[0], nth=run.some_time(steps[0]), breaks="previous version")
        run.struck(f"the old one after {steps[0]}", old)
        new = run.paused(steps[1], nth=run.some_time(steps[1]))
        run.struck(f"the new one after {steps[1]}", new)
        victim = run.random.choice([None, old, new])
        for worker in (old, new):
            worker.signal(signal.SIGKILL if worker is victim else signal.SIGCONT)
        for worker in (old, new):
            run.expect_end(worker, *(["SIGKILL"] if worker is victim else []))
        run.judge()
        run.publish(60)
        run.deliver(breaks="previous version")
        run.judge()
