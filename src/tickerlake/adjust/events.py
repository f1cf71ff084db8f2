"""Corporate actions → steps: what all events after a date do to a price, and where nobody knows.

All of it are step functions of a date, told for each provider and symbol at the dates where they
change. A row of theirs holds from its `from_date` to the day before the next one's:

    splits       product of new/old shares of the splits with a later ex-date
    dividends    product of the factors of the later dividends; null: one of them has no factor
    gaps_after   stretches without known events that reach beyond the date
    gaps_beyond  those of them that begin after the date

So for two dates a < b the events with an ex-date in (a, b] are all known where `gaps_after` of a is
`gaps_beyond` of b, and b is not after `known_to`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.adjust.basis import Basis

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Days: TypeAlias = npt.NDArray[np.int64]
    Floats: TypeAlias = npt.NDArray[np.float64]

__all__ = [
    "DAILY",
    "FIRST",
    "STEPS",
    "Key",
    "Span",
    "by_symbol",
    "days_of",
    "known_spans",
    "splits_of",
    "steps",
    "unit_of",
]

#: Provider and symbol.
Key: TypeAlias = tuple[str, str]
#: First and last date of a stretch.
Span: TypeAlias = tuple[date, date]

#: `known_to` is the last date up to which events are known; `target` the split basis that `splits`
#: and `all` lead to; `told`: the provider tells events at all.
STEPS: Final = pa.schema(
    [
        ("provider", pa.string()),
        ("symbol", pa.string()),
        ("from_date", pa.date32()),
        ("splits", pa.float64()),
        ("dividends", pa.float64()),
        ("gaps_after", pa.int32()),
        ("gaps_beyond", pa.int32()),
        ("known_to", pa.date32()),
        ("target", pa.date32()),
        ("told", pa.bool_()),
    ]
)

#: What `steps` needs of days.
DAILY: Final = (
    "provider",
    "symbol",
    "session_date",
    "close",
    "adj_close",
    "currency",
    "split_basis",
    "fetched_at",
)
#: Steps of `adj_close` that are no noise: of its rounding, and of 32-bit floats.
_STEP: Final = 1e-4
_STEP_PRICE: Final = 2e-4
#: No exchange on earth stays closed for longer.
_CLOSED_DAYS_MAX: Final = 14
#: 0001-01-01 and 9999-12-31, in days since 1970: before and after everything.
FIRST: Final = -719_162
_LAST: Final = 2_932_896
#: Units of which a hundred make the currency behind them.
_HUNDREDTHS: Final = {"GBp": "GBP", "GBX": "GBP", "ZAc": "ZAR", "ZAC": "ZAR", "ILA": "ILS"}


def steps(
    actions: pa.Table,
    daily: pa.Table,
    *,
    bases: Callable[[str], Basis],
    known: Mapping[Key, Sequence[Span]] | None = None,
) -> pa.Table:
    """The steps of every symbol of which there are days.

    Args:
        actions: The newest word about each corporate action, in its schema.
        daily: 1d bars as they were given, each day once; of the bar's columns those of `DAILY`.
            Dividends are set against their closes, and events are known where they are, but for
            days on which `adj_close` tells of an event that nobody knows.
        bases: What a provider's numbers include, by its name.
        known: Where events are known of a symbol, if that is known better.

    Returns:
        Columns of `STEPS`, in order of provider, symbol and date.
    """
    happened = by_symbol(actions, "ex_date")
    parts = [STEPS.empty_table()]
    for key, days in sorted(by_symbol(daily, "session_date").items()):
        basis = bases(key[0])
        spans = (known or {}).get(key) or known_spans(days["session_date"])
        series = _Series.of(days, happened.get(key, actions.slice(0, 0)), basis, spans)
        parts.append(series.steps(key, basis.tells_events))
    return pa.concat_tables(parts)


def known_spans(session_dates: pa.ChunkedArray) -> list[Span]:
    """Stretches of days without a hole; events come with the days' bars.

    Args:
        session_dates: Sorted.
    """
    import numpy as np

    days = days_of(session_dates)
    if not len(days):
        return []
    ends = np.flatnonzero(np.diff(days) > _CLOSED_DAYS_MAX)
    firsts, lasts = [0, *(ends + 1).tolist()], [*ends.tolist(), len(days) - 1]
    return [
        (session_dates[first].as_py(), session_dates[last].as_py())
        for first, last in zip(firsts, lasts, strict=True)
    ]


def by_symbol(table: pa.Table, order: str) -> dict[Key, pa.Table]:
    """The rows of each provider and symbol, in this order."""
    if not table.num_rows:
        return {}
    names = ["provider", "symbol", order]
    ordered = table.sort_by([(name, "ascending") for name in names])
    counts = ordered.group_by(names[:2], use_threads=False).aggregate([([], "count_all")])
    found, start = {}, 0
    for provider, symbol, count in zip(*counts.to_pydict().values(), strict=True):
        found[provider, symbol] = ordered.slice(start, count)
        start += count
    return found


def days_of(dates: pa.ChunkedArray) -> Days:
    """Days since 1970; a missing date is before everything."""
    return pc.fill_null(dates.cast(pa.int32()).cast(pa.int64()), FIRST - 1).to_numpy()


def unit_of(currency: str | None) -> tuple[str | None, float]:
    """The currency, and how much of it one unit is: pence are hundredths of pounds."""
    major = _HUNDREDTHS.get(currency or "")
    return (currency, 1.0) if major is None else (major, 0.01)


@dataclass(frozen=True, slots=True, eq=False)
class _Series:
    """One symbol's days and events as numbers; dates are days since 1970."""

    days: Days
    closes: Floats
    bases: Days
    #: Splits by their ex-date, and the product of all from each on; one longer, ends with 1.
    split_days: Days
    split_products: Floats
    #: Dividends by their ex-date, likewise.
    dividend_days: Days
    dividend_products: Floats
    #: First and last date of what is unknown, but for all that is after `known_to`.
    gaps: Days
    known_to: int

    @classmethod
    def of(cls, daily: pa.Table, actions: pa.Table, basis: Basis, spans: Sequence[Span]) -> _Series:
        """Read the tables; `spans` is where events are known."""
        import numpy as np

        known = np.array(sorted(spans) if basis.tells_events else [], "datetime64[D]")
        known = known.astype(np.int64).reshape(-1, 2)
        starts, ends = [FIRST, *(known[:, 1] + 1)], [*(known[:, 0] - 1), _LAST]
        gaps = np.array([*zip(starts, ends, strict=True)], np.int64)
        split_days, ratios = splits_of(actions)
        series = cls(
            days=days_of(daily["session_date"]),
            closes=daily["close"].to_numpy(),
            bases=days_of(daily["split_basis"]),
            split_days=split_days,
            split_products=_products(ratios),
            dividend_days=np.array([], np.int64),
            dividend_products=np.ones(1),
            gaps=gaps[:-1] if len(known) else gaps,
            known_to=int(known[-1, 1]) if len(known) else FIRST - 1,
        )
        paid = _Paid.of(actions, daily, basis)
        days, factors = series.factors(paid, basis)
        series = replace(series, dividend_days=days, dividend_products=_products(factors))
        unexplained = np.repeat(series.unexplained(daily)[:, None], 2, axis=1)
        return replace(series, gaps=np.concatenate([series.gaps, unexplained]))

    def splits_after(self, days: Days) -> Floats:
        """What the splits after each date do."""
        return self.split_products[_after(self.split_days, days)]

    def knows(self, first: Days, last: Days) -> npt.NDArray[np.bool_]:
        """Whether all events after one date up to another are known."""
        import numpy as np

        low, high = np.minimum(first, last), np.maximum(first, last)
        all_known = self.gaps_after(low) == self.gaps_beyond(high)
        return (low == high) | (all_known & (high <= self.known_to))

    def gaps_after(self, days: Days) -> Days:
        """See the module."""
        return (self.gaps[:, 1][None, :] > days[:, None]).sum(axis=1)

    def gaps_beyond(self, days: Days) -> Days:
        """See the module."""
        return (self.gaps[:, 0][None, :] > days[:, None]).sum(axis=1)

    def factors(self, paid: _Paid, basis: Basis) -> tuple[Days, Floats]:
        """What each dividend does to all before its ex-date; NaN where that cannot be told."""
        import numpy as np

        priced = ~np.isnan(self.closes)
        days, closes, bases = self.days[priced], self.closes[priced], self.bases[priced]
        at = np.searchsorted(days, paid.days, side="left")
        if basis.rule == "previous_close":
            at = at - 1
        has_close = (at >= 0) & (at < len(days))
        if not len(days) or not len(at):
            return paid.days, np.full(len(paid.days), np.nan)
        at = np.clip(at, 0, len(days) - 1)
        # Amount and close on one basis: the splits between are in the one, not in the other.
        amounts = paid.amounts / self.splits_after(paid.bases)
        prices = closes[at] / self.splits_after(bases[at])
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = amounts / prices
            factors = 1 - shares if basis.rule == "previous_close" else 1 / (1 + shares)
        sound = has_close & (factors > 0) & (factors <= 1) & (bases[at] >= FIRST)
        sound &= self.knows(paid.bases, bases[at])
        days, places = np.unique(paid.days, return_inverse=True)
        together = np.ones(len(days))
        if basis.rule == "previous_close":
            # Of several payments on one day each is a share of the same close.
            taken = np.zeros(len(days))
            np.add.at(taken, places, np.where(sound, shares, np.nan))
            together = np.where(taken < 1, 1 - taken, np.nan)
        else:
            added = np.ones(len(days))
            np.add.at(added, places, np.where(sound, shares, np.nan))
            together = 1 / added
        return days, together

    def unexplained(self, daily: pa.Table) -> Days:
        """Days on which `adj_close` takes a step within one answer, and no event is known."""
        import numpy as np

        derived = self.closes / self.splits_after(self.bases)
        derived = derived * self.dividend_products[_after(self.dividend_days, self.days)]
        told = daily["fetched_at"].cast(pa.int64()).to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            quotients = daily["adj_close"].to_numpy() / derived
            steps = np.abs(quotients[1:] / quotients[:-1] - 1)
            is_step = steps > _STEP + _STEP_PRICE / np.abs(self.closes[1:])
        counts = sum(_after(days, self.days) for days in (self.split_days, self.dividend_days))
        is_step &= (told[1:] == told[:-1]) & (np.diff(counts) == 0)
        # What steps everywhere is no adjusted close.
        return self.days[1:][is_step & (is_step.sum() <= max(1, len(is_step) // 4))]

    def steps(self, key: Key, told: bool) -> pa.Table:
        """The rows of `STEPS`."""
        import numpy as np

        changes = [self.split_days, self.dividend_days, self.gaps.ravel()]
        dates = np.unique(np.clip(np.concatenate([[FIRST], *changes]), FIRST, _LAST))
        newest = int(self.bases.max(initial=FIRST - 1))
        count = len(dates)
        columns = [
            pa.repeat(key[0], count),
            pa.repeat(key[1], count),
            _dates(dates),
            self.splits_after(dates),
            pa.array(self.dividend_products[_after(self.dividend_days, dates)], from_pandas=True),
            pa.array(self.gaps_after(dates), pa.int32()),
            pa.array(self.gaps_beyond(dates), pa.int32()),
            _dates(np.full(count, self.known_to)),
            _dates(np.full(count, max(self.known_to, newest))),
            pa.repeat(told, count),
        ]
        return pa.table(columns, schema=STEPS)


@dataclass(frozen=True, slots=True, eq=False)
class _Paid:
    """Dividends and capital gains: ex-dates, amounts in the unit of the prices, split bases."""

    days: Days
    amounts: Floats
    bases: Days

    @classmethod
    def of(cls, actions: pa.Table, daily: pa.Table, basis: Basis) -> _Paid:
        import numpy as np

        is_paid = pc.is_in(actions["action"], pa.array(["dividend", "capital_gain"]))
        paid = actions.filter(is_paid)
        days = days_of(paid["ex_date"])
        told = [unit for unit in pc.unique(daily["currency"]).to_pylist() if unit is not None]
        scales = [_scale(unit, told) for unit in paid["currency"].to_pylist()]
        amounts = paid["amount"].to_numpy() * np.array(scales, np.float64)
        return cls(days, amounts, days if basis.amounts == "raw" else _bases(paid, daily))


def _scale(currency: str | None, of_prices: Sequence[str]) -> float:
    """What to multiply an amount with; NaN where that takes a rate of exchange."""
    if currency is None or currency in of_prices or not of_prices:
        return 1.0
    (mine, hundredth), (theirs, other) = unit_of(currency), unit_of(of_prices[-1])
    return hundredth / other if mine == theirs else float("nan")


def _bases(paid: pa.Table, daily: pa.Table) -> Days:
    """Up to which date splits are in amounts that are as split-adjusted as the provider's prices.

    An answer's amounts are as adjusted as its prices. Where no price of the same answer is left,
    the newest older one tells; where none is, the day of the answer.
    """
    import numpy as np

    when = daily["fetched_at"].cast(pa.int64()).to_numpy()
    bases = days_of(daily["split_basis"])
    order = np.lexsort((bases, when))
    at = np.searchsorted(
        when[order], told := paid["fetched_at"].cast(pa.int64()).to_numpy(), "right"
    )
    older = bases[order][np.clip(at - 1, 0, None)] if len(bases) else np.zeros(len(at), np.int64)
    fetched = told // 86_400_000_000
    # A basis after the answer's own day (it may be a day on elsewhere) is not the answer's: a cache
    # has brought its prices to a later one, and left amounts as they were told.
    return np.where((at > 0) & (older <= fetched + 1), older, fetched)


def splits_of(actions: pa.Table) -> tuple[Days, Floats]:
    """Each ex-date once: the word that came last."""
    import numpy as np

    splits = actions.filter(pc.equal(actions["action"], "split"))
    splits = splits.sort_by([("ex_date", "ascending"), ("fetched_at", "ascending")])
    days = days_of(splits["ex_date"])
    ratios = splits["numerator"].to_numpy() / splits["denominator"].to_numpy()
    is_last = np.append(days[1:] != days[:-1], True)[: len(days)]
    return days[is_last], ratios[is_last]


def _products(factors: Floats) -> Floats:
    """The product of all from each position on; after the last it is 1."""
    import numpy as np

    return np.append(np.cumprod(factors[::-1])[::-1], 1.0)


def _after(events: Days, days: Days) -> Days:
    """The position of the first event after each date."""
    import numpy as np

    return np.searchsorted(events, days, side="right")


def _dates(days: Days) -> pa.Array:
    """Dates; what is before everything is null."""
    return pa.array(days, pa.int32(), mask=days < FIRST).cast(pa.date32())
