"""A symbol that became another one is followed, and the change is a record."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tickerlake.errors import NotFoundError, UnreachableError
from tickerlake.records import conform
from tickerlake.search import Followed, SymbolChanges, SymbolIndex
from tickerlake.sources import Answer, BarsRequest, Limits, Rename, Source, empty_answer, select

CHANGE = Rename("FB", "META", date(2022, 6, 9))


class Vendor:
    """FB until 8 June 2022, META from then on; what it tells of changes is counted."""

    name = "vendor"
    limits = Limits()

    def __init__(self, *told: Rename, forgets: bool = False) -> None:
        self.told = told
        self.forgets = forgets
        self.asked: list[str] = []

    def bars(self, request: BarsRequest) -> Answer:
        first, last = date(2022, 6, 1), date(2022, 6, 8)
        if request.symbol == "META":
            first, last = date(2022, 6, 9), date(2022, 7, 20)
        elif request.symbol != "FB" or self.forgets:
            raise NotFoundError("unknown", todo="spell it")
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        columns = {
            "provider": "vendor", "symbol": request.symbol, "interval": "1d", "close": 1.0,
            "fetched_at": datetime(2022, 8, 1, tzinfo=UTC),
        }  # fmt: skip
        rows = [
            {**columns, "ts": datetime(d.year, d.month, d.day, tzinfo=UTC), "session_date": d}
            for d in days
        ]
        bars = conform(pa.Table.from_pylist(rows), "bar")
        return dataclasses.replace(empty_answer(), bars=select(bars, request))

    def renames(self, symbol: str) -> Sequence[Rename]:
        self.asked.append(symbol)
        return [change for change in self.told if symbol in (change.old, change.new)]

    def symbols(self) -> Any:
        return iter(())

    def parse(self, payload: bytes, **_: Any) -> Answer:
        raise NotFoundError(str(payload))


@pytest.fixture
def index(tmp_path: Path) -> SymbolIndex:
    return SymbolIndex(tmp_path / "symbols.sqlite")


def followed(vendor: Vendor, index: SymbolIndex) -> Followed:
    sources: dict[str, Source] = {"vendor": vendor}
    return Followed(vendor, SymbolChanges(index, lambda: sources))


ASKED = BarsRequest("FB", "1d", date(2022, 6, 2), date(2022, 7, 20))


@pytest.mark.parametrize("forgets", [False, True], ids=["its bars end", "it is not known any more"])
def test_the_history_goes_on_under_the_new_symbol(index: SymbolIndex, forgets: bool) -> None:
    """META's bars from the day of the change on, FB's before, and the change as an action."""
    answer = followed(Vendor(CHANGE, forgets=forgets), index).bars(ASKED)
    days: dict[str, list[date]] = {}
    for row in answer.bars.select(["symbol", "session_date"]).to_pylist():
        days.setdefault(row["symbol"], []).append(row["session_date"])
    assert days["META"][0] == date(2022, 6, 9)
    assert days["META"][-1] == date(2022, 7, 20)
    assert ("FB" in days) is not forgets
    (action,) = answer.actions.to_pylist()
    told = {k: action[k] for k in ("symbol", "action", "ex_date", "new_symbol", "provider")}
    assert told == {
        "symbol": "FB",
        "action": "symbol_change",
        "ex_date": date(2022, 6, 9),
        "new_symbol": "META",
        "provider": "vendor",
    }
    assert any("became META on 2022-06-09" in note for note in answer.notes)


def test_what_is_stale_under_the_new_symbol_is_stale(index: SymbolIndex) -> None:
    """The cache could not ask for META: the joined answer does not look fresh."""

    class Ailing(Vendor):
        def bars(self, request: BarsRequest) -> Answer:
            return dataclasses.replace(super().bars(request), stale=request.symbol == "META")

    assert followed(Ailing(CHANGE), index).bars(ASKED).stale


def test_nobody_is_asked_while_bars_reach_the_end(index: SymbolIndex) -> None:
    """A question costs a request: only a symbol that ended is worth one."""
    vendor = Vendor(CHANGE)
    asked = dataclasses.replace(ASKED, end=date(2022, 6, 15))
    answer = followed(vendor, index).bars(asked)
    assert vendor.asked == []
    assert not answer.actions.num_rows


def test_what_was_told_is_remembered(index: SymbolIndex) -> None:
    """A second fetch, and one offline, follow without a question; that nothing is told, too."""
    vendor, offline = Vendor(CHANGE), Followed(Vendor(), SymbolChanges(index))
    for source in (followed(vendor, index), followed(vendor, index), offline):
        assert "META" in source.bars(ASKED).bars["symbol"].to_pylist()
    assert vendor.asked == ["FB"]
    silent = Vendor(forgets=True)
    for _ in range(2):
        with pytest.raises(NotFoundError):
            followed(silent, index).bars(BarsRequest("GONE"))
    assert silent.asked == ["GONE"]


def test_changes_in_a_circle_end(index: SymbolIndex) -> None:
    """Whatever a provider tells, each symbol is fetched once."""
    circle = Rename("META", "FB", date(2022, 7, 1))
    answer = followed(Vendor(CHANGE, circle), index).bars(
        dataclasses.replace(ASKED, end=date(2022, 12, 31))
    )
    assert set(answer.bars["symbol"].to_pylist()) == {"FB", "META"}
    assert answer.actions.num_rows == 1


def test_a_change_beyond_the_range_is_not_followed(index: SymbolIndex) -> None:
    """FB in May 2022 was FB."""
    later = Rename("FB", "META", date(2022, 9, 9))
    answer = followed(Vendor(later), index).bars(ASKED)
    assert set(answer.bars["symbol"].to_pylist()) == {"FB"}


def test_a_new_symbol_that_cannot_be_had_is_missing(index: SymbolIndex) -> None:
    """What came before is kept; the rest is listed, so the verb is partly done."""

    class Broken(Vendor):
        def bars(self, request: BarsRequest) -> Answer:
            if request.symbol == "META":
                raise UnreachableError("nobody answers")
            return super().bars(request)

    answer = followed(Broken(CHANGE), index).bars(ASKED)
    assert answer.bars.num_rows == 7
    assert answer.missing == ("META 1d from 2022-06-09: nobody answers",)
