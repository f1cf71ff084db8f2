"""`fetch` killed at any moment, twice at once, over damaged files: no row is wrong or lost."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from pretended_time import Now
from stock_double import Stock, values
from tickerlake.cache import CacheCare, CachedSource
from tickerlake.cli import main
from tickerlake.sources import BarsRequest, open_source
from yahoo_double import Answer, YahooServer, at, chart, encoded, environment, yahoo_server

KILLS = 100
HERE = Path(__file__).parent
ALL = BarsRequest("ACME", "1d", date(2023, 6, 1))


def weekdays(symbol: str, query: dict[str, str]) -> Answer:
    """A stock that trades on every weekday; what it tells depends on the day alone."""
    days = (date(2023, 5, 1) + timedelta(days=n) for n in range(400))
    low, high = int(query["period1"]), int(query["period2"])
    rows = {}
    for number, day in enumerate(days):
        stamp = f"{day}T14:30"
        if day.weekday() < 5 and low <= at(stamp) < high - 86_400 and day < date(2024, 1, 10):
            rows[stamp] = (10.0, 12.0 + number % 5, 9.0, 10.0 + number % 5 / 4, 100.0 + number)
    return Answer(
        encoded(chart(rows, symbol=symbol, regular=("2024-01-09T14:30", "2024-01-09T21:00")))
    )


@pytest.fixture
def yahoo() -> Iterator[YahooServer]:
    with yahoo_server(weekdays) as server:
        yield server


def workspace_in(folder: Path) -> Path:
    assert main(["init", str(folder)]) == 0
    return folder


def test_killed_at_a_hundred_moments(yahoo: YahooServer, tmp_path: Path, now: Now) -> None:
    """SIGKILL at random moments of `fetch`: each leaves sound files, and at the end the truth."""
    workspace = workspace_in(tmp_path / "w")
    done = subprocess.run(
        [sys.executable, HERE / "killed_fetches.py", workspace, "7", str(KILLS)],
        env=environment(yahoo, "2024-01-10T22:00:00Z"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["found"] == []
    assert told["whole"] < KILLS * 0.9
    now(told["now"])
    settings = {"base_url": yahoo.base_url, "requests_per_second": None}
    source = open_source("yahoo", settings=settings)
    answer = CachedSource(source, workspace / "cache").bars(ALL)
    truth = source.bars(ALL)
    drop = ["fetched_at", "state", "split_basis"]
    assert answer.bars.drop(drop).equals(truth.bars.drop(drop))
    asked = len(yahoo.requests)
    CachedSource(source, workspace / "cache").bars(ALL)
    assert len(yahoo.requests) == asked


def test_two_fetches_at_once_make_one_set_of_requests(yahoo: YahooServer, tmp_path: Path) -> None:
    """Two processes that fetch the same range at the same time: the provider is asked once."""
    workspace = workspace_in(tmp_path / "w")
    words = [sys.executable, "-m", "tickerlake", "fetch", "ACME", "--source", "yahoo"]
    words += ["--start", "2023-06-01", "--json", "--workspace", str(workspace)]
    both = [
        subprocess.Popen(
            words, env=environment(yahoo, "2024-01-12T22:00:00Z"), stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    answers = [json.loads(process.communicate()[0])["symbols"] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert answers[0] == answers[1]
    assert len(yahoo.requests) == 1


def test_threads_of_one_process_share_a_fetch(tmp_path: Path, now: Now) -> None:
    """Eight threads that want overlapping ranges: what one fetched, the others do not ask for."""
    now("2024-03-01T22:00:00Z")
    stock = Stock()
    cached = CachedSource(stock, tmp_path)
    rows: list[int] = []
    request = BarsRequest("ACME", "1d", date(2024, 1, 2))
    threads = [
        threading.Thread(target=lambda: rows.append(cached.bars(request).bars.num_rows))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows == [42] * 8
    assert len(stock.asked) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "lost", "emptied"])
def test_damaged_files_are_found_set_aside_and_fetched_again(
    tmp_path: Path, now: Now, damage: str
) -> None:
    """A file that is not what was written is never believed: it is set aside, and comes again."""
    now("2024-03-01T22:00:00Z")
    stock = Stock(dividends={date(2024, 1, 17): 0.5})
    request = BarsRequest("ACME", "1d", date(2024, 1, 2))
    good = CachedSource(stock, tmp_path).bars(request)
    for file in (tmp_path / "rows").iterdir():
        payload = bytearray(file.read_bytes())
        payload[len(payload) // 2] ^= 1
        if damage == "lost":
            file.unlink()
        else:
            cut = {"cut": payload[:-7], "flipped": payload, "emptied": b""}[damage]
            file.write_bytes(cut)
    care = CacheCare(tmp_path)
    assert len(care.verify()) == 2
    cached = CachedSource(stock, tmp_path)
    offline = CachedSource(stock, tmp_path, offline=True).bars(request)
    assert any("damaged" in part for part in offline.missing)
    answer = cached.bars(request)
    assert any("set aside" in note for note in answer.notes)
    assert values(answer.bars) == values(good.bars)
    assert answer.actions.num_rows == 1
    assert len(stock.asked) == 2
    assert care.verify() == []


def test_repair_and_prune(tmp_path: Path, now: Now) -> None:
    """`repair` sets damaged files aside, a broken index with everything; `prune` lets go."""
    now("2024-03-01T22:00:00Z")
    stock = Stock()
    request = BarsRequest("ACME", "1d", date(2024, 1, 2))
    CachedSource(stock, tmp_path).bars(request)
    (file,) = (tmp_path / "rows").iterdir()
    file.write_bytes(b"oops")
    care = CacheCare(tmp_path)
    (finding,) = care.repair()
    assert "set aside" in finding.done
    assert care.verify() == []
    assert CachedSource(stock, tmp_path).bars(request).bars.num_rows == 42
    assert care.prune() == (1, 4)
    care.close()
    (tmp_path / "index.sqlite").write_bytes(b"no database" * 1000)
    for log in tmp_path.glob("index.sqlite-*"):
        log.unlink()
    care = CacheCare(tmp_path)
    assert care.verify()[0].where == "index.sqlite"
    care.repair()
    assert care.verify() == []
    assert CachedSource(stock, tmp_path).bars(request).bars.num_rows == 42
    assert len(stock.asked) == 3
    files, size = care.prune(symbol="acme")
    assert files == 1
    assert size > 0
    assert care.holdings() == []
