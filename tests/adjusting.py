"""Small tables of bars and corporate actions, and a plain model of what a provider would give.

The model knows what was traded and paid. It writes prices up to a split basis and an adjusted close
day by day, with no code of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from tickerlake.adjust import Basis
from tickerlake.records import SCHEMAS, conform
from yahoo_double import Answer, Row, at, chart, encoded

YAHOO = Basis("splits", "splits", tells_events=True)
RAW = Basis("raw", "raw", tells_events=True)
NOON = datetime(2024, 5, 31, 20, tzinfo=UTC)


def bases(basis: Basis) -> Callable[[str], Basis]:
    """All providers are alike."""
    return lambda _provider: basis


def weekdays(first: date, count: int) -> list[date]:
    days = (first + timedelta(days=n) for n in range(count * 2))
    return [day for day in days if day.weekday() < 5][:count]


def bars(closes: Mapping[date, float | None], **common: Any) -> pa.Table:
    """Daily bars; prices around the closes, 100 shares a day. `common` may hold lists."""
    count = len(closes)
    told: dict[str, Any] = {
        "provider": "acme",
        "symbol": "AAA",
        "interval": "1d",
        "session": "regular",
        "state": "final",
        "currency": "USD",
        "instrument_type": "equity",
        "fetched_at": NOON,
        "split_basis": NOON.date(),
        "volume": 100.0,
        "adj_close": None,
        "ts": [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in closes],
        "session_date": list(closes),
        "open": [price and price * 0.99 for price in closes.values()],
        "high": [price and price * 1.02 for price in closes.values()],
        "low": [price and price * 0.98 for price in closes.values()],
        "close": list(closes.values()),
    } | common
    schema = SCHEMAS["bar"]
    columns = {
        name: pa.array(
            value if isinstance(value, list) else [value] * count, schema.field(name).type
        )
        for name, value in told.items()
    }
    return conform(pa.table(columns), "bar")


def actions(*events: Mapping[str, Any]) -> pa.Table:
    """Corporate actions as `split(…)` and `paid(…)` tell them."""
    common = {"kind": "corporate_action", "provider": "acme", "symbol": "AAA", "fetched_at": NOON}
    return pa.Table.from_pylist(
        [common | dict(event) for event in events], schema=SCHEMAS["corporate_action"]
    )


def split(day: date, new: float, old: float = 1.0, **more: Any) -> dict[str, Any]:
    ratio = {"numerator": new, "denominator": old}
    return {"action": "split", "ex_date": day} | ratio | more


def paid(day: date, amount: float, **more: Any) -> dict[str, Any]:
    told = {"action": "dividend", "ex_date": day, "amount": amount, "currency": "USD"}
    return told | more


class Model:
    """What was traded each day, and splits and dividends as they happened."""

    def __init__(
        self,
        traded: Mapping[date, float],
        splits: Mapping[date, float] | None = None,
        dividends: Mapping[date, float] | None = None,
    ) -> None:
        self.traded = dict(traded)
        self.splits = dict(splits or {})
        self.dividends = dict(dividends or {})

    def at_basis(self, value: float, since: date, basis: date) -> float:
        """A price or an amount of a day, as told once the splits up to a basis are in it."""
        for day, ratio in self.splits.items():
            if since < day <= basis:
                value /= ratio
        return value

    def closes(
        self, basis: date | None = None, days: Sequence[date] | None = None
    ) -> dict[date, float]:
        """Closes as told on a day; None = as traded."""
        return {
            day: self.at_basis(self.traded[day], day, basis or day) for day in days or self.traded
        }

    def adjusted(self, basis: date) -> list[float]:
        """Closes with splits and dividends in them, by the close before each ex-date."""
        told = self.closes(basis)
        days = sorted(told)
        factors = dict.fromkeys(days, 1.0)
        for ex_date, amount in self.dividends.items():
            before = max(day for day in days if day < ex_date)
            share = self.at_basis(amount, ex_date, basis) / told[before]
            for day in days:
                if day < ex_date:
                    factors[day] *= 1 - share
        return [told[day] * factors[day] for day in days]

    def events(self, basis: date | None = None, **more: Any) -> list[dict[str, Any]]:
        """Splits, and dividends as told on a day; None = as paid."""
        return [
            *(split(day, ratio, **more) for day, ratio in self.splits.items()),
            *(
                paid(day, self.at_basis(amount, day, basis or day), **more)
                for day, amount in self.dividends.items()
            ),
        ]


def as_yahoo(
    model: Model, *, minutes: Sequence[date] = (), bent: Mapping[date, float] | None = None
) -> Callable[[str, dict[str, str]], Answer]:
    """A Yahoo that has this history of whatever is asked for, and one minute of some days.

    It speaks after the close of the model's last day. Prices of `bent` days are multiplied.
    """
    days = sorted(model.traded)
    last = days[-1]
    hours = {"regular": (f"{last}T13:30", f"{last}T20:00"), "last_trade": f"{last}T20:00"}

    def row(day: date) -> Row:
        price = model.at_basis(model.traded[day], day, last) * (bent or {}).get(day, 1.0)
        return price, price * 1.01, price * 0.99, price, 400.0

    def dated(values: Mapping[date, dict[str, float]]) -> dict[str, Any]:
        told = {day: {"date": at(f"{day}T13:30")} | value for day, value in values.items()}
        return {str(day): value for day, value in told.items()}

    def answer(symbol: str, query: dict[str, str]) -> Answer:
        if query["interval"] == "1m":
            rows = {f"{day}T14:00": row(day) for day in minutes}
            told = chart(rows, symbol=symbol, dataGranularity="1m", **hours)
            return Answer(encoded(told))
        first, end = int(query["period1"]), int(query["period2"])
        rows = {s: row(day) for day in days if first <= at(s := f"{day}T13:30") < end}
        paid = {day: model.at_basis(amount, day, last) for day, amount in model.dividends.items()}
        events = {
            "splits": dated(
                {d: {"numerator": r, "denominator": 1} for d, r in model.splits.items()}
            ),
            "dividends": dated({day: {"amount": amount} for day, amount in paid.items()}),
        }
        return Answer(encoded(chart(rows, symbol=symbol, events=events, adjclose=False, **hours)))

    return answer
