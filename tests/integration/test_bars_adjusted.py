"""Adjusted prices out of the lake: in SQL, and from Python."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import get_args

import pytest

import tickerlake
from adjusting import Model, as_yahoo, weekdays
from tickerlake import config
from tickerlake.adjust import Adjust
from tickerlake.errors import AdjustmentError, RangeError
from tickerlake.sources import BarsRequest
from yahoo_double import yahoo_server

DAYS = weekdays(date(2024, 4, 1), 45)
MODEL = Model(
    {day: 400.0 + 3 * n if n < 30 else 101.0 + n / 2 for n, day in enumerate(DAYS)},
    splits={DAYS[30]: 4.0},
    dividends={DAYS[10]: 0.82, DAYS[30]: 0.3, DAYS[38]: 0.205},
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tickerlake.Workspace]:
    """Days delivered, minutes on the stream: a lake and its fresh tail."""
    folder, _ = config.make_workspace(tmp_path_factory.mktemp("adjusted") / "one")
    with (
        yahoo_server(as_yahoo(MODEL, minutes=DAYS[28:32])) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TICKERLAKE_NOW", f"{DAYS[-1]}T21:00:00Z")
        settings = {"sources.yahoo.base_url": server.base_url}
        with tickerlake.open(folder, settings=settings) as opened:
            opened.publisher("yahoo").publish([BarsRequest("AAA", "1d", DAYS[0], DAYS[-1])])
            opened.deliver(once=True)
            minutes = BarsRequest("AAA", "1m", DAYS[28], DAYS[31])
            opened.publisher("yahoo").publish([minutes])
            yield opened


def closes(result: tickerlake.query.Result) -> list[float]:
    found: list[float] = result.table["close"].to_pylist()
    return found


def test_the_macro_gives_each_adjustment(workspace: tickerlake.Workspace) -> None:
    """As traded, as split, and with dividends: the model's prices, from what was published."""
    query = (
        "select close from bars_adjusted('{}') where symbol = 'AAA' and interval = '1d' order by ts"
    )
    found = {how: closes(workspace.sql(query.format(how))) for how in get_args(Adjust)}
    assert found["none"] == pytest.approx([*MODEL.traded.values()], rel=2e-6)
    assert found["splits"] == pytest.approx([*MODEL.closes(DAYS[-1]).values()], rel=2e-6)
    assert found["all"] == pytest.approx(MODEL.adjusted(DAYS[-1]), rel=2e-6)


def test_python_asks_for_bars_of_a_range(workspace: tickerlake.Workspace) -> None:
    """Both ends of dates are included, an end of time is not; no word: prices as given."""
    given_bars = workspace.bars("AAA", start=DAYS[5], end=DAYS[8])
    assert given_bars.table["session_date"].to_pylist() == DAYS[5:9]
    assert closes(given_bars) == pytest.approx([*MODEL.closes(DAYS[-1]).values()][5:9])
    times = workspace.bars(
        "AAA",
        start=datetime(*DAYS[5].timetuple()[:3], tzinfo=UTC),
        end=datetime(*DAYS[8].timetuple()[:3], tzinfo=UTC),
        adjust="all",
        provider="yahoo",
    )
    assert closes(times) == pytest.approx(MODEL.adjusted(DAYS[-1])[5:8], rel=2e-6)
    texts = workspace.bars("AAA", start=str(DAYS[5]), end=f"{DAYS[8]}T00:00:00Z", adjust="all")
    assert texts.table.equals(times.table)
    assert len(workspace.bars("AAA", provider="sample")) == 0
    with pytest.raises(RangeError, match="start"):
        workspace.bars("AAA", start="last week")


def test_minutes_of_the_tail_are_adjusted_by_days_of_the_lake(
    workspace: tickerlake.Workspace,
) -> None:
    """Minutes around a split, still on the stream: on one basis with their days, and as traded."""
    found = closes(workspace.bars("AAA", "1m", adjust="all"))
    assert found == pytest.approx(MODEL.adjusted(DAYS[-1])[28:32], rel=2e-6)
    as_traded = workspace.bars("AAA", "1m", DAYS[28], DAYS[31], adjust="none").table
    assert as_traded["close"].to_pylist() == pytest.approx([*MODEL.traded.values()][28:32])
    assert as_traded["volume"].to_pylist() == [100.0, 100.0, 400.0, 400.0]
    assert as_traded["split_basis"].to_pylist() == DAYS[28:32]


def test_what_cannot_be_derived_is_our_error(workspace: tickerlake.Workspace) -> None:
    """The typed error comes out of the engine; rows that are not asked for raise nothing."""
    with pytest.raises(AdjustmentError, match="no such adjustment"):
        workspace.sql("select * from bars_adjusted('raw')")
    workspace.publisher("sample").publish([BarsRequest("FB")])
    with pytest.raises(AdjustmentError, match="sample tells no splits and dividends") as caught:
        workspace.bars("FB", adjust="all")
    assert caught.value.exit_code == 2
    assert len(workspace.bars("FB", adjust="none")) == 196
    both = "select count(close) from bars_adjusted('all') where provider = 'yahoo'"
    assert workspace.sql(both).table[0].to_pylist() == [49]


def test_the_past_is_adjusted_by_what_was_known_then(workspace: tickerlake.Workspace) -> None:
    """Before anything was fetched there is nothing; afterwards there is the same as now."""
    assert len(workspace.bars("AAA", adjust="all", as_of="2020-01-01T00:00:00Z")) == 0
    then = workspace.bars("AAA", adjust="all", as_of=f"{DAYS[-1]}T23:00:00Z")
    assert closes(then) == closes(workspace.bars("AAA", adjust="all"))


def test_an_empty_lake_has_no_bars(tmp_path: Path) -> None:
    """Nothing is no error, whatever the adjustment."""
    folder, _ = config.make_workspace(tmp_path / "empty")
    with tickerlake.open(folder) as opened:
        assert len(opened.bars("AAA", adjust="all")) == 0
