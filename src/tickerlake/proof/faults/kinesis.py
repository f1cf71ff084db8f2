"""What Kinesis answers, and what is done to its shards."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tickerlake.proof.base import Fault, Group
from tickerlake.proof.run import HOLDING
from tickerlake.testing.services.http_proxy import answer, lose_answer
from tickerlake.testing.services.kinesis_faults import EXPIRED, THROTTLED, fail, fail_records

if TYPE_CHECKING:
    from tickerlake.proof.run import Run
    from tickerlake.proof.services import OwnKinesis
    from tickerlake.testing.services.http_proxy import Action

__all__ = [
    "AcknowledgementsLost",
    "Expired",
    "PartlyPut",
    "Resharded",
    "ServerErrors",
    "Throttled",
]

#: Kinesis that is away too long ends a worker with these; the next one goes on.
AWAY = ("UnreachableError", "RateLimitedError")


class KinesisFault(Fault):
    """Some calls fail while one publishes and one delivers that held records before."""

    group: ClassVar[Group] = "kinesis"
    needs = frozenset({"kinesis"})
    #: What fails: which calls, with what.
    calls: ClassVar[tuple[tuple[str, Action], ...]] = ()
    #: Whether records without an id may be published: what is sent twice is there twice.
    raws: ClassVar[bool] = True

    def strike(self, run: Run) -> None:
        """The worker stands still with records in its hands; then calls begin to fail."""
        run.raws = self.raws
        run.publish()
        step = run.random.choice(HOLDING)
        worker = run.paused(step, nth=run.some_time(step))
        run.struck(f"{self.name} after {step}", worker)
        proxy = self.kinesis(run).proxy
        for pattern, action in self.calls:
            proxy.add(
                pattern,
                action,
                times=run.random.randint(2, 6),
                after=run.random.randint(0, 2),
                every=run.random.randint(1, 3),
            )
        self.meanwhile(run)
        run.publish(90)
        run.wake(worker, *AWAY)
        proxy.heal()
        run.judge()

    def meanwhile(self, run: Run) -> None:
        """What else happens while the worker stands still."""

    def kinesis(self, run: Run) -> OwnKinesis:
        """The emulator that this run may do everything to."""
        owned: OwnKinesis = run.power("kinesis")
        return owned


class Throttled(KinesisFault):
    """Each kind of call is throttled."""

    name = "kinesis-throttled"
    what = "every kind of call is throttled now and then"
    calls = (
        ("PutRecords", fail(THROTTLED)),
        ("GetRecords", fail(THROTTLED)),
        ("GetShardIterator", fail(THROTTLED)),
        ("ListShards", fail("LimitExceededException")),
    )


class PartlyPut(KinesisFault):
    """PutRecords does a part of what it was asked."""

    name = "kinesis-partly-put"
    what = "PutRecords refuses single records: only these are sent again, in order"
    calls = (
        ("PutRecords", fail_records(every=2)),
        ("PutRecords", fail_records(every=3, code="InternalFailure")),
    )


class Expired(KinesisFault):
    """Iterators and tokens run out."""

    name = "kinesis-expired"
    what = "iterators and security tokens expire in mid-run"
    calls = (
        ("GetRecords", fail(EXPIRED)),
        ("GetRecords", fail("ExpiredTokenException")),
        ("PutRecords", fail("ExpiredTokenException")),
    )


class ServerErrors(KinesisFault):
    """The service itself fails."""

    name = "kinesis-5xx"
    what = "calls are answered with 500 and 503"
    calls = (
        ("GetRecords", fail("InternalFailure", status=500)),
        ("PutRecords", answer(503)),
        ("GetShardIterator", fail("ServiceUnavailable", status=503)),
    )
    raws = False


class AcknowledgementsLost(KinesisFault):
    """It was done, and nobody heard of it."""

    name = "kinesis-answers-lost"
    what = "what was put or got is acknowledged, and the acknowledgement is lost"
    calls = (("PutRecords", lose_answer), ("GetRecords", lose_answer))
    raws = False


class Resharded(KinesisFault):
    """Shards are split and merged."""

    name = "kinesis-resharded"
    what = "shards are split and merged while workers hold records of them"

    def meanwhile(self, run: Run) -> None:
        """A split, or a merge, or one after the other."""
        kinesis = self.kinesis(run)
        for _ in range(run.random.randint(1, 2)):
            kinesis.reshard(run.place, run.random)
            run.publish(60)
