"""What single events of Alpaca's and Massive's sockets become."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from tickerlake.errors import ConfigError
from tickerlake.records import dead_reasons
from tickerlake.sources import Answer, Frame, Live, open_source
from tickerlake.sources.captures import capture_line
from tickerlake.sources.massive import MassiveSettings, MassiveSource
from us_frames import (
    ALPACA_BANDS,
    ALPACA_BAR,
    ALPACA_TRADE,
    AT,
    MASSIVE_BANDS,
    MASSIVE_MINUTE,
    MASSIVE_QUOTE,
    MASSIVE_TRADE,
    MS,
    frames,
)


def parsed(name: str, *events: dict[str, Any]) -> Answer:
    return open_source(name).parse(json.dumps(events).encode(), received_at=AT)


def trades(name: str, *events: dict[str, Any]) -> list[dict[str, Any]]:
    table = parsed(name, *events).ticks["trade"]
    assert dead_reasons(table, "trade").null_count == table.num_rows
    return table.to_pylist()


def test_a_cancel_takes_back_its_trade() -> None:
    """The same key again, with size 0: who takes the newest of a key has it right."""
    cancel = {"T": "x", "S": "ACME", "i": 7, "x": "V", "p": 10.5, "s": 3, "a": "C", "z": "C"}
    first, second = trades("alpaca", ALPACA_TRADE, {**cancel, "t": ALPACA_TRADE["t"]})
    key = ("symbol", "venue", "trade_id", "ts_ns")
    assert [first[name] for name in key] == [second[name] for name in key]
    assert first["size"] == 3
    assert (second["size"], second["conditions"]) == (0, "canceled")


@pytest.mark.parametrize(("new_id", "rows"), [(7, 1), (8, 2)])
def test_a_correction_tells_the_trade_again(new_id: int, rows: int) -> None:
    """As it is now; where it has another id, the old one is taken back."""
    told = {
        "T": "c", "S": "ACME", "x": "V", "oi": 7, "op": 10.5, "os": 3, "oc": ["@"],
        "ci": new_id, "cp": 10.75, "cs": 4, "cc": ["@", "I"], "z": "C", "t": ALPACA_TRADE["t"],
    }  # fmt: skip
    found = trades("alpaca", told)
    assert len(found) == rows
    now = found[-1]
    assert (now["trade_id"], now["price"], now["size"]) == (str(new_id), 10.75, 4)
    assert now["conditions"] == "@,I"
    if rows == 2:
        taken_back = found[0]
        assert (taken_back["trade_id"], taken_back["size"]) == ("7", 0)
        assert taken_back["conditions"] == "corrected"


def test_bars_are_provisional_and_a_running_day_is_forming() -> None:
    """An updated bar is a later version of its minute; a daily bar has New York's date."""
    day = {**ALPACA_BAR, "T": "d", "t": "2024-01-02T05:00:00Z"}
    bars = parsed("alpaca", ALPACA_BAR, {**ALPACA_BAR, "T": "u", "v": 101}, day).bars
    assert bars["interval"].to_pylist() == ["1m", "1m", "1d"]
    assert bars["state"].to_pylist() == ["provisional", "provisional", "forming"]
    assert bars["volume"].to_pylist() == [100, 101, 100]
    assert bars["session_date"].to_pylist() == [date(2024, 1, 2)] * 3
    assert bars["session"].to_pylist() == ["regular"] * 3
    assert dead_reasons(bars, "bar").null_count == 3


def test_statuses_are_told_and_cost_no_trade() -> None:
    """Halts and imbalances are no records of ours, nor is what nobody knows."""
    others = [{"T": kind, "S": "ACME"} for kind in "sii"]
    answer = parsed("alpaca", *others, {"T": "new"}, {**ALPACA_TRADE, "p": "ten"}, ALPACA_TRADE)
    assert answer.ticks["trade"].num_rows == 1
    assert len([note for note in answer.notes if not note.startswith("left out: ")]) == 4
    assert {note for note in answer.notes if note.startswith("left out: ")} == {
        "left out: 1 trading statuses", "left out: 2 imbalances",
    }  # fmt: skip
    answer = parsed("alpaca", {**ALPACA_TRADE, "t": "noon"}, ALPACA_TRADE)
    assert answer.ticks["trade"].num_rows == 1
    assert "time" in answer.notes[0]


def test_the_unit_of_a_time_is_told_by_its_size() -> None:
    """Milliseconds as documented, and micro- and nanoseconds as sent, are the same instant."""
    stamps = (MS, MS * 1_000 + 456, MS * 1_000_000 + 456_789)
    found = trades("massive", *({**MASSIVE_TRADE, "t": stamp} for stamp in stamps))
    assert [row["ts_ns"] for row in found] == [
        MS * 1_000_000,
        MS * 1_000_000 + 456_000,
        MS * 1_000_000 + 456_789,
    ]
    answer = parsed("massive", *({**MASSIVE_BANDS, "t": stamp} for stamp in stamps))
    assert answer.ticks["price_band"]["ts_ns"].to_pylist() == [row["ts_ns"] for row in found]


def test_what_is_left_out_is_counted_and_floods_nothing() -> None:
    """A thousand price bands without a time are one note, and how many they were."""
    events = [{**MASSIVE_BANDS, "t": -n} for n in range(1000)]
    answer = parsed("massive", *events, {**MASSIVE_TRADE, "t": -1}, MASSIVE_TRADE, MASSIVE_BANDS)
    assert {kind: table.num_rows for kind, table in answer.ticks.items()} == {
        "trade": 1, "price_band": 1,
    }  # fmt: skip
    assert answer.notes == (
        "events without a time that we can read were left out",
        "left out: 1,001 events without a time",
    )


@pytest.mark.parametrize(
    ("name", "bands", "codes"),
    [
        ("massive", MASSIVE_BANDS, "15,22"),
        ("massive", {**MASSIVE_BANDS, "i": 17}, "17"),
        ("massive", {**MASSIVE_BANDS, "i": None}, None),
        ("alpaca", ALPACA_BANDS, "B"),
        ("alpaca", {**ALPACA_BANDS, "i": ["B", "C"]}, "B,C"),
    ],
)
def test_price_bands_are_records(name: str, bands: dict[str, Any], codes: str | None) -> None:
    """Between which prices trades may lie, since when, and the vendor's codes as they came."""
    answer = parsed(name, bands)
    table = answer.ticks["price_band"]
    assert dead_reasons(table, "price_band").null_count == 1
    (row,) = table.to_pylist()
    assert (row["symbol"], row["currency"]) == ("ACME", "USD")
    assert (row["lower"], row["upper"], row["indicators"]) == (8.5, 12.5, codes)
    ms, ns = divmod(row["ts_ns"], 1_000_000)
    assert (ms, ns) == (MS, 456_789 if name == "alpaca" else 0)
    assert row["ts"] == datetime(2024, 1, 2, 15, 0, 0, 123_456 if ns else 123_000, tzinfo=UTC)
    assert answer.notes == ()


def test_bars_of_seconds_beside_their_minute() -> None:
    """A and AM of one symbol in one frame are bars of two lengths."""
    second = {**MASSIVE_MINUTE, "ev": "A"}
    start = MASSIVE_MINUTE["s"]
    close = int(datetime(2024, 1, 2, 21, tzinfo=UTC).timestamp() * 1000)
    answer = parsed("massive", second, MASSIVE_MINUTE, *({**second, "s": s} for s in (
        start + 1000, start + 59_000, close - 1000, close,
    )))  # fmt: skip
    bars = answer.bars
    assert bars["interval"].to_pylist() == ["1s"] * 5 + ["1m"]
    assert bars["session"].to_pylist() == ["regular"] * 4 + ["extended", "regular"]
    assert bars["ts"][0] == bars["ts"][-1]
    assert dead_reasons(bars, "bar").null_count == 6
    assert answer.notes == ()


@pytest.mark.parametrize(
    ("intervals", "topics"),
    [
        (("1m",), "T.ACME,AM.ACME"),
        (("1s",), "T.ACME,A.ACME"),
        (("1m", "1s"), "T.ACME,AM.ACME,A.ACME"),
    ],
)
def test_what_bars_come_live_is_a_setting(intervals: Any, topics: str) -> None:
    """Massive is asked for the lengths that were chosen, and for nothing else."""
    settings = MassiveSettings(api_key="key", live_intervals=intervals)
    talk = MassiveSource(settings).dialect(["ACME"], ["trade", "bar"])
    replies = talk.read(frames([{"ev": "status", "status": "auth_success"}])).replies
    assert [json.loads(reply)["params"] for reply in replies] == [topics]


@pytest.mark.parametrize("intervals", [(), ("5m",), ("1m", "2s")])
def test_a_length_of_bars_that_does_not_come_live(intervals: Any) -> None:
    """Nothing would come, without end: that is said before."""
    source = MassiveSource(MassiveSettings(api_key="key", live_intervals=intervals))
    with pytest.raises(ConfigError, match="live_intervals"):
        source.dialect(["ACME"], ["bar"])


def test_decimal_texts_are_exact_where_numbers_are_rounded() -> None:
    """Fractional shares stand in dv and ds; one that is no number leaves the rounded one."""
    bars = parsed(
        "massive",
        {**MASSIVE_MINUTE, "dv": "4110.512"},
        {**MASSIVE_MINUTE, "sym": "ZED"},
        {**MASSIVE_MINUTE, "sym": "ODD", "dv": "many"},
    ).bars
    assert bars["volume"].to_pylist() == [4110.512, 4111, 4111]
    assert bars["ts"][0].as_py() == datetime(2024, 1, 2, 15, tzinfo=UTC)
    assert bars["state"].to_pylist() == ["provisional"] * 3
    assert trades("massive", {**MASSIVE_TRADE, "ds": "2.5"})[0]["size"] == 2.5


def test_a_quote_without_one_side_has_none() -> None:
    """What is missing is null, not zero."""
    one_sided = {name: value for name, value in MASSIVE_QUOTE.items() if not name.startswith("a")}
    quote = parsed("massive", one_sided).ticks["quote"].to_pylist()[0]
    assert (quote["bid"], quote["ask"], quote["ask_size"]) == (10.25, None, None)


def test_the_feed_of_a_capture_is_in_its_address() -> None:
    """Frames of iex are records of alpaca_iex, whatever the settings say."""
    talk = open_source("alpaca", settings={"api_key": "K", "api_secret": "S"})
    for url, provider in (("wss://h/v2/iex", "alpaca_iex"), ("wss://h/v2/sip", "alpaca")):
        frame = Frame(AT, "in", url, json.dumps([ALPACA_TRADE]))
        table = talk.parse(capture_line(frame)).ticks["trade"]
        assert table["provider"].to_pylist() == [provider]


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        ("2024-01-03T15:00:00Z", 120),  # Wednesday, open since half an hour
        ("2024-01-03T14:31:00Z", 3600),  # just opened: nobody had to speak before
        ("2024-01-03T22:00:00Z", 3600),  # after the close
        ("2024-01-06T15:00:00Z", 3600),  # Saturday
        ("2023-11-24T18:30:00Z", 3600),  # closed at 13:00
    ],
)
def test_a_closed_exchange_may_be_silent(
    now: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nobody trades, silence is no dead line, and makes no gaps."""
    monkeypatch.setenv("TICKERLAKE_NOW", now)
    massive = open_source("massive", settings={"api_key": "K"})
    assert isinstance(massive, Live)
    assert massive.dialect(["ACME"], ["trade"]).silence_seconds == seconds
