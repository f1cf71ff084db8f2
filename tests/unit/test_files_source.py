"""Bars from files: formats, columns by name, zones, and lines that cannot be read."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from tickerlake.errors import (
    ConfigError,
    MalformedError,
    NotFoundError,
    RangeError,
    TickerlakeError,
)
from tickerlake.sources import Answer, BarsRequest, open_source
from tickerlake.sources.files import FilesSettings, FilesSource

HEADER = "Ticker,Date,Open,High,Low,Close,Volume\n"
DAY = {"symbol": "AAA", "open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5}


def read(payload: str | bytes, **settings: Any) -> Answer:
    raw = payload.encode() if isinstance(payload, str) else payload
    return FilesSource(FilesSettings(**settings)).parse(raw)


def parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), sink)
    return sink.getvalue()


def test_columns_are_found_by_the_names_that_people_use() -> None:
    """Case, blanks and underscores do not matter; what is not a bar's is left out and said."""
    text = (
        "DATE,ticker,Open,HIGH,low,Adj Close,Close,VOL,Stock Splits\n2024-01-02,A,1,3,1,2,2.5,7,0\n"
    )
    answer = read(text, currency="JPY", provider="archive")
    (bar,) = answer.bars.to_pylist()
    assert (bar["symbol"], bar["open"], bar["high"], bar["low"]) == ("A", 1, 3, 1)
    assert (bar["close"], bar["adj_close"], bar["volume"]) == (2.5, 2, 7)
    assert (bar["currency"], bar["provider"], bar["state"]) == ("JPY", "archive", "final")
    assert (bar["interval"], bar["session_date"]) == ("1d", date(2024, 1, 2))
    assert answer.notes == ("the file: columns left out: Stock Splits",)


def test_columns_can_be_told() -> None:
    """`columns` names the file's own column; a wrong name says which columns there are."""
    text = "symbol,date,Px,high,low,close\nA,2024-01-02,1,2,1,2\n"
    assert read(text, columns={"open": "Px"}).bars["open"].to_pylist() == [1]
    with pytest.raises(NotFoundError, match="symbol, date, Px"):
        read(text, columns={"open": "Opening"})
    with pytest.raises(NotFoundError, match="no column for 'open'"):
        read(text)
    with pytest.raises(NotFoundError, match="A bar has no column 'opne'"):
        read(text, columns={"opne": "Px"})


def test_the_three_formats_give_the_same_bars() -> None:
    """CSV, newline JSON and Parquet are told apart by their bytes, not by their names."""
    lines = (
        '{"ticker":"A","date":"2024-01-02","open":1,"high":2,"low":1,"close":1.5,"volume":null}\n'
    )
    files = (
        HEADER + "A,2024-01-02,1,2,1,1.5,\n",
        "\ufeff" + HEADER + "\r\nA,2024-01-02,1,2,1,1.5,NaN\r\n",
        lines,
        parquet(Symbol=["A"], date=[date(2024, 1, 2)], open=[1], high=[2], low=[1], close=[1.5]),
    )
    at = datetime(2024, 1, 3, tzinfo=UTC)
    bars = [
        FilesSource().parse(f if isinstance(f, bytes) else f.encode(), received_at=at).bars
        for f in files
    ]
    assert bars[0].num_rows == 1
    assert all(table.equals(bars[0]) for table in bars)


@pytest.mark.parametrize(
    ("text", "settings", "ts", "session_date"),
    [
        ("2024-01-02 09:30", {"time_zone": "America/New_York"}, "2024-01-02T14:30", "2024-01-02"),
        ("2024-01-02T23:30:00Z", {"time_zone": "Asia/Tokyo"}, "2024-01-02T23:30", "2024-01-03"),
        ("2024-01-03T08:30:00+09:00", {}, "2024-01-02T23:30", "2024-01-03"),
        ("1704238200", {}, "2024-01-02T23:30", "2024-01-02"),
        ("1704238200000000", {"time_zone": "Asia/Tokyo"}, "2024-01-02T23:30", "2024-01-03"),
    ],
)
def test_times_become_utc_and_sessions_stay_local(
    text: str, settings: dict[str, str], ts: str, session_date: str
) -> None:
    """`ts` is UTC; the session's date is the wall clock's, of the zone told or written."""
    answer = read(HEADER + f"A,{text},1,2,1,2,5\n", interval="5m", **settings)
    assert answer.bars["ts"][0].as_py() == datetime.fromisoformat(ts).replace(tzinfo=UTC)
    assert answer.bars["session_date"][0].as_py() == date.fromisoformat(session_date)


def test_newline_json_keeps_its_zones() -> None:
    """A zone written in JSON is used, and a missing one is not guessed to be UTC."""
    line = '{"symbol":"A","ts":"%s","open":1,"high":2,"low":1,"close":2}\n'
    answer = read(line % "2024-01-02T15:00:00+01:00", interval="1h")
    assert answer.bars["ts"][0].as_py() == datetime(2024, 1, 2, 14, tzinfo=UTC)
    with pytest.raises(RangeError, match="have no zone"):
        read(line % "2024-01-02T15:00:00", interval="1h")


def test_days_written_as_midnights() -> None:
    """Midnights with a zone are days; midnights without one are days only if told so."""
    day = read(HEADER + "A,2024-01-04 00:00:00+09:00,1,2,1,2,5\n").bars
    assert (day["interval"][0].as_py(), day["session_date"][0].as_py()) == ("1d", date(2024, 1, 4))
    assert day["ts"][0].as_py() == datetime(2024, 1, 4, tzinfo=UTC)
    naive = HEADER + "A,2024-01-04 00:00:00,1,2,1,2,5\n"
    assert read(naive, interval="1d").bars["session_date"][0].as_py() == date(2024, 1, 4)
    with pytest.raises(RangeError, match="have no zone"):
        read(naive)


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("A,2024-01-02 09:30,1,2,1,2,5\n", {"interval": "1m"}, r"line 2: .*have no zone"),
        ("A,2024-01-02 09:30Z,1,2,1,2,5\n", {}, "does not say of which interval"),
        ("A,2024-01-02,1,2,1,2,5\n", {"interval": "1m"}, "shorter than a day"),
        ("A,2024-01-02,1,2,1,2,5\n", {"interval": "7m"}, "no bars of 7m"),
        ("A,2024-01-02 09:30,1,2,1,2,5\n", {"time_zone": "Mars/North"}, "no time zone 'Mars/"),
    ],
)
def test_times_that_do_not_fit(text: str, settings: dict[str, str], message: str) -> None:
    """A time without zone, or an interval that does not fit, is a RangeError, not a guess."""
    with pytest.raises(RangeError, match=message):
        read(HEADER + text, **settings)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (HEADER + "A,2024-01-02,1,2,1,2,5\nA,2024-01-03,1,x,1,2,5\n", "line 3: High is not a num"),
        (HEADER + "\nA,2024-01-02,1,2,1,2,5\n\nA,2024-01-03,1,2\n", "line 5: .*number of fields"),
        (HEADER + 'A,2024-01-02,1,"2\n",1,2,5\nA,2024-02-30,1,2,1,2,5\n', "line 4: Date is not"),
        (HEADER + "A,2024-01-02,1,2,1,2,5\nA,2024-01-03 10:00Z,1,2,1,2,5\n", "line 3: Date is not"),
        (HEADER + "A,2024-01-02,1,2,1,2,5\n,2024-01-03,1,2,1,2,5\n", "line 3: a row without symb"),
        (HEADER + "A,soon,1,2,1,2,5\n", "line 2: Date 'soon' is no time"),
        (HEADER.encode() + b"A,2024-01-02,1,2,1,2,5\n\xff,", "line 3: not UTF-8"),
        ("Date,Date,Open\n", "line 1: two columns have the name 'Date'"),
        ('{"symbol": "A"}\n\n{"symbol": \n', "line 3: it cannot be read"),
        ('{"open": 1}\n{"open": "one"}\n', "line 2: it cannot be read"),
        ('{"open": 1}\n[1]\n', "line 2: it cannot be read"),
        ("", "is empty"),
        (b"PAR1 and no more", "not a sound Parquet file"),
        (parquet(symbol=["A"], ts=[True], open=[1], high=[1], low=[1], close=[1]), "row 1: ts"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_names_its_line(payload: str | bytes, message: str) -> None:
    """A malformed row is named by line, as an editor counts, and the whole file is refused."""
    with pytest.raises(MalformedError, match=message):
        read(payload)


def test_a_quote_that_nobody_closed_is_named_where_it_begins() -> None:
    """Not at the end of the file, where the parser gives up."""
    rows = '2024-01-02,1,2,1,2\n"2024-01-03,1,2,1,2\n2024-01-04,1,2,1,2\n'
    with pytest.raises(MalformedError, match="line 3"):
        read(f"date,open,high,low,close\n{rows}", symbol="XX")


def test_wrong_values_pass() -> None:
    """High < low and negative prices are no business of a source: they become dead letters."""
    answer = read(HEADER + "A,2024-01-02,-1,1,2,2,-5\n")
    assert answer.bars.num_rows == 1


def test_our_own_export_comes_back_unchanged(tmp_path: Path) -> None:
    """Bars written to Parquet or CSV and read again are the same, down to provider and zone."""
    bars = open_source("sample").bars(BarsRequest("FB", end=date(2012, 6, 1))).bars
    pyarrow.parquet.write_table(bars, tmp_path / "bars.parquet")
    again = FilesSource().read_file(tmp_path / "bars.parquet").bars
    assert again.equals(bars)


def test_a_folder_is_read_and_its_symbols_are_listed(tmp_path: Path) -> None:
    """All files of a folder make one source; what lies beside them is left alone."""
    (tmp_path / "a.csv").write_text(HEADER + "A,2024-01-02,1,2,1,2,5\n")
    (tmp_path / "b.csv").write_text(HEADER + "B,2024-01-02,1,2,1,2,5\n")
    (tmp_path / "notes.md").write_text("not bars")
    source = open_source("files", settings={"path": str(tmp_path)})
    assert list(source.symbols()) == ["A", "B"]
    assert source.bars(BarsRequest("B")).bars.num_rows == 1
    assert source.bars(BarsRequest("B", "1h")).bars.num_rows == 0


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({}, NotFoundError),
        ({"path": "nowhere.csv"}, NotFoundError),
        ({"path": "."}, NotFoundError),
        ({"paths": "x"}, ConfigError),
    ],
)
def test_a_missing_file_is_not_found(
    settings: dict[str, str],
    error: type[TickerlakeError],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No path, no such file, or a folder without bars: each says what was looked for."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match="what to do"):
        open_source("files", settings=settings).bars(BarsRequest("A"))


def test_an_array_of_objects_is_read_as_lines_are() -> None:
    """What `fetch --output x.json` and `sql --json` write can be published again."""
    good = '{"date": "2024-01-02", "symbol": "A", "open": 1, "high": 2, "low": 1, "close": 2}'
    lines, array = read(f"{good}\n{good}\n"), read(f"[{good},\n {good}]")
    assert array.bars.drop_columns("fetched_at") == lines.bars.drop_columns("fetched_at")
    with pytest.raises(MalformedError, match="item 2: it cannot be read"):
        read(f"[{good}, 5]")
    with pytest.raises(MalformedError, match="not sound JSON"):
        read(f"[{good},")
    with pytest.raises(MalformedError, match="an empty array"):
        read("[]")


def test_shapes_that_other_tools_write_are_no_bugs_of_ours() -> None:
    """Lines ended by CR alone, very long fields, categories, and objects where a text belongs."""
    row = "A,2024-01-02,1,2,1,2,3"
    assert read((HEADER + row).replace("\n", "\r")).bars.num_rows == 1
    long = "Note," + HEADER + "x" * 200_000 + f",{row}\ny,A,2024-01-03,bad,2,1,2,3\n"
    with pytest.raises(MalformedError, match="line 3: Open is not a number"):
        read(long)
    days = pa.array(["2024-01-02"]).dictionary_encode()
    prices = {name: [1.0] for name in ("open", "high", "low", "close")}
    assert read(parquet(date=days, symbol=["A"], **prices)).bars.num_rows == 1
    with pytest.raises(MalformedError, match="holds no texts"):
        read(parquet(date=days, symbol=[{"a": 1}], **prices))
