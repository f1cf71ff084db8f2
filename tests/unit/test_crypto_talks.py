"""The sockets of the crypto exchanges: numbers that prove holes, sides, states, and their words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tickerlake.errors import RangeError, RateLimitedError, UnreachableError
from tickerlake.records import Kind
from tickerlake.sources import Dialect, Frame, Heard, Live, open_source

AT = datetime(2024, 1, 2, 15, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def talk_of(name: str, *symbols: str, kinds: Sequence[Kind] = ("trade",)) -> Dialect:
    source = open_source(name)
    assert isinstance(source, Live)
    return source.dialect(symbols, kinds)


def read(talk: Dialect, *documents: object) -> Heard:
    """What documents say, each a second after the one before; texts are taken as they are."""
    texts = [d if isinstance(d, str) else json.dumps(d) for d in documents]
    return talk.read([Frame(AT + n * SECOND, "in", "", text) for n, text in enumerate(texts)])


def agg(number: int, symbol: str = "ACMEUSDT", **more: Any) -> dict[str, Any]:
    told = {"e": "aggTrade", "s": symbol, "a": number, "p": "1.5", "q": "2", "m": True}
    return told | {"T": 1704207600000 + number * 1000} | more


def kline(*, closed: bool, interval: str = "1m", minute: int = 0) -> dict[str, Any]:
    bar = {
        "t": 1704207600000 + 60_000 * minute,
        "s": "ACMEUSDT",
        "i": interval,
        "o": "1",
        "c": "2",
        "h": "3",
    }
    return {"e": "kline", "s": "ACMEUSDT", "k": bar | {"l": "0.5", "v": "0", "x": closed}}


def test_binance_tells_which_trades_did_not_come() -> None:
    """Aggregate trades are numbered by symbol; late and repeated ones are no hole."""
    heard = read(
        talk_of("binance", "ACMEUSDT", "OTHER"),
        agg(10), agg(70, "OTHER"), agg(11), agg(11), agg(14), agg(13), agg(71, "OTHER"), agg(15),
    )  # fmt: skip
    [hole] = heard.suspicions
    assert (hole.symbol, hole.kind, hole.why) == (
        "ACMEUSDT",
        "trade",
        "numbers 12 to 13 did not come",
    )
    assert (hole.after, hole.before) == (AT + 11 * SECOND, AT + 14 * SECOND)
    assert heard.tables["trade"].num_rows == 8


def test_binance_goes_on_counting_over_batches() -> None:
    """What came last in one batch is known in the next one."""
    talk = talk_of("binance", "ACMEUSDT")
    assert read(talk, agg(10)).suspicions == ()
    [hole] = read(talk, agg(12)).suspicions
    assert hole.after == AT + 10 * SECOND


def test_binance_says_who_took() -> None:
    """`m` true means that the buyer was the maker: the taker sold."""
    trades = read(talk_of("binance", "ACMEUSDT"), agg(1), agg(2, m=False)).tables["trade"]
    assert trades["conditions"].to_pylist() == ["sell", "buy"]


def test_binance_times_may_be_microseconds() -> None:
    """The unit is told by the size."""
    trades = read(talk_of("binance", "ACMEUSDT"), agg(1, T=1704207600000001)).tables["trade"]
    assert trades["ts_ns"].to_pylist() == [1704207600000001000]


def test_binance_bars_are_forming_until_closed() -> None:
    """`x` says that a bar is over; without trades it is flat, with volume 0."""
    heard = read(talk_of("binance", "ACMEUSDT"), kline(closed=False), kline(closed=True))
    bars = heard.tables["bar"]
    assert bars["state"].to_pylist() == ["forming", "provisional"]
    assert bars["volume"].to_pylist() == [0.0, 0.0]
    assert bars["ts"].to_pylist() == [AT, AT]
    assert set(bars["session_date"].to_pylist()) == {AT.date()}


def test_binance_tells_a_month_from_a_minute() -> None:
    """`1M` is a month; an interval without a name of ours is left out, told and counted."""
    frames = [kline(closed=False, interval=interval) for interval in ("1M", "3m", "1s", "1s")]
    heard = read(talk_of("binance", "ACMEUSDT"), *frames)
    assert heard.tables["bar"]["interval"].to_pylist() == ["1mo"]
    assert any("bars of 3m" in note for note in heard.notes)
    assert heard.left_out == {"bars of 3m": 1, "bars of 1s": 2}


def test_binance_minutes_that_do_not_come_are_a_hole() -> None:
    """Each minute has a bar: a jump in time is told, bars that come again or late are not."""
    talk = talk_of("binance", "ACMEUSDT")
    assert read(talk, *(kline(closed=True, minute=n) for n in (0, 0, 1, 1, 0))).suspicions == ()
    [hole] = read(talk, kline(closed=False, minute=4), kline(closed=True, minute=4)).suspicions
    assert (hole.symbol, hole.kind) == ("ACMEUSDT", "bar")
    assert hole.why == "2 minutes between two bars did not come"
    assert (hole.after, hole.before) == (AT + 60 * SECOND, AT + 240 * SECOND)


def test_binance_quotes_have_the_time_of_their_frame() -> None:
    """BookTicker has neither type nor time, raw or wrapped."""
    quote = {"u": 1, "s": "ACMEUSDT", "b": "1", "B": "2", "a": "3", "A": "4"}
    wrapped = {"stream": "acmeusdt@bookTicker", "data": quote}
    quotes = read(talk_of("binance", "ACMEUSDT"), quote, wrapped).tables["quote"]
    assert quotes["ts"].to_pylist() == [AT, AT + SECOND]
    assert quotes.select(["bid", "bid_size", "ask", "ask_size"]).to_pylist()[1] == {
        "bid": 1.0, "bid_size": 2.0, "ask": 3.0, "ask_size": 4.0,
    }  # fmt: skip


def test_binance_asks_in_few_messages_and_for_not_too_much() -> None:
    """Five messages a second and 1024 streams are allowed."""
    symbols = [f"A{n}USDT" for n in range(300)]
    said = [
        json.loads(text) for text in talk_of("binance", *symbols, kinds=["trade", "bar"]).hello()
    ]
    assert len(said) == 3
    assert said[0]["params"][:2] == ["a0usdt@aggTrade", "a0usdt@kline_1m"]
    assert sum(len(message["params"]) for message in said) == 600
    with pytest.raises(RangeError, match="1,024"):
        talk_of("binance", *symbols * 4)


def test_binance_says_that_it_will_close() -> None:
    """ServerShutdown ends the connection, and another follows."""
    frame = {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1704207600000}}
    assert isinstance(read(talk_of("binance", "ACMEUSDT"), frame).error, UnreachableError)


def match(number: int, kind: str = "match", side: str = "sell") -> dict[str, Any]:
    return {
        "type": kind, "trade_id": number, "side": side, "size": "0.25", "price": "10.5",
        "product_id": "ACME-USD", "time": f"2024-01-02T15:00:{number:02}.5Z",
        "sequence": number * 100,
    }  # fmt: skip


def test_coinbase_follows_on_the_trade_of_before() -> None:
    """last_match is the newest old trade: what came between it and the first new one is missing."""
    heard = read(talk_of("coinbase", "ACME-USD"), match(4, "last_match"), match(6), match(5))
    [hole] = heard.suspicions
    assert hole.why == "numbers 5 to 5 did not come"
    assert heard.tables["trade"]["trade_id"].to_pylist() == ["4", "6", "5"]


def test_coinbase_says_the_makers_side() -> None:
    """A maker that sold was bought from; `sequence` jumps with matches alone: no proof."""
    heard = read(talk_of("coinbase", "ACME-USD"), match(1, side="sell"), match(2, side="buy"))
    assert heard.tables["trade"]["conditions"].to_pylist() == ["buy", "sell"]
    assert heard.suspicions == ()


@pytest.mark.parametrize(
    ("message", "reason", "error"),
    [
        ("Failed to subscribe", "NO-SUCH is not a valid product", RangeError),
        ("ErrSlowConsume", None, UnreachableError),
        ("rate limit exceeded", None, RateLimitedError),
    ],
)
def test_coinbase_errors_are_final_or_pass(
    message: str, reason: str | None, error: type[Exception]
) -> None:
    """Wrong symbols are wrong use; a slow reader or a limit is followed by a new connection."""
    frame = {"type": "error", "message": message, "reason": reason}
    assert type(read(talk_of("coinbase", "ACME-USD"), frame).error) is error


def test_coinbase_asks_for_heartbeats_too() -> None:
    """They tell a silent market from a dead line."""
    [said] = talk_of("coinbase", "ACME-USD", kinds=["trade", "quote"]).hello()
    assert json.loads(said) == {
        "type": "subscribe", "product_ids": ["ACME-USD"],
        "channels": ["matches", "ticker", "heartbeat"],
    }  # fmt: skip


def kraken_trades(*numbers: int, symbol: str = "BTC/USD", kind: str = "update") -> dict[str, Any]:
    rows = [
        {"symbol": symbol, "side": "sell", "price": 64000.1, "qty": 0.00000001,
         "ord_type": "market", "trade_id": n, "timestamp": f"2024-01-02T15:00:{n:02}.123456Z"}
        for n in numbers
    ]  # fmt: skip
    return {"channel": "trade", "type": kind, "data": rows}


def test_kraken_counts_trades_of_one_pair() -> None:
    """Ids rise by one a pair, and a snapshot is no hole however it is sorted."""
    heard = read(
        talk_of("kraken", "BTC/USD"), kraken_trades(7, 6, 5, kind="snapshot"),
        kraken_trades(8, 9), kraken_trades(3, symbol="ETH/USD"), kraken_trades(12),
    )  # fmt: skip
    assert [hole.why for hole in heard.suspicions] == ["numbers 10 to 11 did not come"]
    trade = heard.tables["trade"].to_pylist()[0]
    assert (trade["price"], trade["size"], trade["conditions"]) == (64000.1, 1e-8, "sell")
    assert trade["ts_ns"] == int(AT.timestamp()) * 10**9 + 7_123_456_000


def test_kraken_keeps_the_name_that_was_asked_for() -> None:
    """XBT/USD is asked for as BTC/USD, and its records are called XBT/USD."""
    talk = talk_of("kraken", "XBT/USD")
    assert json.loads(str(talk.hello()[0]))["params"]["symbol"] == ["BTC/USD"]
    assert read(talk, kraken_trades(1)).tables["trade"]["symbol"].to_pylist() == ["XBT/USD"]


def test_kraken_refuses_names_without_a_slash() -> None:
    """The socket knows none of REST's names: its refusal is final, and says what to write."""
    frame = {"method": "subscribe", "success": False, "error": "Currency pair not supported XBTUSD"}
    error = read(talk_of("kraken", "XBTUSD"), frame).error
    assert isinstance(error, RangeError)
    assert "with a slash" in str(error)
    already = {**frame, "error": "Already subscribed"}
    assert read(talk_of("kraken", "BTC/USD"), already).error is None


def test_kraken_trades_of_the_first_version_are_told_apart() -> None:
    """Without ids: `trade_id` counts the trades of one pair and time, over frames, too."""
    row = ["1.5", "2", "1704207600.000001", "b", "m", ""]
    later = [*row[:2], "1704207600.000002", *row[3:]]
    heard = read(
        talk_of("kraken"),
        [9, [row, row], "trade", "XBT/USD"],
        [9, [row, later], "trade", "XBT/USD"],
    )
    trades = heard.tables["trade"]
    assert trades["trade_id"].to_pylist() == ["0", "1", "2", "0"]
    assert trades["ts_ns"].to_pylist()[0] == 1704207600000001000
    assert set(trades["currency"].to_pylist()) == {"USD"}


def test_kraken_bars_of_both_versions_are_read() -> None:
    """The first version tells a bar's END; neither says that it is over: the clock does."""
    first = [
        9,
        ["1704207599.5", "1704207600.0", "1", "3", "0.5", "2", "2", "9", 4],
        "ohlc-5",
        "A/B",
    ]
    row = {"symbol": "A/B", "open": 1, "high": 3, "low": 1, "close": 2, "volume": 4, "interval": 1,
           "interval_begin": "2024-01-02T15:00:00.000000000Z"}  # fmt: skip
    bars = read(
        talk_of("kraken"), first, {"channel": "ohlc", "type": "update", "data": [row]}
    ).tables["bar"].sort_by("ts")  # fmt: skip
    assert bars["interval"].to_pylist() == ["5m", "1m"]
    assert bars["ts"].to_pylist() == [AT - timedelta(minutes=5), AT]
    assert bars["state"].to_pylist() == ["provisional", "forming"]


def channel(number: int, name: str = "trades", **more: Any) -> dict[str, Any]:
    told = {"event": "subscribed", "channel": name, "chanId": number, "symbol": "tACMEUSD"}
    return told | more


def test_bitfinex_gives_a_trade_once() -> None:
    """`te` tells a trade at once, `tu` settled: the id is the same, and one record comes."""
    row = [5, 1704207600000, -0.25, 10.5]
    heard = read(
        talk_of("bitfinex", "tACMEUSD"), channel(17), [17, "te", row, 1], [17, "tu", row, 2],
        [17, "tu", [6, *row[1:]], 3],
    )  # fmt: skip
    trades = heard.tables["trade"]
    assert trades["trade_id"].to_pylist() == ["5", "6"]
    assert (trades["size"][0].as_py(), trades["conditions"][0].as_py()) == (0.25, "sell")
    assert heard.suspicions == ()


def test_bitfinex_trades_are_the_same_alone_and_in_company() -> None:
    """Whether frames are read together or one by one, odd ones among them, is not to be seen."""
    stamp = 1704207600000
    told: list[Any] = [channel(17), channel(18, "ticker"), channel(19, "status")]
    told += [[17, "te", [n, stamp + n, 0.5 - n % 2, 10 + n], n + 1] for n in range(20)]
    odd = [
        [17, "te", [30, stamp, 1, 10, "new"], 21, stamp], [17, "tu", [31, stamp, 1, 10]],
        [17, "te", [32, stamp, None, 10], 22], [17, "te", [33, stamp, True, 10], 23],
        [17, "te", [34.0, stamp, 1, 10], 24], [17, "te", [35, 12, 1, 10], 25],
        [17, "te", [10**30, stamp, 1, 10], 26], [17, "te", [36, stamp, 10**20, 10], 27],
        [17, "te", [37, stamp, 1], 28], [17, "te", [5, stamp, 1, 10], 29], [17, "te", [], 30],
        [18, "te", [38, stamp, 1, 10], 33], [19, "te", [39, stamp, 1, 10], 34],
        [20, "te", [40, stamp, 1, 10], 35], [17, "te", [41, stamp, 1, 10], "text", {}],
        [17, "hb", 36], [17, "te", [42, stamp, 1, 10], 40], [17, "te"], '[17,"te",[', "5",
        '[17,"te",[43,1704207600000,1,10],41]\n', '[17,"tu",[44,1704207600000,1,10],42][]',
    ]  # fmt: skip
    told[10:10] = odd[:1]
    for documents in (told, [*told, *odd], *([*told, one] for one in odd)):
        texts = [d if isinstance(d, str) else json.dumps(d, separators=(",", ":"))
                 for d in documents]  # fmt: skip
        together = read(talk_of("bitfinex", "tACMEUSD"), *texts)
        talk = talk_of("bitfinex", "tACMEUSD")
        alone = [
            talk.read([Frame(AT + n * SECOND, "in", "", text.encode())])
            for n, text in enumerate(texts)
        ]
        for kind, table in together.tables.items():
            parts = [heard.tables[kind] for heard in alone if kind in heard.tables]
            assert table.to_pylist() == [row for part in parts for row in part.to_pylist()]
        assert together.suspicions == tuple(hole for heard in alone for hole in heard.suspicions)
        notes = [note.replace(": b'", ": '") for heard in alone for note in heard.notes]
        assert list(together.notes) == list(dict.fromkeys(notes))


def test_bitfinex_counts_the_frames_of_the_connection() -> None:
    """Heartbeats count, too; a frame that is left out may have been of any channel."""
    ticker = [10, 1, 11, 2, 0, 0, 10, 9, 12, 9]
    heard = read(
        talk_of("bitfinex", "tACMEUSD"), channel(17), channel(18, "ticker"),
        [17, "hb", 1], [18, ticker, 2], [17, "hb", 5],
    )  # fmt: skip
    assert [(hole.symbol, hole.kind) for hole in heard.suspicions] == [
        ("tACMEUSD", "trade"), ("tACMEUSD", "quote"),
    ]  # fmt: skip
    assert heard.suspicions[0].why == "frames 3 to 4 of the connection did not come"
    # The frame of the second 3 told what had happened before it.
    assert (heard.suspicions[0].after, heard.suspicions[0].before) == (
        AT - 2 * SECOND,
        AT + 4 * SECOND,
    )


def test_bitfinex_takes_no_time_for_a_sequence() -> None:
    """With the flag TIMESTAMP a time in ms stands behind the sequence, or alone."""
    stamp = 1704207600000
    heard = read(
        talk_of("bitfinex", "tACMEUSD"), channel(17), [17, "hb", 1, stamp],
        [17, "hb", 2, stamp + 5], [17, "hb", stamp + 9],
    )  # fmt: skip
    assert heard.suspicions == ()


def test_bitfinex_snapshots_stand_newest_first() -> None:
    """They are given in order of time; arrays may be longer than we know."""
    rows = [[2, 1704207601000, 1, 10, "new"], [1, 1704207600000, 1, 10, "new"]]
    heard = read(talk_of("bitfinex", "tACMEUSD"), channel(17), [17, rows, 1], [17, [], 2])
    assert heard.tables["trade"]["trade_id"].to_pylist() == ["1", "2"]


def test_bitfinex_candles_are_read_where_a_recording_has_them() -> None:
    """Rows are time, open, close, high, low, volume, and may mend the bar before."""
    key = {"key": "trade:1m:tACME:USTF0", "symbol": None}
    rows = [[1704207600000, 1, 2, 3, 0.5, 9], [1704207540000, 1, 2, 3, 0.5, 9]]
    heard = read(talk_of("bitfinex"), channel(20, "candles", **key), [20, rows, 1])
    bars = heard.tables["bar"]
    assert bars["close"].to_pylist() == [2.0, 2.0]
    assert bars["state"].to_pylist() == ["forming", "provisional"]
    assert set(bars["symbol"].to_pylist()) == {"tACME:USTF0"}


@pytest.mark.parametrize("code", [20051, 20060, 20061])
def test_bitfinex_says_when_to_come_again(code: int) -> None:
    """A restart, maintenance, and its end are followed by a new connection."""
    frame = {"event": "info", "code": code, "msg": "…"}
    assert isinstance(read(talk_of("bitfinex", "tACMEUSD"), frame).error, UnreachableError)


def test_bitfinex_asks_for_sequences_first_and_for_not_too_much() -> None:
    """Flags count for what is subscribed after them; a connection has 25 channels."""
    said = [json.loads(text) for text in talk_of("bitfinex", "tACMEUSD").hello()]
    assert said == [
        {"event": "conf", "flags": 65536},
        {"event": "subscribe", "channel": "trades", "symbol": "tACMEUSD"},
    ]
    with pytest.raises(RangeError, match="25"):
        talk_of("bitfinex", *[f"t{n}USD" for n in range(26)])
