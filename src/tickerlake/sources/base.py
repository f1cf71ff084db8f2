"""The contract of a source: a provider's answers, normalised to our Arrow schemas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol, runtime_checkable

import pyarrow as pa

from tickerlake.errors import RangeError
from tickerlake.records import SCHEMAS, Kind

__all__ = ["Answer", "BarsRequest", "Limits", "Source", "empty_answer"]


@dataclass(frozen=True, slots=True)
class BarsRequest:
    """Bars of one symbol in one range.

    Dates are session dates and both ends are included; a timestamp must carry a zone, and its
    end is excluded. None = as far as the provider goes.
    """

    symbol: str
    interval: str = "1d"
    start: date | datetime | None = None
    end: date | datetime | None = None

    def __post_init__(self) -> None:
        from tickerlake.records import INTERVALS

        if self.interval not in INTERVALS:
            raise RangeError(
                f"The interval {self.interval!r} is not known.",
                expected=" ".join(INTERVALS),
                found=self.interval,
                todo="choose one of these",
            )
        for name, value in (("start", self.start), ("end", self.end)):
            if isinstance(value, datetime) and value.tzinfo is None:
                raise RangeError(
                    f"The {name} {value.isoformat()} has no time zone.",
                    expected="a zone at the end, such as Z, or a plain date",
                    found="a naive timestamp",
                    todo=f"write {value.isoformat()}Z if you mean UTC",
                )
        if self.start is not None and self.end is not None:
            first, last = _comparable(self.start), _comparable(self.end)
            if last < first:
                raise RangeError(
                    "The range ends before it starts.",
                    expected="start <= end",
                    found=f"start {self.start}, end {self.end}",
                    todo="swap the two",
                )


def _comparable(value: date | datetime) -> date:
    return value.date() if isinstance(value, datetime) else value


@dataclass(frozen=True, slots=True)
class Limits:
    """What the provider allows, as data: planner and docs read it from here.

    Spans are days per request and look_backs days before now, by interval; a missing interval
    has no limit. `requests_per_second` is our own pace where the vendor states none.
    """

    intervals: tuple[str, ...] = ("1d",)
    span_days: dict[str, int] = field(default_factory=dict)
    look_back_days: dict[str, int] = field(default_factory=dict)
    requests_per_second: float | None = None
    needs_key: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Normalised records of one request: bars and what came with them.

    `notes` are sentences for the user: rows that were dropped and why, partial ranges.
    """

    bars: pa.Table
    actions: pa.Table
    notes: tuple[str, ...] = ()


def empty_answer() -> Answer:
    """No bars, no corporate actions."""
    kinds: tuple[Kind, Kind] = ("bar", "corporate_action")
    bars, actions = (SCHEMAS[kind].empty_table() for kind in kinds)
    return Answer(bars=bars, actions=actions)


@runtime_checkable
class Source(Protocol):
    """A provider of bars.

    Not promised: that an answer is complete (providers drop bars) or final (see a bar's `state`).
    """

    name: str
    limits: Limits

    def bars(self, request: BarsRequest) -> Answer:
        """Fetch and normalise.

        Raises:
            NotFoundError: The provider says that it does not know the symbol.
            RangeError: The interval or range is beyond `limits`.
            MalformedError: The answer is not of the shape that the provider promises.
            RateLimitedError: Asked to come back later.
            UnreachableError: Nobody answers.
        """
        ...

    def symbols(self) -> Iterator[str]:
        """Symbols that can be listed without a search; may be empty."""
        ...

    def parse(
        self,
        payload: bytes,
        *,
        symbol: str | None = None,
        interval: str | None = None,
        received_at: datetime | None = None,
    ) -> pa.Table:
        """The normalised records of one recorded answer; all of one kind, per `kind` column.

        `received_at` takes the place of "now" for everything that depends on it.
        """
        ...
