"""What happens to workers."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, ClassVar

from tickerlake import clock
from tickerlake.proof.base import Fault, Group
from tickerlake.proof.run import HOLDING
from tickerlake.testing.faults import STEPS

if TYPE_CHECKING:
    from tickerlake.proof.run import Run

__all__ = [
    "ClockJumps",
    "CommittersLost",
    "JoinAndLeave",
    "KilledAtAStep",
    "KilledAtRandom",
    "OutOfMemory",
    "PausedTooLong",
    "Zombies",
]

#: Longer than the session time-out that a group's members have in a proof.
PAUSE_SECONDS = 1.6

#: A worker that says nothing for so long, with its memory at the limit, will not come back.
HANGS_SECONDS = 3.0


class WorkerFault(Fault):
    """A fault of the group."""

    group: ClassVar[Group] = "worker"


class KilledAtAStep(WorkerFault):
    """SIGKILL after one numbered step, now at its first time, now at a later one."""

    name = "worker-killed-at-step"
    what = "a worker dies by SIGKILL after one numbered step of the protocol"

    def strike(self, run: Run) -> None:
        """One death; what it left behind is judged, then delivered by another."""
        run.publish()
        step = run.random.choice(STEPS)
        # Step 9 is only reached after a commit that was refused, or whose answer was lost.
        answers = (run.random.choice(["refused", "unknown", "landed"]),) * 3
        run.killed(step, nth=run.some_time(step), commits=answers if step == "9" else ())
        run.judge()


class KilledAtRandom(WorkerFault):
    """SIGKILL at a moment that nobody chose."""

    name = "worker-killed-at-random"
    what = "a worker dies by SIGKILL at any moment"

    def strike(self, run: Run) -> None:
        """Records keep coming, one worker dies after the other."""
        for _ in range(2):
            run.publish(180)
            child = run.start(once=False, alone=run.random.random() < 0.5)
            clock.sleep(run.random.uniform(0.05, 0.5))
            child.signal(signal.SIGKILL)
            child.wait()
            run.struck("killed at random")
            run.judge()


class PausedTooLong(WorkerFault):
    """SIGSTOP for longer than the session time-out, then SIGCONT."""

    name = "worker-paused"
    what = "a worker stands still beyond its session time-out and comes back as if nothing were"

    def strike(self, run: Run) -> None:
        """A laptop's lid: the others take its partitions and deliver all that it holds."""
        run.publish()
        step = run.random.choice(["5", "6", "7", "2", "3", "8a"])
        sleeper = run.paused(step, nth=run.some_time(step), alone=False)
        run.struck(f"paused after {step}", sleeper)
        rival = run.start(alone=False)
        clock.sleep(PAUSE_SECONDS)
        run.wait_for(lambda: run.backlog() == 0, "the takeover from a paused worker")
        run.publish(60)
        run.wake(sleeper)
        run.wake(rival, "SIGTERM")
        run.judge()


class Zombies(WorkerFault):
    """Two to eight workers that all believe that all partitions are theirs."""

    name = "worker-zombies"
    what = "two to eight workers all own all partitions, and wake up at the same moment"

    def strike(self, run: Run) -> None:
        """All stand still with records in their hands, wake, and race for each commit."""
        run.publish(360)
        crowd = []
        for _ in range(run.random.randint(2, 8)):
            step = run.random.choice(HOLDING)
            flush = {"flush_rows": run.random.choice([25, 40, 70, 110])}
            crowd.append(run.paused(step, nth=run.some_time(step), settings=flush))
            run.struck(f"asleep after {step}", crowd[-1])
        run.random.shuffle(crowd)
        victim = crowd[0] if run.random.random() < 0.5 else None
        for zombie in crowd:
            zombie.signal(signal.SIGKILL if zombie is victim else signal.SIGCONT)
        for zombie in crowd:
            run.expect_end(zombie, *(["SIGKILL"] if zombie is victim else []))
        run.judge()


class JoinAndLeave(WorkerFault):
    """Members join, leave and die all the time, so that partitions never rest."""

    name = "worker-storm"
    what = "members of one group join, leave and die one after the other"

    def strike(self, run: Run) -> None:
        """Each new member takes partitions from the others; some leave politely, some die."""
        members = []
        for _ in range(run.random.randint(4, 6)):
            run.publish(90)
            members.append(run.start(alone=False))
            clock.sleep(run.random.uniform(0.0, 0.25))
            if len(members) > 1 and run.random.random() < 0.6:
                leaver = members.pop(run.random.randrange(len(members)))
                number = run.random.choice([signal.SIGTERM, signal.SIGKILL])
                leaver.signal(number)
                run.struck(f"{number.name} to one of {len(members) + 1}")
                # Some are told to go before they know how to go politely.
                run.expect_end(leaver, "SIGKILL", "SIGTERM")
        run.publish(90)
        for member in members:
            member.signal(signal.SIGTERM)
        run.struck(f"SIGTERM to all {len(members)}")
        for member in members:
            run.expect_end(member, "SIGTERM")
        run.judge()


class CommittersLost(WorkerFault):
    """Members hand over to one that commits for all; it dies, or comes back as a second one."""

    name = "worker-committer-lost"
    what = "members hand their files to one that commits for all; that one, or they, die or sleep"
    partitions = 6

    def strike(self, run: Run) -> None:
        """Nobody knows which of them commits: sooner or later each of them is struck."""
        settings = {"committer": "handover", "handover_seconds": 0.4}
        run.publish()
        members = [run.start(alone=False, settings=settings) for _ in range(3)]
        sleepers = []
        with run.publishing(360):
            for _ in range(3):
                clock.sleep(run.random.uniform(0.1, 0.6))
                member = members.pop(run.random.randrange(len(members)))
                number = run.random.choice([signal.SIGKILL, signal.SIGSTOP])
                run.struck(f"{number.name} to one of 3 that hand over")
                member.signal(number)
                if number == signal.SIGSTOP:
                    sleepers.append(member)
                else:
                    run.expect_end(member, "SIGKILL")
                members.append(run.start(alone=False, settings=settings))
        clock.sleep(PAUSE_SECONDS)
        for sleeper in sleepers:
            sleeper.signal(signal.SIGCONT)
        for member in (*sleepers, *members):
            run.wake(member, "SIGTERM")
        run.judge()


class OutOfMemory(WorkerFault):
    """The process may not grow any more."""

    name = "worker-out-of-memory"
    what = "a worker meets its memory limit while it holds records"

    def strike(self, run: Run) -> None:
        """However it ends (an error, an abort of a library, a kill): the lake is whole."""
        run.publish(1200)
        child = run.start(
            ills={"memory": run.random.randint(1, 24) << 20},
            settings={"flush_rows": 900, "read_records": 400},
        )
        child.wait_at_most(HANGS_SECONDS)
        # One that hangs without memory is killed by whoever watches over it.
        child.signal(signal.SIGKILL)
        if (status := child.wait()) != 0:
            run.struck(f"memory limit, ended with {status}")
        run.judge()


class ClockJumps(WorkerFault):
    """The clock jumps an hour ahead or back while records are in a worker's hands."""

    name = "worker-clock-jumps"
    what = "the clock jumps an hour, ahead or back, between reading and committing"

    def strike(self, run: Run) -> None:
        """One worker lives through the jump; another, with the right time, overtakes it."""
        run.publish()
        step = run.random.choice(["4", "5", "6", "7", "8a"])
        seconds = run.random.choice([3600, -3600])
        jump = {"step": step, "seconds": seconds}
        asleep = run.random.choice(HOLDING)
        sleeper = run.paused(asleep, nth=run.some_time(asleep), ills={"clock_jump": jump})
        run.struck(f"clock {seconds:+d} s after {step}", sleeper)
        if run.random.random() < 0.5:
            run.deliver()
            run.publish(60)
        run.wake(sleeper)
        run.judge()
