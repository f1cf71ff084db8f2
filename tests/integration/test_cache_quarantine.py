"""Prices that contradict what is held: how a user sees them, and believes them in the end."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pyarrow.parquet
import pytest

from pretended_time import Now
from stock_double import Stock, values
from tickerlake.cache import CacheCare, CachedSource
from tickerlake.cli import main
from tickerlake.sources import BarsRequest

DAYS = BarsRequest("ACME", "1d", date(2024, 1, 2))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    assert main(["init", str(tmp_path / "w")]) == 0
    return tmp_path / "w"


def suspect(stock: Stock, folder: Path, now: Now) -> CachedSource:
    """A cache whose provider has put an old price right, with no event that says so."""
    cached = CachedSource(stock, folder)
    now("2024-03-01T22:00:00Z")
    cached.bars(DAYS)
    stock.bent = {date(2024, 2, 27): {"close": 109.0, "high": 109.5}}
    now("2024-03-06T22:00:00Z")
    assert any("suspect" in note for note in cached.bars(DAYS).notes)
    return cached


def test_what_is_set_apart_and_held_by_nobody_is_missing(tmp_path: Path, now: Now) -> None:
    """The newest bars came with the contradiction: who gets the old ones is told what lacks."""
    stock = Stock()
    cached = suspect(stock, tmp_path, now)
    for answer in (cached.bars(DAYS), cached.cached(DAYS)):
        (lost,) = answer.missing
        assert lost.startswith("ACME 1d from 2024-03-04 00:00Z to 2024-03-06 00:00Z: 3 bars set")
        assert answer.bars["session_date"].to_pylist()[-1] == date(2024, 3, 1)
    before = BarsRequest("ACME", "1d", date(2024, 1, 2), date(2024, 3, 1))
    assert not cached.bars(before).missing  # of these the old ones are served
    for file in (tmp_path / "quarantine").glob("*.arrow"):
        file.write_bytes(b"damaged")
    assert any("suspect" in note for note in cached.bars(DAYS).notes)
    stock.bent = {}
    now("2024-03-08T23:30:00Z")
    assert not cached.bars(DAYS).missing


def test_events_that_come_with_a_contradiction_are_kept(tmp_path: Path, now: Now) -> None:
    """Their days are known then, and not asked for again: so what was told of them must be, too."""
    stock = Stock(splits={date(2024, 3, 5): 4.0})
    cached = suspect(stock, tmp_path, now)
    assert cached.bars(DAYS).actions["action"].to_pylist() == ["split"]


def test_what_is_suspect_is_told_shown_and_believed(
    workspace: Path, now: Now, capfd: pytest.CaptureFixture[str]
) -> None:
    """`status` says why and what to do, `export` shows the rows, `accept` begins anew."""
    stock = Stock()
    cached = suspect(stock, workspace / "cache", now)
    of = ["--workspace", str(workspace)]
    assert main(["cache", "status", *of]) == 0
    told = capfd.readouterr().err
    assert "ACME 1d: suspect: prices from 2024-02-23 on contradict what is held" in told
    assert "cache accept --source acme --symbol ACME" in told
    file = workspace / "apart.parquet"
    assert main(["cache", "export", "--quarantined", "--output", str(file), *of]) == 0
    apart = pyarrow.parquet.read_table(file)
    assert 109.0 in apart["close"].to_pylist()
    assert main(["cache", "accept", "--symbol", "OTHER", *of]) == 0
    assert "Nothing that fits is suspect" in capfd.readouterr().out
    assert main(["cache", "accept", "--symbol", "acme", *of]) == 0
    assert "42 rows stay until cache prune" in capfd.readouterr().out
    healed = cached.bars(DAYS)
    assert not any("suspect" in note for note in healed.notes)
    assert values(healed.bars) == values(stock.bars(DAYS).bars)
    asked = len(stock.asked)
    assert values(cached.bars(DAYS).bars) == values(healed.bars)
    assert len(stock.asked) == asked
    assert main(["cache", "status", "--json", *of]) == 0
    held = json.loads(capfd.readouterr().out)
    assert [(one["generation"], one["current"]) for one in held if one["kind"] == "bar"] == [
        (1, False),
        (2, True),
    ]


def test_what_was_accepted_is_pruned(tmp_path: Path, now: Now) -> None:
    """After `prune` neither the old rows nor those set apart are there, and all is sound."""
    stock = Stock()
    cached = suspect(stock, tmp_path, now)
    care = CacheCare(tmp_path)
    (accepted,) = care.accept()
    assert (accepted.suspect, accepted.quarantined) == (1, 9)
    assert care.accept() == []
    cached.bars(DAYS)
    care.prune()
    assert list((tmp_path / "quarantine").iterdir()) == []
    assert care.verify() == []
    assert all(holding.current and not holding.suspect for holding in care.holdings())


def test_a_symbol_that_was_not_found_is_told(
    workspace: Path, now: Now, capfd: pytest.CaptureFixture[str]
) -> None:
    """`status` names it, until when nobody is asked, and how to ask at once."""
    from tickerlake.errors import NotFoundError

    now("2024-03-06T10:00:00Z")
    stock = Stock(fails=[NotFoundError("acme does not know ACME.", todo="check the spelling")])
    with pytest.raises(NotFoundError):
        CachedSource(stock, workspace / "cache").bars(DAYS)
    assert main(["cache", "status", "--workspace", str(workspace)]) == 0
    told = capfd.readouterr().err
    assert "ACME: acme did not find it (1 time); asked again after 2024-03-06 11:00Z" in told
