"""Dividends and adjusted closes that do not fit each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.adjust.basis import Basis
from tickerlake.adjust.events import DAILY, days_of, steps
from tickerlake.adjust.repair_series import CHANGES, Series

__all__ = ["mend_dividends"]

_HUNDRED: Final = 100.0
#: A step of the adjusted close that is as near as this part of a dividend is that dividend's.
_NEAR: Final = 0.1
#: Shares of a price below which a step cannot be told from rounding, and above which a dividend is
#: too rare to be taken for one in the right unit.
_SHARE_MIN: Final = 1e-4
_SHARE_MAX: Final = 0.25


def mend_dividends(series: Series, actions: pa.Table, bases: Callable[[str], Basis]) -> pa.Table:
    """Mend the adjusted close; or the amount, where the adjusted close proves its unit wrong.

    Returns:
        Changed amounts, in columns of `CHANGES`.
    """
    is_paid = pc.is_in(actions["action"], pa.array(["dividend", "capital_gain"]))
    paid = actions.filter(is_paid).sort_by([("ex_date", "descending")])
    dates = paid["ex_date"].to_pylist()
    amounts = [CHANGES.empty_table()]
    for at, event in enumerate(paid.to_pylist()):
        if dates.count(event["ex_date"]) > 1 or not event["amount"]:
            continue  # of several on one day none can be judged
        others = actions.filter(pc.invert(is_paid))
        share = _share(series, pa.concat_tables([others, paid.slice(at, 1)]), bases)
        if share is None:
            continue
        day = int(days_of(paid["ex_date"])[at])
        step = _step(series, day)
        scale = _scale(share, step)
        if scale != 1:
            amounts.append(_amount(event, scale))
        elif step is not None and share >= _SHARE_MIN and abs(1 - step) < _NEAR * share:
            _take_in(series, day, 1 - share, event)
    return pa.concat_tables(amounts)


def _share(series: Series, actions: pa.Table, bases: Callable[[str], Basis]) -> float | None:
    """The one dividend's share of the close before it; None without such a close.

    Asked for a hundredth of it: a dividend above the price has no factor.
    """
    position = actions.schema.get_field_index("amount")
    hundredth = pc.divide(actions["amount"], _HUNDRED)
    small = actions.set_column(position, actions.schema.field(position), hundredth)
    daily = series.table().select(list(DAILY))
    factors = steps(small, daily, bases=lambda name: _without_adjusted(bases(name)))["dividends"]
    factor = factors[0].as_py()
    return None if factor is None else (1 - factor) * _HUNDRED


def _without_adjusted(basis: Basis) -> Basis:
    """Each provider by one rule: what is compared is a share of the close before."""
    return Basis(basis.prices, basis.amounts, "previous_close", tells_events=True)


def _step(series: Series, day: int) -> float | None:
    """What the adjusted close takes off before a date, by the rows around it of one answer."""
    import numpy as np

    told = np.flatnonzero(~np.isnan(series.closes) & ~np.isnan(series.adjusted))
    at = int(np.searchsorted(series.dates[told], day))
    if at == 0 or at == len(told):
        return None
    before, after = told[at - 1], told[at]
    if series.fetched[before] != series.fetched[after] or series.bases[before] < day:
        return None
    shares = series.adjusted[[before, after]] / series.closes[[before, after]]
    return float(shares[0] / shares[1])


def _scale(share: float, step: float | None) -> float:
    """What brings an amount into the unit of the prices; 1 where it is there, or nobody knows."""
    if step is None:
        return 1 / _HUNDRED if share >= 1 and share / _HUNDRED <= _SHARE_MAX else 1.0
    for scale in (1.0, 1 / _HUNDRED, _HUNDRED):
        scaled = share * scale
        if _SHARE_MIN <= scaled < 1 and abs(1 - step - scaled) <= _NEAR * scaled:
            return scale
    return 1.0


def _take_in(series: Series, day: int, factor: float, event: Mapping[str, Any]) -> None:
    import numpy as np

    before = series.dates < day
    of_answer = series.fetched == series.fetched[np.flatnonzero(before)[-1]]
    mended = np.where(before & of_answer, series.adjusted * factor, series.adjusted)
    why = f"the {event['action']} of {event['ex_date']} ({event['amount']:g}) was left out"
    series.change("dividend", why, adjusted=mended)


def _amount(event: Mapping[str, Any], scale: float) -> pa.Table:
    day = event["ex_date"]
    row = {
        "provider": event["provider"],
        "symbol": event["symbol"],
        "ts": datetime(day.year, day.month, day.day, tzinfo=UTC),
        "session_date": day,
        "column": event["action"],
        "given": event["amount"],
        "repaired": event["amount"] * scale,
        "rule": "amount",
        "why": "told in another unit than the prices",
    }
    return pa.Table.from_pylist([row], schema=CHANGES)
