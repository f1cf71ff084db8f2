"""Each view's address gives its data in three formats, and errors that say what to do."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import pyarrow as pa
import pytest
from pyarrow import csv

from tickerlake.testing.page import BarsChain, bars_table, daily_bars, serve_in_thread
from tickerlake.web import WebSettings
from tickerlake.web.formats import to_csv, to_json

LAST = datetime(2013, 3, 1, tzinfo=UTC)
SYMBOLS = ("AAPL", "BRK.B", "BTC/USD", "O'HARE", "^GSPC")


@pytest.fixture(scope="module")
def chain() -> BarsChain:
    return BarsChain(*(daily_bars(symbol, 20, last=LAST) for symbol in SYMBOLS))


@pytest.fixture(scope="module")
def page(chain: BarsChain) -> Iterator[httpx.Client]:
    settings = WebSettings(port=0, chart_bars_max=15)
    with serve_in_thread(chain, settings) as address, httpx.Client(base_url=address) as client:
        yield client


@pytest.mark.parametrize(
    "view", ["/", "/chart/AAPL", "/sql", "/pipeline"], ids=["symbols", "chart", "sql", "pipeline"]
)
def test_one_address_gives_the_page_and_its_data(page: httpx.Client, view: str) -> None:
    """The same path is a page, and with a suffix JSON, CSV and Arrow with the same rows."""
    query = {"q": "select symbol, count(*) as bars from bars group by 1 order by 1"}
    shown = page.get(view, params=query)
    assert shown.headers["content-type"].startswith("text/html")
    answers = {kind: page.get(f"{view}.{kind}", params=query) for kind in ("json", "csv", "arrow")}
    assert {answer.status_code for answer in answers.values()} == {200}
    rows = answers["json"].json()
    assert rows
    table = pa.ipc.open_file(answers["arrow"].content).read_all()
    assert table.column_names == list(rows[0])
    assert table.num_rows == len(rows)
    lines = csv.read_csv(io.BytesIO(answers["csv"].content))
    assert (lines.num_rows, lines.column_names) == (len(rows), list(rows[0]))


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_symbols_are_taken_as_they_are_written(page: httpx.Client, symbol: str) -> None:
    """Dots, slashes, carets and quotes in a symbol reach the query unharmed."""
    path = httpx.URL(page.base_url).copy_with(raw_path=f"/chart/{symbol}.json".encode())
    for address in (str(path), f"/chart/{symbol.replace('/', '%2F')}.json"):
        assert len(page.get(address).json()) == 15


def test_a_chart_has_the_newest_bars_oldest_first_and_says_that_it_was_cut(
    page: httpx.Client,
) -> None:
    """Of more bars than fit the newest stay, in the order of time."""
    answer = page.get("/chart/AAPL.json")
    times = [row["ts"] for row in answer.json()]
    assert times == sorted(times)
    assert times[-1] == "2013-03-01T00:00:00Z"
    assert '"truncated":true' in answer.headers["Tickerlake-Result"]


def test_dates_are_session_dates_and_both_ends_are_in(page: httpx.Client) -> None:
    """`start` and `end` as dates include both; a timestamp's end is excluded."""

    def days(**bounds: str) -> list[str]:
        answer = page.get("/chart/AAPL.json", params=bounds)
        return [row["session_date"][-2:] for row in answer.json()]

    assert days(start="2013-02-26", end="2013-02-27") == ["26", "27"]
    assert days(start="2013-02-26T00:00:00Z", end="2013-02-28T00:00:00+00:00") == ["26", "27"]
    assert days(start="2013-02-28") == ["28", "01"]
    assert days(end="1999-01-01") == []


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/chart/AAPX.json", 404, "AAPX did you mean AAPL"),
        ("/chart/AAPL.json?interval=7m", 400, "7m 1m, 2m, 5m"),
        ("/chart/AAPL.json?start=2013-03-01&end=2013-02-01", 400, "ends before it starts"),
        ("/chart/AAPL.json?start=2013-03-01T10:00:00", 400, "time zone"),
        ("/chart/AAPL.json?start=yesterday", 400, "yesterday ISO 8601"),
        ("/sql.json", 400, "no query"),
        ("/sql.json?q=drop table bars", 400, "SELECT"),
        ("/sql.json?q=select nonsense from bars", 422, "nonsense"),
        ("/sql.json?q=select 1&limit=many", 400, "limit many"),
        ("/nothing/here", 404, "/api/docs"),
        ("/..%2fapp.py", 404, "/api/docs"),
    ],
)
def test_errors_say_what_was_found_and_what_to_do(
    page: httpx.Client, address: str, status: int, words: str
) -> None:
    """Every refusal is JSON with problem, expected, found and todo, and a fitting status."""
    answer = page.get(address)
    assert answer.status_code == status
    body = answer.json()
    assert set(body) == {"problem", "expected", "found", "todo"}
    assert body["todo"]
    said = " ".join(str(text) for text in body.values())
    assert all(word in said for word in words.split())


def test_search_finds_equal_first_then_beginning_then_within(page: httpx.Client) -> None:
    """What the reader types leads to the symbols that fit it best."""

    def found(text: str) -> list[str]:
        return [row["symbol"] for row in page.get("/api/search", params={"q": text}).json()]

    assert found("b") == ["BRK.B", "BTC/USD"]
    assert found("spc") == ["^GSPC"]
    assert found("aapl") == ["AAPL"]
    assert found("nothing") == []
    assert found("") == sorted(SYMBOLS)


def test_the_list_of_symbols_has_the_newest_two_closes(page: httpx.Client) -> None:
    """Last and previous are the closes of the two newest daily bars."""
    bars = page.get("/chart/AAPL.json").json()
    (row,) = page.get("/api/search?q=aapl").json()
    assert (row["last"], row["previous"]) == (bars[-1]["close"], bars[-2]["close"])


def test_a_symbol_that_has_just_arrived_is_known(page: httpx.Client, chain: BarsChain) -> None:
    """The list of symbols is kept for a while, but a chart never denies what is there."""
    assert page.get("/chart/NEW.json").status_code == 404
    chain.push(bars_table([{"symbol": "NEW", "ts": LAST, "close": 1.0}]))
    assert len(page.get("/chart/NEW.json").json()) == 1


def test_of_two_providers_the_freshest_is_shown_unless_one_is_asked_for() -> None:
    """Bars of different providers are never mixed in one chart."""
    old = bars_table([{"symbol": "X", "ts": datetime(2013, 1, 2, tzinfo=UTC), "close": 1.0}])
    new = bars_table([{"symbol": "X", "provider": "other", "ts": LAST, "close": 2.0}])
    with serve_in_thread(BarsChain(old, new), WebSettings(port=0)) as address:
        for query, provider in (("", "other"), ("?provider=test", "test")):
            rows = httpx.get(f"{address}chart/X.json{query}").json()
            assert [row["provider"] for row in rows] == [provider]


def test_what_was_known_then_can_be_asked(page: httpx.Client) -> None:
    """`as_of` goes to the engine: before everything was fetched, there was nothing."""
    query = {"q": "select count(*) as n from bars"}
    assert page.get("/sql.json", params=query).json()[0]["n"] > 0
    then = {**query, "as_of": "2013-03-01T00:00:00+00:00"}
    assert page.get("/sql.json", params=then).json() == [{"n": 0}]


def test_a_limit_cuts_the_answer_and_says_so(page: httpx.Client) -> None:
    """The page asks for few rows of many; the header tells columns, types and the cut."""
    answer = page.get("/sql.json", params={"q": "select symbol, ts from bars", "limit": "3"})
    assert len(answer.json()) == 3
    about = answer.headers["Tickerlake-Result"]
    assert '"truncated":true' in about
    assert '["symbol","string"],["ts","timestamp[us, tz=UTC]"]' in about


def test_json_and_csv_hold_whatever_a_cell_can_hold() -> None:
    """NaN becomes null, 64-bit ids stay whole, bytes become text, twins are numbered."""
    table = pa.table(
        [
            pa.array([float("nan"), 1.5]),
            pa.array([-8123456789012345678, None]),
            pa.array([b'{"a":1}', b"\xff"]),
            pa.array([{"x": [1]}, None]),
            pa.array([datetime(2013, 3, 1, 14, 30, tzinfo=UTC), None]),
            pa.array([Decimal(10**20), Decimal("1.5")], pa.decimal128(38, 1)),
            pa.array([pa.MonthDayNano([0, 3, 2_500_000_000]), None]),
        ],
        names=["a", "a", "payload", "nested", "ts", "sum", "span"],
    )
    assert to_json(table).decode() == (
        '[{"a":null,"a_2":-8123456789012345678,"payload":"{\\"a\\":1}","nested":{"x":[1]},'
        '"ts":"2013-03-01T14:30:00Z","sum":100000000000000000000,"span":"P0M3DT2.5S"},'
        '{"a":1.5,"a_2":null,"payload":"\\ufffd","nested":null,"ts":null,"sum":1.5,"span":null}]'
    )
    lines = to_csv(table).decode().splitlines()
    assert lines[0] == '"a","a_2","payload","nested","ts","sum","span"'
    assert lines[1].endswith(',100000000000000000000.0,"P0M3DT2.5S"')
    assert '"{""x"": [1]}"' in lines[1]


def test_a_limit_beyond_every_number_is_no_limit(page: httpx.Client) -> None:
    """However many digits it has, all rows come."""
    query = {"q": "select 1 as one", "limit": "9" * 5_000}
    assert page.get("/sql.json", params=query).json() == [{"one": 1}]


def test_metrics_are_what_prometheus_reads(page: httpx.Client) -> None:
    """Every line is a comment or `name{labels} value`; each hop's count is there."""
    text = page.get("/metrics").text
    line = re.compile(r'^(# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? -?[\d.e+-]+)$')
    assert all(line.match(part) for part in text.splitlines())
    assert re.search(r'tickerlake_hop_records_total\{hop="lake"\} \d+', text)
    assert page.get("/healthz").json()["status"] == "ok"


def test_every_documented_address_answers(page: httpx.Client) -> None:
    """What /api/docs lists exists: no address answers 404."""
    described = page.get("/api/docs.json").json()["paths"]
    assert "/chart/{symbol}.arrow" in described
    for path in described:
        address = path.replace("{symbol}", "AAPL")
        with page.stream("GET", address, params={"q": "select 1 as one"}) as answer:
            assert answer.status_code == 200, path
