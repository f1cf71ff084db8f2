"""The SQL of adjusted prices derives and refuses what the function does, row by row."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta
from typing import get_args

import duckdb
import pyarrow as pa
import pytest

from adjusting import Model, actions, bars, bases, weekdays
from tickerlake.adjust import Adjust, Basis, adjust, steps
from tickerlake.errors import AdjustmentError
from tickerlake.query.adjusted import adjusted, refused

DAYS = weekdays(date(2024, 1, 1), 16)
#: A hole of weeks in the middle, as after a fetch of two ranges.
SPREAD = [day if n < 8 else day + timedelta(days=60) for n, day in enumerate(DAYS)]
BASES = [
    Basis("splits", "splits", tells_events=True),
    Basis("raw", "raw", "ex_close", tells_events=True),
    Basis(),
]


@pytest.mark.parametrize("seed", range(12))
def test_sql_and_arrow_follow_the_same_rules(seed: int) -> None:
    """Whatever happened and whatever of it is known: the same prices, or the same refusal."""
    chance = random.Random(seed)
    closes = {day: 50.0 + n for n, day in enumerate(SPREAD)}
    model = Model(
        closes,
        {day: chance.choice([0.5, 2.0, 3.0]) for day in chance.sample(SPREAD[1:], 2)},
        {day: chance.choice([0.5, 5.0, 90.0]) for day in chance.sample(SPREAD[1:], 2)},
    )
    ends = [
        chance.choice([None, day, *SPREAD[n:], date(2024, 6, 3)]) for n, day in enumerate(SPREAD)
    ]
    kinds = [chance.choice(["equity", "equity", "future", None]) for _ in SPREAD]
    table = bars(closes, split_basis=ends, instrument_type=kinds)  # type: ignore[arg-type]
    basis = BASES[seed % 3]
    known = table if chance.random() < 0.5 else table.take(sorted(chance.sample(range(16), 9)))
    built = steps(actions(*model.events()), known, bases=bases(basis))
    with duckdb.connect() as database:
        database.register("given_bars", table)
        database.register("built", built)
        body = adjusted("select * from given_bars", "built", table.column_names)
        database.execute(f"create temp macro bars_adjusted(how) as table {body}")
        for at, day in enumerate(SPREAD):
            for how in get_args(Adjust):
                one = table.slice(at, 1)
                wanted = _outcome(lambda: adjust(one, built, how, bases=bases(basis)))  # noqa: B023
                query = f"from bars_adjusted('{how}') where session_date = date '{day}'"
                found = _outcome(lambda: database.sql(query).to_arrow_table())  # noqa: B023
                assert found == pytest.approx(wanted)


def _outcome(derive: Callable[[], pa.Table]) -> dict[str, object]:
    """What was derived of one row, or why it could not be."""
    try:
        (row,) = derive().select(["close", "volume", "split_basis"]).to_pylist()
    except AdjustmentError as error:
        return {"refused": error.problem}
    except duckdb.InvalidInputException as error:
        told = refused(str(error))
        return {"refused": None if told is None else told.problem}
    else:
        return dict(row) | {"split_basis": str(row["split_basis"])}
