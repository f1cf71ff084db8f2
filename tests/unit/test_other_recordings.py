"""Recordings in other forms than those we saw: what a provider's parser makes of them."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tickerlake.errors import ConfigError, MalformedError, RateLimitedError, UnreachableError
from tickerlake.sources import Answer, open_source


def parsed(name: str, document: object, **told: Any) -> Answer:
    payload = document if isinstance(document, bytes) else encoded(document)
    return open_source(name).parse(payload, **told)


def encoded(document: object) -> bytes:
    return document.encode() if isinstance(document, str) else json.dumps(document).encode()


def wrapped(url: str, body: object, status: int = 200) -> dict[str, Any]:
    """An answer with its request, received a day after the second of January 2024."""
    date = "Wed, 03 Jan 2024 12:00:00 GMT"
    response = {"status": status, "headers": {"Date": [date]}, "bodyJson": body}
    return {"request": {"url": url}, "response": response}


MS = 1704207600123
STAMP = "2024-01-02T15:00:00.123456Z"
#: A frame with one trade of each provider whose frames are objects or arrays of objects.
FRAMES: dict[str, Any] = {
    "alpaca": [{"T": "t", "S": "ACME", "p": 10.5, "s": 3, "t": STAMP, "i": 7}],
    "massive": [{"ev": "T", "sym": "ACME", "p": 10.5, "s": 3, "t": MS, "i": "7"}],
    "finnhub": {"type": "trade", "data": [{"s": "ACME", "p": 10.5, "t": MS, "v": 3, "c": None}]},
    "binance": {"e": "aggTrade", "s": "ACMEUSDT", "a": 7, "p": "10.5", "q": "3", "T": MS,
                "m": True},
    "coinbase": {"type": "match", "trade_id": 7, "side": "sell", "size": "3", "price": "10.5",
                 "product_id": "ACME-USD", "time": STAMP},
    "kraken": {"channel": "trade", "type": "update",
               "data": [{"symbol": "ACME/USD", "side": "buy", "price": 10.5, "qty": 3.0,
                         "trade_id": 7, "timestamp": STAMP}]},
    "tiingo": {"messageType": "A", "service": "iex",
               "data": ["T", STAMP, MS * 10**6, "acme", None, None, None, None, None, 10.5, 3,
                        None, 0, 0, 0, 0]},
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize(
    ("form", "trades"),
    [
        ("one", 1), ("lines", 2), ("pretty", 1), ("pretty lines", 2), ("array", 2), ("packed", 2),
        ("marked", 2), ("shell", 2), ("ours", 1), ("ours, as document", 1), ("texts", 1),
        ("more fields", 1), ("numbers", 1),
    ],
)  # fmt: skip
def test_frames_in_every_form(name: str, form: str, trades: int) -> None:
    """However a recorder or an editor wrote them down, frames give the same trades, and no note."""
    frame = FRAMES[name]
    line, pretty = json.dumps(frame), json.dumps(frame, indent=2)
    ours = {"received_at": STAMP, "direction": "in", "url": "", "frame": line}
    payload: Any = {
        "one": line,
        "lines": f"{line}\n{line}\n",
        "pretty": pretty,
        "pretty lines": f"{pretty}\n{pretty}\n",
        "array": [frame, frame],
        "packed": gzip.compress(f"{line}\n{line}\n".encode()),
        "marked": f"{line}\r\n{line}\r\n".encode("utf-8-sig"),
        "shell": f"{line}\r\n{line}\r\n".encode("utf-16"),
        "ours": ours,
        "ours, as document": [{**ours, "frame": frame}],
        "texts": changed(frame, str, int | float),
        "more fields": changed(frame, lambda told: {**told, "new": {"of": [None]}}, dict),
        "numbers": changed(frame, lambda told: 10.5 if told == "10.5" else told, str),
    }[form]
    if name == "tiingo" and form in ("texts", "more fields"):
        payload = line  # its rows are told apart by their length, and their types
    answer = parsed(name, payload)
    table = answer.ticks["trade"]
    assert table["price"].to_pylist() == [10.5] * trades
    assert table["size"].to_pylist() == [3.0] * trades
    assert {stamp // 10**6 for stamp in table["ts_ns"].to_pylist()} == {MS}
    assert answer.notes == ()


def changed(document: Any, change: Any, kinds: Any) -> Any:
    """The document with all values of some types changed, inside out."""
    if isinstance(document, dict):
        document = {key: changed(value, change, kinds) for key, value in document.items()}
    elif isinstance(document, list):
        document = [changed(value, change, kinds) for value in document]
    fits = isinstance(document, kinds) and not isinstance(document, bool)
    return change(document) if fits else document


@pytest.mark.parametrize("name", ["alpaca", "massive"])
def test_events_of_other_kinds_are_told_once_a_kind(name: str) -> None:
    """A recording full of events that we have no record for says so in one sentence each."""
    tag = {"alpaca": "T", "massive": "ev"}[name]
    others = [{tag: "NEW", "n": number} for number in range(200)]
    answer = parsed(name, [*others, *FRAMES[name]])
    assert answer.ticks["trade"].num_rows == 1
    assert answer.notes == ("events of the kind 'NEW' were left out: we have no such record",)


def test_notes_are_few() -> None:
    """Thousands of odd frames do not become thousands of sentences."""
    notes = parsed("finnhub", "\n".join(f'{{"type": "odd {n}"}}' for n in range(1000))).notes
    assert len(notes) == 101
    assert notes[-1] == "and 900 more like these"


def test_a_torn_capture_says_so() -> None:
    """The last line of a recorder that was killed is not lost silently."""
    line = encoded({"received_at": STAMP, "direction": "in", "url": "", "frame": "{}"})
    answer = parsed("finnhub", line + b"\n" + line[:40])
    assert "the last line is torn, and was left out" in answer.notes


def test_a_capture_without_records_says_so() -> None:
    """A socket that only pinged gives no records, and a sentence about it."""
    assert parsed("finnhub", {"type": "ping"}).notes == ("no frame holds a record",)


FINNHUB = "https://finnhub.io/api/v1/"


@pytest.mark.parametrize(
    ("document", "note"),
    [
        ({"c": 1.5, "pc": 1.4, "t": 0, "d": None}, "the newest quote of a symbol, no records"),
        ([{"symbol": "ACME", "mic": "XNAS"}], "a list of symbols, no records"),
        ({"ticker": "ACME", "name": "Acme"}, "what a symbol is, no records"),
        ({"s": "no_data"}, "no candles, no records"),
        ([], "an empty list, no records"),
        (wrapped(FINNHUB + "search?q=x&token=k", {"count": 0, "result": []}),
         "an answer of Finnhub's search: 0 symbols, no records"),
    ],
)  # fmt: skip
def test_answers_of_finnhub_without_records(document: object, note: str) -> None:
    """Each says what it is, also packed and with its request around it."""
    assert parsed("finnhub", document).notes == (note,)
    assert parsed("finnhub", gzip.compress(encoded(document))).notes == (note,)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, {"error": "Invalid API key"}, ConfigError),
        (200, {"error": "You don't have access to this resource."}, ConfigError),
        (429, {"error": "API limit reached. Please try again later."}, RateLimitedError),
        (200, {"error": "API limit reached. Please try again later."}, RateLimitedError),
        (502, {}, UnreachableError),
        (302, {}, UnreachableError),
    ],
)
def test_errors_of_finnhub_in_recordings(status: int, body: object, error: type[Exception]) -> None:
    """A recorded refusal is the error that it was."""
    with pytest.raises(error):
        parsed("finnhub", wrapped(FINNHUB + "quote?symbol=ACME", body, status))


ALPACA = "https://data.alpaca.markets/v2/stocks/"
DAY = {"t": "2024-01-02T05:00:00Z", "o": 10, "h": 11, "l": 9, "c": 10.5, "v": 100}
MINUTE = {**DAY, "t": "2024-01-02T15:00:00Z"}


def columns(answer: Answer, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*(answer.bars[name].to_pylist() for name in names), strict=True))


@pytest.mark.parametrize(
    ("adjustment", "basis", "note"),
    [
        ("raw", "2024-01-02", ()),
        ("split", "2024-01-03", ()),
        ("all", "2024-01-03", ("prices are adjusted for all, as was asked for",)),
        ("dividend", "2024-01-02", ("prices are adjusted for dividend, as was asked for",)),
    ],
)
def test_alpaca_by_what_was_asked_for(adjustment: str, basis: str, note: tuple[str, ...]) -> None:
    """A recorded request tells symbol, interval and what prices are adjusted for."""
    url = f"{ALPACA}BRK.B/bars?timeframe=1Day&adjustment={adjustment}"
    answer = parsed("alpaca", wrapped(url, {"bars": [DAY], "next_page_token": None}))
    assert [(s, i, str(b)) for s, i, b in columns(answer, "symbol", "interval", "split_basis")] == [
        ("BRK.B", "1d", basis)
    ]
    assert answer.notes == note


@pytest.mark.parametrize(
    ("timeframe", "interval"), [("5T", "5m"), ("60Min", "1h"), ("1H", "1h"), ("1D", "1d")]
)
def test_alpaca_writes_intervals_in_several_ways(timeframe: str, interval: str) -> None:
    """Short forms, and one length in two units."""
    url = f"{ALPACA}bars?symbols=ACME&timeframe={timeframe}"
    assert columns(parsed("alpaca", wrapped(url, {"bars": {"ACME": [DAY]}})), "interval") == [
        (interval,)
    ]


@pytest.mark.parametrize("timeframe", ["10Min", "6Month", "2Hour", "x"])
def test_alpaca_intervals_without_a_name_are_no_others(timeframe: str) -> None:
    """Half a year is not taken for days because its bars start at midnight."""
    url = f"{ALPACA}bars?symbols=ACME&timeframe={timeframe}"
    with pytest.raises(MalformedError, match=timeframe):
        parsed("alpaca", wrapped(url, {"bars": {"ACME": [DAY]}}))


@pytest.mark.parametrize(
    ("days", "interval"),
    [
        (["2024-01-02", "2024-01-03"], "1d"),
        (["2024-01-02", "2024-01-10"], "1d"),
        (["2024-01-01", "2024-01-08"], "1wk"),
        (["2024-03-01", "2024-04-01"], "1mo"),
        (["2024-01-01", "2024-04-01"], "3mo"),
        (["2024-07-01", "2024-10-01", "2025-01-01"], "3mo"),
    ],
)
def test_days_weeks_and_months_are_told_apart(days: list[str], interval: str) -> None:
    """Two rows are enough where nobody says how long a bar is, and a note says that it was so."""
    rows = [{**DAY, "t": f"{day}T00:00:00-05:00"} for day in days]
    rows = [{**row, "t": row["t"].replace("-05:00", "-04:00")} if "-04-01" in row["t"] or
            "-07-01" in row["t"] or "-10-01" in row["t"] else row for row in rows]  # fmt: skip
    answer = parsed("alpaca", {"bars": {"ACME": rows}, "next_page_token": None})
    assert set(columns(answer, "interval")) == {(interval,)}
    assert [str(day) for (day,) in columns(answer, "session_date")] == days
    note = f"bars of {interval}, by their stamps: the answer does not say"
    assert answer.notes == (note,)


@pytest.mark.parametrize("name", ["alpaca", "massive"])
def test_numbers_as_texts_and_rows_without_prices(name: str) -> None:
    """A text of 10.5 is 10.5, null stays null, and a row without any price is left out and told."""
    first, second = (
        ("2024-01-02T15:00:00Z", "2024-01-02T15:01:00Z")
        if name == "alpaca"
        else (1704207600000, 1704207660000)
    )
    rows = [
        {**changed(DAY, str, int | float), "t": first, "v": None},
        {"t": second, "o": None, "h": None, "l": None, "c": None, "v": 5},
    ]
    document = {"alpaca": {"bars": {"ACME": rows}},
                "massive": {"ticker": "ACME", "results": rows, "status": "OK"}}[name]  # fmt: skip
    answer = parsed(name, document, interval="1m")
    assert columns(answer, "open", "close", "volume") == [(10.0, 10.5, None)]
    assert answer.notes == ("1 row without prices",)


@pytest.mark.parametrize(
    ("document", "note"),
    [
        ({"symbol": "ACME", "latestTrade": {}}, "a snapshot of what is newest, no records"),
        ({"ACME": {"dailyBar": DAY}}, "a snapshot of what is newest, no records"),
        ({"news": [], "next_page_token": "x"}, "news, no records"),
        ([{"date": "2024-01-02", "open": "09:30"}], "the calendar of sessions, no records"),
        ({"symbol": "ACME", "tradable": True}, "what one asset is, no records"),
        ({"corporate_actions": {}}, "an answer without corporate actions"),
    ],
)
def test_answers_of_alpaca_without_records(document: object, note: str) -> None:
    """Each says what it is: none is an empty answer of bars."""
    assert parsed("alpaca", document).notes == (note,)


AGGS = "https://api.massive.com/v2/aggs/ticker/"
BAR = {"t": 1704171600000, "o": 10, "h": 11, "l": 9, "c": 10.5, "v": 7.0e7}


@pytest.mark.parametrize("span", ["3/minute", "7/second", "5/day", "1/year"])
def test_massive_intervals_without_a_name_are_no_others(span: str) -> None:
    """Years and five days are not taken for days, which their stamps look like."""
    document = {"ticker": "ACME", "results": [BAR], "status": "OK"}
    with pytest.raises(MalformedError, match=span.replace("/", " ")):
        parsed("massive", wrapped(f"{AGGS}ACME/range/{span}/2024-01-02/2024-01-03", document))


def test_massive_seconds_are_bars() -> None:
    """A second is an interval with a name, and the address says that it is one."""
    document = {"ticker": "ACME", "results": [BAR], "status": "OK"}
    told = wrapped(f"{AGGS}ACME/range/1/second/2024-01-02/2024-01-03", document)
    assert parsed("massive", told).bars["interval"].to_pylist() == ["1s"]


def test_massive_coins_have_days_of_utc() -> None:
    """The day that begins at midnight in London is not New York's day before."""
    rows = [{**BAR, "t": 1704153600000}, {**BAR, "t": 1704240000000}]
    answer = parsed("massive", {"ticker": "X:BTCUSD", "results": rows, "status": "OK"})
    told = columns(answer, "interval", "instrument_type", "currency", "session_date")
    assert [(*rest, str(day)) for *rest, day in told] == [
        ("1d", "crypto", "USD", "2024-01-02"),
        ("1d", "crypto", "USD", "2024-01-03"),
    ]


def test_massive_tells_one_day_in_another_shape() -> None:
    """The answer of open-close is a bar of that day."""
    day = {"status": "OK", "from": "2024-01-02", "symbol": "ACME", "open": 10, "high": 11, "low": 9,
           "close": 10.5, "volume": 7, "afterHours": 1, "preMarket": 2}  # fmt: skip
    answer = parsed("massive", day)
    assert columns(answer, "symbol", "interval", "close") == [("ACME", "1d", 10.5)]
    assert str(answer.bars["session_date"][0]) == "2024-01-02"


def test_massive_quotes_of_currencies_have_one_stamp() -> None:
    """They are told by their bids, and stamped by the participant."""
    row = {"bid_price": 1.5, "ask_price": 1.6, "participant_timestamp": 1704207600123456789}
    answer = parsed("massive", {"results": [row], "status": "OK"}, symbol="C:EUR-USD")
    assert answer.ticks["quote"]["ts_ns"].to_pylist() == [1704207600123456789]


def test_massive_dividends_without_an_ex_date_cost_only_themselves() -> None:
    """One that is only declared is left out and told; numbers may be texts."""
    rows = [
        {"ticker": "ACME", "cash_amount": "0.22", "ex_dividend_date": "2024-01-05"},
        {"ticker": "ACME", "cash_amount": 0.22, "ex_dividend_date": None},
    ]
    answer = parsed("massive", {"results": rows, "status": "OK"})
    assert answer.actions["amount"].to_pylist() == [0.22]
    assert answer.notes == ("1 without an ex-date left out",)


@pytest.mark.parametrize(
    ("document", "note"),
    [
        ({"status": "OK", "ticker": {"ticker": "ACME", "todaysChange": 1}},
         "a snapshot of what is newest, no records"),
        ({"status": "OK", "tickers": [{"ticker": "ACME", "todaysChange": 1}]},
         "a snapshot of what is newest, no records"),
        ({"results": {"underlying": {}, "values": []}, "status": "OK"},
         "values of an indicator, no records"),
        ({"results": [{"publisher": {}}], "status": "OK"}, "news, no records"),
    ],
)  # fmt: skip
def test_answers_of_massive_without_records(document: object, note: str) -> None:
    """Each says what it is, and none is an empty answer of bars."""
    assert parsed("massive", document).notes == (note,)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("massive", {"results": [{"price": "x", "exchange": 1, "id": "1", "sip_timestamp": 5}]}),
        ("alpaca", {"bars": {"ACME": [{"t": "no time", "news": 1}]}}),
    ],
)
def test_rows_that_cannot_be_read_are_no_other_answer(name: str, rows: dict[str, Any]) -> None:
    """A damaged answer of records does not pass for a list of something else."""
    with pytest.raises(MalformedError):
        parsed(name, {**rows, "status": "OK"}, symbol="ACME")


TIINGO = "https://api.tiingo.com/"
PRICES = {"date": "2024-01-02T00:00:00.000Z", "open": 10, "high": 11, "low": 9, "close": 10.5}


@pytest.mark.parametrize(
    ("path", "asked"),
    [("tiingo/daily/acme/prices", "annually"), ("iex/acme/prices", "3min")],
)
def test_tiingo_intervals_without_a_name_are_no_others(path: str, asked: str) -> None:
    """Years are not days, and have no dividends of their last day."""
    row = {**PRICES, "divCash": 0.24}
    with pytest.raises(MalformedError, match=asked):
        parsed("tiingo", wrapped(f"{TIINGO}{path}?resampleFreq={asked}", [row]))


def test_tiingo_prices_of_iex_are_of_five_minutes_where_nobody_asks() -> None:
    """The vendor's default holds for a recorded request that names no interval."""
    row = {**PRICES, "date": "2024-01-02T14:30:00.000Z"}
    answer = parsed("tiingo", wrapped(f"{TIINGO}iex/brk-b/prices?startDate=2024-01-02", [row]))
    assert columns(answer, "symbol", "interval") == [("BRK-B", "5m")]
    with pytest.raises(MalformedError, match="name it: --interval"):
        parsed("tiingo", [row], symbol="ACME")


def test_tiingo_numbers_may_be_texts() -> None:
    """A row of texts gives what a row of numbers gives; what is none is still refused."""
    texts = changed(PRICES, str, int | float)
    assert columns(parsed("tiingo", [PRICES, texts], symbol="ACME"), "open", "close") == [
        (10.0, 10.5)
    ]
    with pytest.raises(MalformedError):
        parsed("tiingo", [{**PRICES, "close": "dear"}], symbol="ACME")


@pytest.mark.parametrize(
    ("name", "document", "note"),
    [
        ("tiingo", [{"publishedDate": "x", "title": "y"}], "news, no records"),
        ("tiingo", [{"date": "2024-01-02", "marketCap": 1.0}], "fundamentals, no records"),
        ("tiingo", {"messageType": "A", "service": "fx", "data": ["Q", "eurusd"]},
         "messages of the service 'fx' hold no records of ours"),
        ("tiingo", {"messageType": "D", "service": "iex", "data": []},
         "deletions were left out: we have no such record"),
        ("alphavantage", "symbol,name,type,region,marketOpen\r\nIBM,x,Equity,US,09:30\r\n",
         "search results, no records"),
        ("alphavantage", {"symbol": "IBM", "annualReports": []},
         "fundamentals: no bars of a history"),
    ],
)  # fmt: skip
def test_other_answers_without_records(name: str, document: object, note: str) -> None:
    """Each says what it is."""
    assert parsed(name, document, symbol="ACME").notes == (note,)


def test_alphavantage_numbers_and_texts_may_be_mixed() -> None:
    """One row of numbers among rows of texts costs none of them."""
    row = {"1. open": "10", "2. high": "11", "3. low": "9", "4. close": "10.5", "5. volume": "7"}
    rows = {"2024-01-03": changed(row, float, str), "2024-01-02": row}
    answer = parsed("alphavantage", {"Time Series (Daily)": rows}, symbol="VOD.LON")
    assert columns(answer, "open", "volume", "currency") == [(10.0, 7.0, None)] * 2


def test_alphavantage_tells_what_coins_are_priced_in() -> None:
    """The market's code is the currency, and the columns of it are the prices."""
    document = {
        "Meta Data": {"2. Digital Currency Code": "BTC", "4. Market Code": "EUR",
                      "7. Time Zone": "UTC"},
        "Time Series (Digital Currency Daily)": {
            "2024-01-03": {"1a. open (EUR)": "7", "1b. open (USD)": "8", "2a. high (EUR)": "9",
                           "3a. low (EUR)": "6", "4a. close (EUR)": "8", "5. volume": "1"},
        },
    }  # fmt: skip
    answer = parsed("alphavantage", document)
    assert columns(answer, "symbol", "currency", "instrument_type", "open") == [
        ("BTCEUR", "EUR", "crypto", 7.0)
    ]


def test_stooq_hours_are_no_days() -> None:
    """Rows with times of the day are refused, not folded into one bar of the day."""
    text = "Date,Time,Open,High,Low,Close,Volume\r\n2024-01-02,15:00:00,10,11,9,10.5,7\r\n"
    with pytest.raises(MalformedError, match="times of the day"):
        parsed("stooq", text, symbol="acme.us")


@pytest.mark.parametrize("name", ["alpaca", "massive"])
def test_a_recording_of_several_answers_keeps_the_trades_of_all(name: str) -> None:
    """Two pages of trades in one cassette are all its trades."""
    page = {
        "alpaca": lambda stamp: {"trades": {"ACME": [{"t": stamp, "p": 10.5, "s": 3, "i": 7}]}},
        "massive": lambda stamp: {
            "results": [{"price": 10.5, "size": 3, "sip_timestamp": int(stamp), "id": "7"}],
            "status": "OK",
        },
    }[name]
    stamps = {"alpaca": ("2024-01-02T15:00:00Z", "2024-01-02T15:00:01Z"),
              "massive": ("1704207600000000000", "1704207601000000000")}[name]  # fmt: skip
    pages = [wrapped(f"https://x.example/v3/{n}", page(stamp)) for n, stamp in enumerate(stamps)]
    answer = parsed(name, {"interactions": pages}, symbol="ACME")
    assert [ns // 10**9 for ns in answer.ticks["trade"]["ts_ns"].to_pylist()] == [
        1704207600,
        1704207601,
    ]
