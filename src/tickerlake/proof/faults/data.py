"""What records may be like. Each kind comes with a kill, for alone it is no fault of delivery."""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from tickerlake.proof.base import Fault, Group
from tickerlake.proof.run import HOLDING

if TYPE_CHECKING:
    from tickerlake.proof.run import Run

__all__ = [
    "FutureVersion",
    "ManyPartitions",
    "MillionOfOneKey",
    "OneKey",
    "Oversized",
    "SchemaBreaking",
    "Undecodable",
]

_SOUND: dict[str, Any] = {
    "kind": "bar",
    "provider": "MARK",
    "symbol": "AAPL",
    "ts": "2024-01-02T00:00:00Z",
    "fetched_at": "2024-01-03T00:00:00Z",
    "interval": "1d",
    "session_date": "2024-01-02",
    "open": 1.0,
    "high": 2.0,
    "low": 0.5,
    "close": 1.5,
    "volume": 10.0,
    "currency": "USD",
    "state": "final",
    "session": "regular",
}


class DataFault(Fault):
    """Such records are put on the log, and a worker dies while it holds them."""

    group: ClassVar[Group] = "data"

    @abstractmethod
    def send(self, run: Run) -> None:
        """Put them on the log."""

    def strike(self, run: Run) -> None:
        """Records, a death in the middle of them, and more of them."""
        self.send(run)
        step = run.random.choice(HOLDING)
        run.killed(step, nth=run.some_time(step))
        run.judge()
        self.send(run)


def changed(**fields: object) -> str:
    """A sound record as JSON, but for some fields."""
    return json.dumps({**_SOUND, **fields})


class Undecodable(DataFault):
    """Bytes that are no record at all."""

    name = "data-undecodable"
    what = "records that nobody can decode: each becomes one dead letter"

    def send(self, run: Run) -> None:
        """Half a JSON, not UTF-8, nothing, an array, text with line feeds."""
        run.publish(120)
        broken = [
            b'{"symbol":"MARK"',
            b"\xff\xfe MARK \x00",
            b"[1,2] MARK",
            b"MARK\nMARK",
            b"null MARK",
            b'"MARK"',
            b"\x00\xe2\x82\xac\x01 MARK",
        ]
        for partition in run.topic.partitions():
            run.raw(run.random.sample(broken, 3), partition=partition)


class Oversized(DataFault):
    """Records of half a megabyte."""

    name = "data-oversized"
    what = "records of hundreds of kilobytes among small ones"

    def send(self, run: Run) -> None:
        """Some can be decoded, some cannot."""
        run.publish(90)
        large = run.random.randint(100_000, 600_000)
        run.raw([changed(symbol="X" * large), b"MARK" + b"\xff" * large])


class SchemaBreaking(DataFault):
    """JSON that breaks the schema or a rule of values."""

    name = "data-schema-breaking"
    what = "records with wrong types, missing keys, impossible values"

    def send(self, run: Run) -> None:
        """Sound records stand before and behind them."""
        run.publish(90)
        run.raw(
            [
                changed(open="many"),
                changed(symbol=None),
                changed(high=0.1),
                changed(ts="yesterday"),
                changed(state="maybe"),
                changed(volume=-1),
                changed(close={"a": 1}),
                changed(),
            ]
        )


class FutureVersion(DataFault):
    """Records of a later version: fields that nobody knows yet."""

    name = "data-future-version"
    what = "records with fields and states of a later version"

    def send(self, run: Run) -> None:
        """What can be understood becomes a row, what cannot a dead letter."""
        run.publish(90)
        run.raw(
            [
                changed(version=99, colour="blue"),
                changed(kind="bar2"),
                changed(state="settled-t2"),
                changed(venue={"deep": [1, {"er": 2}]}),
            ]
        )


class OneKey(DataFault):
    """All records have one key, so one partition has it all and the others nothing."""

    name = "data-one-key"
    what = "thousands of records of one key: one partition holds all, the others are empty"

    def send(self, run: Run) -> None:
        """One symbol."""
        run.publish(1500, symbols=[run.random.choice(["AAPL", "IBM", "X" * 200])])


class MillionOfOneKey(DataFault):
    """A backlog of a million records, all in one partition."""

    name = "data-million-of-one-key"
    what = "a million records of one key, in Arrow, are the backlog"
    wire = "arrow"
    turns = 0.25  # it takes some ten times as long as others

    def send(self, run: Run) -> None:
        """The first time a million, then a few behind them."""
        run.repeats = False  # so many repeats would tell no more
        count = 30 if run.ledger.acked else 1_000_000
        run.publish(count, symbols=["AAPL"], seconds_apart=1)  # all in one month, so in one file


class ManyPartitions(DataFault):
    """A hundred partitions, most of them empty."""

    name = "data-100-partitions"
    what = "a topic of 100 partitions, most of them empty"
    partitions: ClassVar[int | None] = 100

    def send(self, run: Run) -> None:
        """Many symbols, few records."""
        run.publish(210, symbols=[f"S{n}" for n in range(run.random.choice([3, 40]))])
