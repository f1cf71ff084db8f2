"""What happens to workers."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, ClassVar

from tickerlake import clock
from tickerlake.proof.base import Fault, Group
from tickerlake.proof.run import HOLDING, PAUSED_SECONDS
from tickerlake.testing.faults import HANDOVER_STEPS, STEPS

if TYPE_CHECKING:
    from tickerlake.proof.run import Run
    from tickerlake.testing.faults import Child

__all__ = [
    "ClockJumps",
    "CommittersLost",
    "JoinAndLeave",
    "KilledAtAStep",
    "KilledAtHandover",
    "KilledAtRandom",
    "OutOfMemory",
    "PausedTooLong",
    "Zombies",
]

#: Longer than the session time-out that a group's members have in a proof.
PAUSE_SECONDS = 1.6

#: A worker that says nothing for so long, with its memory at the limit, will not come back.
HANGS_SECONDS = 3.0


#: Members that hand over, and those who commit for them.
HANDING = {"committer": "handover", "handover_seconds": 0.4}
_HANDOVERS_MAX = 20


class WorkerFault(Fault):
    """A fault of the group."""

    group: ClassVar[Group] = "worker"


class KilledAtAStep(WorkerFault):
    """SIGKILL after one numbered step, now at its first time, now at a later one."""

    name = "worker-killed-at-step"
    turns = 3  # there are many steps
    what = "a worker dies by SIGKILL after one numbered step of the protocol"

    def strike(self, run: Run) -> None:
        """One death; what it left behind is judged, then delivered by another."""
        run.publish()
        step = run.random.choice(STEPS)
        # Step 9 is only reached after a commit that was refused, or whose answer was lost.
        answer = run.random.choice(["refused", "unknown", "landed"])
        commits = (answer,) * 3 if step == "9" else ()
        run.killed(step, nth=run.some_time(step), commits=commits)
        run.judge()


class KilledAtHandover(WorkerFault):
    """SIGKILL after a step of the hand-over: of the committer, or of one who hands over."""

    name = "worker-killed-at-handover"
    what = "one that hands its files over, or the one that commits them, dies after such a step"
    partitions = 4

    def strike(self, run: Run) -> None:
        """What was handed over is committed once, or void; who is left helps himself."""
        run.publish(480)
        names = run.topic.partitions()
        step = run.random.choice(HANDOVER_STEPS)
        fault = {"step": step, "nth": run.some_time(step)}
        committer, other = (
            run.start(share=" ".join(share), once=False, settings=HANDING, **armed)
            for share, armed in (
                (names[:2], {} if step == "7a" else fault),
                (names[2:], fault if step == "7a" else {}),
            )
        )
        victim, survivor = (other, committer) if step == "7a" else (committer, other)
        for _ in range(_HANDOVERS_MAX):
            if victim.wait_at_most(0.5):
                break
            run.publish(120)
        else:
            run.missed(f"nobody came to step {step}")
        run.struck(f"killed after {step}", victim, step=step)
        run.expect_end(victim, "SIGKILL")
        run.judge()
        survivor.signal(signal.SIGTERM)
        run.expect_end(survivor, "SIGTERM")
        run.judge()


class KilledAtRandom(WorkerFault):
    """SIGKILL at a moment that nobody chose."""

    name = "worker-killed-at-random"
    what = "a worker dies by SIGKILL at any moment"

    def strike(self, run: Run) -> None:
        """Records keep coming, one worker dies after the other, most with records in hand."""
        for _ in range(2):
            run.publish(180)
            child = run.start(once=False, alone=run.random.random() < 0.5)
            with run.publishing(180):
                if run.random.random() < 0.8:
                    child.wait_holding(at_most=PAUSED_SECONDS)
                clock.sleep(run.random.uniform(0.0, 0.15))
                child.signal(signal.SIGKILL)
                child.wait()
                run.struck("killed at random", child)
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
                run.struck(f"{number.name} to one of {len(members) + 1}", leaver)
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
        members = [run.start(alone=False, settings=HANDING) for _ in range(3)]
        sleepers = []
        for _ in range(3):
            number = run.random.choice([signal.SIGKILL, signal.SIGSTOP])
            with run.publishing(240):
                member = self._one_that_holds(run, members)
                clock.sleep(run.random.uniform(0.0, 0.1))
                member.signal(number)
                run.struck(f"{number.name} to one of 3 that hand over", member)
            members.remove(member)
            if number == signal.SIGSTOP:
                sleepers.append(member)
            else:
                run.expect_end(member, "SIGKILL")
            members.append(run.start(alone=False, settings=HANDING))
        clock.sleep(PAUSE_SECONDS)
        for sleeper in sleepers:
            sleeper.signal(signal.SIGCONT)
        for member in (*sleepers, *members):
            run.wake(member, "SIGTERM")
        run.judge()

    def _one_that_holds(self, run: Run, members: list[Child]) -> Child:
        """Now and then it is anyone."""
        if run.random.random() < 0.2:
            return run.random.choice(members)
        deadline = clock.monotonic_seconds() + PAUSED_SECONDS
        while not (holding := [m for m in members if m.rows_in_hand()]):
            if clock.monotonic_seconds() > deadline:
                return run.random.choice(members)
            clock.sleep(0.005)
        return run.random.choice(holding)


class OutOfMemory(WorkerFault):
    """The process may not grow any more."""

    name = "worker-out-of-memory"
    what = "a worker meets its memory limit while it holds records"

    def strike(self, run: Run) -> None:
        """However it ends (an error, an abort of a library, a kill): the lake is whole."""
        step = run.random.choice(["5", "5", "6", "7"])
        for more in (run.random.randint(0, 8) << 20, 0, 0, 0):
            run.publish(1200)
            settings = {"flush_rows": 900, "read_records": 400}
            child = run.paused(step, ills={"memory": more}, settings=settings)
            run.struck(f"no more memory than {more >> 20} MiB after {step}", child)
            child.signal(signal.SIGCONT)
            child.wait_at_most(HANGS_SECONDS)
            # One that hangs without memory is killed by whoever watches over it.
            child.signal(signal.SIGKILL)
            if child.wait() != 0:
                run.judge()
                return
            run.strikes.clear()
        run.missed("it had enough")


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
