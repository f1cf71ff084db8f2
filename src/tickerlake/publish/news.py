"""What is new in an answer, against what lake and tail already hold, and in which state.

The rules (docs/publish.md tells them to users), for the newest known record of the same key:

    values      state of the new one       sent as
    same        no higher                  not sent
    same        higher                     itself
    other       known is final or revised  `revised`, unless it claims that the session still runs
    other       no lower than known        itself
    other       lower than known           not sent

`adj_close`, and null against 0 in volume, do not count as other values; nor do prices that known
splits explain: those between the two `split_basis`, or any where one of them is null. Among equal
ranks the later `fetched_at` wins in `bars`, so older knowledge is not sent: it could not win.
Clocks within a minute of each other count as the same, and then what is published later counts as
learned later.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records import KEYS, SCHEMAS, STATE_RANK, Kind, with_event_ids

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Mask = npt.NDArray[np.bool_]
    Positions = npt.NDArray[np.int64]

__all__ = ["News", "new_actions", "new_bars"]

_PRICES: Final = ("open", "high", "low", "close")
#: 32-bit floats divided by a split differ by up to 4.1e-7 (seen).
_PRICE_NOISE: Final = 2e-6
#: Dividends are told with six digits.
_AMOUNT_NOISE: Final = 1e-4
_SKEW_MICROSECONDS: Final = 60_000_000


@dataclass(frozen=True, slots=True)
class News:
    """What is worth sending, with states and event ids set, and what was left out."""

    table: pa.Table
    unchanged: int
    #: Rows of the answer whose key another row of it has too; the last one of each was taken.
    repeated: int


def new_bars(bars: pa.Table, known: pa.Table, actions: pa.Table) -> News:
    """The bars worth sending.

    Args:
        bars: Columns of the bar's schema.
        known: The newest record of each key, in the bar's schema; further columns do not matter.
        actions: Corporate actions, known and new; their splits explain changes of old prices.
    """
    import numpy as np

    unique = _last_of_each_key(bars, "bar")
    at = _positions(unique, known, "bar")
    is_known = at >= 0
    old = known.take(np.where(is_known, at, 0)) if known.num_rows else unique
    rank, old_rank = _ranks(unique), _ranks(old)
    factors = _split_factors(unique, actions)
    same = _same_volume(unique, old) & _same_text(unique, old, "currency")
    for name in _PRICES:
        same &= _same(_floats(unique, name), _floats(old, name))
    moved = _moved(unique, old, actions)
    fits = _fits(unique, old, _PRICES, moved, _PRICE_NOISE)
    explained = _explained(unique, old, _PRICES, factors, _PRICE_NOISE)
    same = np.where(np.isnan(moved), same | explained, np.where(moved == 1, same, fits))
    settled = old_rank == STATE_RANK["final"]
    is_revision = is_known & ~same & settled & (rank > STATE_RANK["forming"])
    rank = np.where(is_revision, STATE_RANK["revised"], rank)
    may_win, ties = _freshness(unique, old)
    rises = rank > old_rank
    send = ~is_known | rises | (~same & (rank == old_rank) & may_win)
    # A revision has the rank of what it revises: only values and freshness can send it.
    send &= ~(is_known & same & ~rises)
    state = pc.if_else(pa.array(is_revision), "revised", unique["state"])
    table = _with_column(unique, "state", state)
    table = _after(table, old, is_known & ~rises & ties)
    return _news(table, send, bars.num_rows, "bar")


def new_actions(actions: pa.Table, known: pa.Table) -> News:
    """The corporate actions worth sending; dividends that known splits explain are not new."""
    import numpy as np

    unique = _last_of_each_key(actions, "corporate_action")
    at = _positions(unique, known, "corporate_action")
    is_known = at >= 0
    old = known.take(np.where(is_known, at, 0)) if known.num_rows else unique
    both = pa.concat_tables([unique, known.select(unique.column_names)])
    factors = _split_factors(unique, both, date="ex_date")
    same = _same(_floats(unique, "amount"), _floats(old, "amount"))
    same |= _explained(unique, old, ("amount",), factors, _AMOUNT_NOISE)
    for name in ("numerator", "denominator"):
        same &= _same(_floats(unique, name), _floats(old, name))
    for name in ("currency", "new_symbol"):
        same &= _same_text(unique, old, name)
    may_win, ties = _freshness(unique, old)
    send = ~is_known | (~same & may_win)
    return _news(_after(unique, old, is_known & ties), send, actions.num_rows, "corporate_action")


def _news(table: pa.Table, send: Mask, given: int, kind: Kind) -> News:
    sent = with_event_ids(table.filter(pa.array(send)), kind)
    repeated = given - table.num_rows
    return News(sent, unchanged=given - repeated - sent.num_rows, repeated=repeated)


def _last_of_each_key(table: pa.Table, kind: Kind) -> pa.Table:
    """Sending two records of one key would never converge: each would be news beside the other."""
    if not table.num_rows:
        return table
    numbered = table.append_column("row", pa.array(range(table.num_rows), pa.int64()))
    last = numbered.group_by(list(KEYS[kind])).aggregate([("row", "max")])["row_max"]
    return table if len(last) == table.num_rows else table.take(last.combine_chunks().sort())


def _positions(table: pa.Table, known: pa.Table, kind: Kind) -> Positions:
    """For each row the row of `known` with its key, -1 for none."""
    import numpy as np

    keys = list(KEYS[kind])
    left = table.select(keys).append_column("row", pa.array(np.arange(table.num_rows)))
    right = known.select(keys).append_column("at", pa.array(np.arange(known.num_rows)))
    joined = left.join(right, keys, join_type="left outer").sort_by("row")
    return pc.fill_null(joined["at"], -1).to_numpy()


def _ranks(table: pa.Table) -> Positions:
    import numpy as np

    states = pc.index_in(table["state"], value_set=pa.array(list(STATE_RANK)))
    # A state that nobody knows becomes a dead letter whatever its rank.
    ranks = np.array([*STATE_RANK.values(), 0])
    return ranks[pc.fill_null(states, len(STATE_RANK)).to_numpy()]


def _freshness(table: pa.Table, old: pa.Table) -> tuple[Mask, Mask]:
    """Which rows were learned later than the known ones, and which need a later stamp for it."""
    fetched, before = (_micros(part) for part in (table, old))
    may_win = fetched > before - _SKEW_MICROSECONDS
    return may_win, may_win & (fetched <= before)


def _after(table: pa.Table, old: pa.Table, ties: Mask) -> pa.Table:
    import numpy as np

    stamps = np.where(ties, _micros(old) + 1, _micros(table))
    column = pa.array(stamps, pa.int64()).cast(SCHEMAS["bar"].field("fetched_at").type)
    return _with_column(table, "fetched_at", column)


def _explained(
    table: pa.Table, old: pa.Table, names: tuple[str, ...], factors: list[Floats], noise: float
) -> Mask:
    """Values that differ by what splits after the row's date do to them, in either direction.

    Providers re-adjust all their history at a split, some days late, and lose splits for days.
    """
    import numpy as np

    explained = np.zeros(table.num_rows, dtype=bool)
    for factor in factors:
        for ratio in (factor, 1 / factor):
            explained |= (factor != 1) & _fits(table, old, names, 1 / ratio, noise)
    return explained


def _fits(
    table: pa.Table, old: pa.Table, names: tuple[str, ...], factor: Floats, noise: float
) -> Mask:
    """Whether the new values are the old ones times a factor."""
    import numpy as np

    fits = np.ones(table.num_rows, dtype=bool)
    for name in names:
        new, was = _floats(table, name), _floats(old, name)
        fits &= np.isclose(new, was * factor, rtol=noise, atol=0, equal_nan=True)
    return fits


def _moved(table: pa.Table, old: pa.Table, actions: pa.Table) -> Floats:
    """What the splits between two `split_basis` do to old prices; NaN where one is not known."""
    import numpy as np

    moved = np.ones(table.num_rows)
    dates, basis, before = (
        _dates(table, "session_date"), _dates(table, "split_basis"), _dates(old, "split_basis")
    )  # fmt: skip
    for own, splits in _splits_of(table, actions):
        for day, ratio in splits:
            later = own & (dates < day)
            moved[later & (before < day) & (day <= basis)] /= ratio
            moved[later & (basis < day) & (day <= before)] *= ratio
    known = table["split_basis"].is_valid().to_numpy() & old["split_basis"].is_valid().to_numpy()
    return np.where(known, moved, np.nan)


def _split_factors(
    table: pa.Table, actions: pa.Table, *, date: str = "session_date"
) -> list[Floats]:
    """What the newest split, the newest two, … of each row's symbol do to its prices; 1 = nothing.

    Only splits after the row's date can.
    """
    import numpy as np

    dates = _dates(table, date)
    deepest: list[Floats] = []
    for is_own, splits in _splits_of(table, actions):
        product = 1.0
        for depth, (day, ratio) in enumerate(splits):
            product *= ratio
            if depth == len(deepest):
                deepest.append(np.ones(table.num_rows))
            deepest[depth] = np.where(is_own & (dates < day), product, deepest[depth])
    return deepest


def _splits_of(
    table: pa.Table, actions: pa.Table
) -> Iterator[tuple[Mask, list[tuple[int, float]]]]:
    """Of each symbol that splits: its rows, and day and ratio of each split, the newest first."""
    splits = actions.filter(pc.equal(actions["action"], "split"))
    for symbol in pc.unique(splits["symbol"]).to_pylist():
        own = splits.filter(pc.equal(splits["symbol"], symbol))
        rows = pc.fill_null(pc.equal(table["symbol"], symbol), False).to_numpy()
        # One split is told by several records: each date counts once, the last told.
        ratios = dict(
            zip(
                _dates(own, "ex_date").tolist(),
                (_floats(own, "numerator") / _floats(own, "denominator")).tolist(),
                strict=True,
            )
        )
        yield rows, sorted(ratios.items(), reverse=True)


def _same(new: Floats, old: Floats) -> Mask:
    import numpy as np

    same: Mask = (new == old) | (np.isnan(new) & np.isnan(old))
    return same


def _same_volume(table: pa.Table, old: pa.Table) -> Mask:
    import numpy as np

    new, was = (np.nan_to_num(_floats(part, "volume")) for part in (table, old))
    same: Mask = new == was
    return same


def _same_text(table: pa.Table, old: pa.Table, name: str) -> Mask:
    """A text that one of the two does not have tells nothing."""
    same: Mask = pc.fill_null(pc.equal(table[name], old[name]), True).to_numpy()
    return same


def _floats(table: pa.Table, name: str) -> Floats:
    return table[name].to_numpy()


def _dates(table: pa.Table, name: str) -> Positions:
    """Days since 1970; a missing date is after everything, so that no split can be later."""
    return pc.fill_null(table[name].cast(pa.int32()).cast(pa.int64()), 2**31).to_numpy()


def _micros(table: pa.Table) -> Positions:
    return pc.fill_null(table["fetched_at"].cast(pa.int64()), 0).to_numpy()


def _with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    position = table.schema.get_field_index(name)
    return table.set_column(position, table.schema.field(position), values)
