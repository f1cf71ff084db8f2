"""Prices that lie on another level than the rest of their series by a known factor."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from tickerlake.adjust.events import splits_of, unit_of
from tickerlake.adjust.repair_series import Series

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tickerlake.adjust.events import Floats

    Levels = npt.NDArray[np.int64]

__all__ = ["mend_splits", "mend_units"]

_HUNDRED: Final = 100.0
#: How far, as a logarithm, a price may have moved itself while the factor appears: by half.
_MOVE_MAX: Final = 0.5
#: Rows up to this share of a series are the odd ones without further proof.
_ODD_SHARE: Final = 0.25
#: A provider begins to adjust at a split, or up to this many bars too early.
_BARS_BEFORE_MAX: Final = 20
#: Smaller splits cannot be told from what prices do by themselves.
_RATIO_MIN: Final = 1.2
_WINDOW: Final = 3


def mend_units(series: Series) -> None:
    """Bring whole rows, and then single prices, to the unit of the series."""
    import numpy as np

    rows = _levels(_middle(series.prices), _HUNDRED, _MOVE_MAX)
    right = _right_level(series, rows)
    if right is not None:
        factors = _HUNDRED ** (right - rows)
        series.change(
            "unit",
            f"told in another unit than {series.currency or 'the rest of the series'}",
            series.prices * factors[:, None],
            adjusted=series.adjusted * factors,
        )
    why = "a hundred times too large or small beside the prices around it"
    series.change("unit", why, series.prices * _back(series.prices, _around(series.prices)))
    # Dividends of decades may make a hundredth of an adjusted close: its own series is the measure.
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (series.adjusted / series.closes)[:, None]
    series.change("unit", why, adjusted=series.adjusted * _back(shares, _around(shares))[:, 0])


def mend_splits(series: Series, actions: pa.Table) -> None:
    """Adjust what the provider has left out of its adjustment for a split, or adjusted twice."""
    import numpy as np

    days, ratios = splits_of(actions)
    for day, ratio in sorted(zip(days.tolist(), ratios.tolist(), strict=True), reverse=True):
        size = max(ratio, 1 / ratio)
        # Rows that were told before the split lie on another level by right.
        claims = series.bases >= day
        before, after = claims & (series.dates < day), claims & (series.dates >= day)
        if not size >= _RATIO_MIN or not before.any() or not after.any():  # nor is one untold
            continue
        rows = np.flatnonzero(claims)
        middles = _middle(series.prices[rows])
        tolerance = min(0.45 * np.log(size), max(0.1, 6 * _usual_move(middles)))
        levels = _levels(middles, size, tolerance)
        first_after = int(np.searchsorted(series.dates[rows], day))
        levels = levels - levels[first_after]
        levels[first_after:] = 0
        odd = np.abs(levels) == 1
        if not odd.any() or first_after - 1 - np.flatnonzero(odd)[-1] > _BARS_BEFORE_MAX:
            continue
        factors = np.ones(len(series.dates))
        factors[rows] = np.where(odd, size ** -levels.astype(float), 1.0)
        named = f"{max(ratio, 1):g}:{max(1 / ratio, 1):g}"
        series.change(
            "split",
            f"the split {named} of {_date(day)} was left out, or done twice",
            series.prices * factors[:, None],
            adjusted=series.adjusted * factors,
            volume=np.round(series.volume / factors, 6),
        )


def _levels(values: Floats, factor: float, tolerance: float) -> Levels:
    """How often the factor is in each value, by its jumps; the first one is at 0."""
    import numpy as np

    levels = np.zeros(len(values), np.int64)
    known = np.flatnonzero(values > 0)
    moves = np.diff(np.log(values[known])) / np.log(factor)
    jumps = np.round(moves)
    jumps[np.abs(moves - jumps) * np.log(factor) > tolerance] = 0
    jumped = np.zeros(len(values), np.int64)
    jumped[known[1:]] = jumps
    levels += np.cumsum(jumped)
    return levels


def _right_level(series: Series, levels: Levels) -> int | None:
    """The level that a series belongs on; None if there is one only, or no proof."""
    import numpy as np

    found, counts = np.unique(levels, return_counts=True)
    if len(found) == 1:
        return None
    most = int(found[counts.argmax()])
    if counts.sum() - counts.max() <= _ODD_SHARE * len(levels):
        return most
    traded = {int(level): bool((series.volume[levels == level] > 0).any()) for level in found}
    if sum(traded.values()) == 1:
        # Where somebody traded, the price was told by the exchange.
        return next(level for level, is_traded in traded.items() if is_traded)
    if unit_of(series.currency)[1] < 1:
        return int(found.max())  # prices in pence: what is lower was told in pounds
    return None


def _around(values: Floats) -> Floats:
    """The median of all values of the rows around each."""
    import numpy as np

    padding = np.full((_WINDOW, values.shape[1]), np.nan)
    padded = np.concatenate([padding, values, padding])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _WINDOW + 1, axis=0)
    return _median(windows.reshape(len(values), -1))


def _middle(prices: Floats) -> Floats:
    return _median(prices)


def _median(rows: Floats) -> Floats:
    import numpy as np

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rows without any value are NaN
        return np.nanmedian(rows, axis=1)


def _back(values: Floats, around: Floats) -> Floats:
    """What brings values back that are a hundred times too large or small; 1 for all others."""
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        moves = np.log(values / around[:, None])
    is_far = np.abs(np.abs(moves) - np.log(_HUNDRED)) <= _MOVE_MAX
    return np.where(is_far, np.where(moves > 0, 1 / _HUNDRED, _HUNDRED), 1.0)


def _usual_move(values: Floats) -> float:
    """How much the logarithm of a price usually moves from one bar to the next."""
    import numpy as np

    moves = np.abs(np.diff(np.log(values[values > 0])))
    return float(np.median(moves)) if len(moves) else 0.0


def _date(day: int) -> str:
    return str(pa.scalar(day, pa.int32()).cast(pa.date32()).as_py())
