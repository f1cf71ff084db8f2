"""Records of foreign producers, by a mapping of a few lines."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import tickerlake
from tickerlake.config import load
from tickerlake.errors import ConfigError
from tickerlake.records import Kind
from tickerlake.streams import Message, StreamsSettings, open_stream
from tickerlake.streams.codec import decode, encode
from tickerlake.streams.form import form_of
from tickerlake.streams.settings import TopicSettings
from tickerlake.testing.sample_records import sample_bars

NOW = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)

#: What a well-known tutorial sends to Kafka, record by record.
TUTORIAL = {
    "index": 12345,
    "Index": "N225",
    "Date": "2013-03-01",
    "Open": 11600.5,
    "High": 11700.0,
    "Low": 11500.25,
    "Close": 11606.38,
    "Adj Close": 11606.38,
    "Volume": 0.0,
    "CloseUSD": 116.0638,
}
MAPPING = """
[streams.bars.mapping]
symbol = "Index"
ts = { from = "Date", format = "%Y-%m-%d", zone = "UTC" }
session_date = "Date"
open = "Open"
high = "High"
low = "Low"
close = "Close"
adj_close = "Adj Close"
volume = "Volume"
provider = { value = "tutorial" }
interval = { value = "1d" }
currency = { value = "JPY" }
instrument_type = { value = "index" }
"""


def mapped(kind: Kind = "bar", **said: Any) -> Any:
    topic = TopicSettings(mapping=said)
    name = {"bar": "bars", "trade": "trades"}[kind]
    return form_of(StreamsSettings(**{name: topic}), kind, keys=True)


BASE: dict[str, Any] = {
    "symbol": "s",
    "provider": {"value": "x"},
    "interval": {"value": "1m"},
    "close": "c",
}


def read(form: Any, *records: dict[str, Any] | bytes, **more: Any) -> list[dict[str, Any]]:
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in records]
    payload = b"\n".join(lines)
    message = Message("0", 0, len(lines), "json", payload, True, NOW, form=form, **more)
    rows: list[dict[str, Any]] = decode(form.layout.kind, [message]).to_pylist()
    return rows


def test_the_lines_of_a_tutorial_become_bars(tmp_path: Path) -> None:
    """From the configuration's text to rows of the lake, and of the tail before that."""
    (tmp_path / "tickerlake.toml").write_text(MAPPING)
    with tickerlake.open(tmp_path) as workspace:
        lines = [TUTORIAL | {"Date": f"2013-03-0{day}"} for day in (1, 4, 5)]
        bad = TUTORIAL | {"Date": "05/03/2013"}
        payloads = [json.dumps(line).encode() for line in (*lines, bad)]
        workspace.stream.append_raw("bar", "0", payloads)
        question = "select symbol, ts, session_date, close, currency from bars order by ts"
        fresh = workspace.sql(question).table.to_pylist()
        report = workspace.deliver(once=True)
        assert (report.total.rows, report.total.dead_letters) == (4, 1)
        assert workspace.sql(question).table.to_pylist() == fresh
        letter = workspace.sql("select reason, payload from dead_letters").table.to_pylist()[0]
    assert [row["session_date"].day for row in fresh] == [1, 4, 5]
    assert fresh[0] == {
        "symbol": "N225",
        "ts": datetime(2013, 3, 1, tzinfo=UTC),
        "session_date": date(2013, 3, 1),
        "close": 11606.38,
        "currency": "JPY",
    }
    assert letter["reason"].startswith("Date is not a time written as %Y-%m-%d in UTC: 05/03")
    assert json.loads(letter["payload"]) == bad


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ({"from": "t", "unit": "s"}, 1362148200, datetime(2013, 3, 1, 14, 30, tzinfo=UTC)),
        ({"from": "t", "unit": "s"}, 1362148200.25, datetime(2013, 3, 1, 14, 30, 0, 250000, UTC)),
        ({"from": "t", "unit": "ms"}, "1362148200001", datetime(2013, 3, 1, 14, 30, 0, 1000, UTC)),
        ({"from": "t", "unit": "us"}, 1362148200000001, datetime(2013, 3, 1, 14, 30, 0, 1, UTC)),
        ({"from": "t", "unit": "ns"}, 1362148200000001999, datetime(2013, 3, 1, 14, 30, 0, 1, UTC)),
        (
            {"from": "t", "format": "%d.%m.%Y %H:%M", "zone": "America/New_York"},
            "01.03.2013 09:30",
            datetime(2013, 3, 1, 14, 30, tzinfo=UTC),
        ),
        (
            {"from": "t", "zone": "Asia/Tokyo"},
            "2013-03-01 23:30:00",
            datetime(2013, 3, 1, 14, 30, tzinfo=UTC),
        ),
        ("t", "2013-03-01T15:30:00+01:00", datetime(2013, 3, 1, 14, 30, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_the_mapping_states(rule: Any, value: object, expected: datetime) -> None:
    """Epochs in their unit, local times in their zone; on the fast way and on the careful one."""
    record = {"s": "A", "c": 1.5, "t": value}
    form = mapped(**BASE, ts=rule)
    (fast,) = read(form, record)
    careful, _ = read(form, record, b'{"s":"\\u0041"}')
    assert fast["ts"] == careful["ts"] == expected
    assert fast["dead_reason"] is None
    assert fast["event_id"] == careful["event_id"]


@pytest.mark.parametrize(
    ("rule", "value", "reason"),
    [
        ({"from": "t", "unit": "ms"}, "soon", "t is not a time in ms since 1970: soon"),
        ({"from": "t", "unit": "s"}, 10**18, "t is not a time in s since 1970"),
        ({"from": "t", "format": "%Y-%m-%d", "zone": "UTC"}, "2013-02-30", "t is not a time writ"),
        # Clocks of New York skipped this hour, and showed the next one twice.
        ({"from": "t", "zone": "America/New_York"}, "2013-03-10 02:30:00", "t is not a time with"),
        ({"from": "t", "zone": "America/New_York"}, "2013-11-03 01:30:00", "t is not a time with"),
        ({"from": "t", "zone": "UTC"}, "2013-03-01T00:00:00+01:00", "t is not a time without"),
        ("t", "2013-03-01 00:00:00", "t is not a time with its zone"),
        ("t", None, "ts is missing"),
    ],
)
def test_a_time_that_is_not_as_stated_is_a_dead_letter(rule: Any, value: Any, reason: str) -> None:
    """Nobody guesses; the records beside it are sound."""
    sound = {"s": "A", "c": 1.5} | {"t": "2013-03-01T00:00:00Z"}
    rows = read(mapped(**BASE, ts=rule), {"s": "A", "c": 1.5, "t": value}, sound)
    assert rows[0]["dead_reason"].startswith(reason)
    assert rows[0]["close"] == 1.5
    if rule == "t":
        assert rows[1]["dead_reason"] is None


def test_pence_become_pounds_only_where_the_mapping_says_so() -> None:
    """A scale is stated beside the currency that results."""
    times = {"from": "t", "unit": "s"}
    pounds = {"close": {"from": "c", "scale": 0.01}, "currency": {"value": "GBP"}}
    record = {"s": "VOD.L", "c": 250, "t": 1362148200}
    (row,) = read(mapped(**BASE | pounds, ts=times), record)
    assert (row["close"], row["currency"]) == (2.5, "GBP")


def test_what_stands_beside_a_record_can_be_its_symbol_and_its_time() -> None:
    """The broker's key and clock, also of dead records and of messages that say no more."""
    form = mapped(**BASE | {"symbol": {"from_key": True}}, ts={"from_time": True})
    assert form.wants("key")
    assert form.wants("time")
    times = np.array([1_362_148_200_000_000, 1_362_148_260_000_000])
    rows = read(form, {"c": 1.0}, {"c": "high"}, keys=[b"A", b"B"], times=times)
    assert [row["symbol"] for row in rows] == ["A", "B"]
    assert [row["ts"].minute for row in rows] == [30, 31]
    assert [row["fetched_at"].minute for row in rows] == [30, 31]
    assert rows[1]["dead_reason"] == "c is not a number: high"
    (late,) = read(form, {"c": 1.0}, keys=[None])
    assert (late["dead_reason"], late["fetched_at"]) == ("symbol is missing", NOW)
    (odd,) = read(form, {"c": 1.0}, keys=[b"\xff"])
    assert odd["dead_reason"].startswith("symbol is not a text")


def test_our_own_records_pass_between_those_of_others() -> None:
    """A requeued letter, or a copy of ours, goes by its own names, in any order."""
    ours = encode(sample_bars(2), "bar", "json").split(b"\n")
    theirs = {"s": "A", "c": 1.5, "t": 1362148200}
    form = mapped(**BASE, ts={"from": "t", "unit": "s"})
    rows = read(form, theirs, ours[0], b"rubbish", theirs, ours[1])
    assert [row["provider"] for row in rows] == ["x", "sample", "x", "x", "sample"]
    reasons = [row["dead_reason"] for row in rows]
    assert reasons[:2] + reasons[3:] == [None] * 4
    assert rows[2]["payload"] == b"rubbish"


def test_a_foreign_arrow_message_goes_by_the_mapping_too() -> None:
    """Typed columns, naive times and pandas' nanoseconds; our own between them."""
    table = pa.table(
        {
            "s": pa.array(["A", "B"]).dictionary_encode(),
            "c": pa.array([1, 2], pa.int32()),
            "t": pa.array([datetime(2013, 3, 1, 9, 30)] * 2, pa.timestamp("ns")),  # noqa: DTZ001
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    form = mapped(**BASE, ts={"from": "t", "zone": "America/New_York"})
    own = encode(sample_bars(2), "bar", "arrow")
    payloads = [sink.getvalue().to_pybytes(), own]
    messages = [
        Message("0", 2 * place, 2, "arrow", payload, True, NOW, form=form)
        for place, payload in enumerate(payloads)
    ]
    rows = decode("bar", messages).to_pylist()
    assert [row["dead_reason"] for row in rows] == [None] * 4
    assert rows[0]["ts"] == datetime(2013, 3, 1, 14, 30, tzinfo=UTC)
    assert [row["symbol"] for row in rows[:2]] == ["A", "B"]
    assert rows[2]["provider"] == "sample"


def test_trades_need_no_second_time() -> None:
    """Nanoseconds come from where the time comes from."""
    said = {"symbol": "s", "provider": {"value": "x"}, "price": "p", "trade_id": "i"}
    form = mapped("trade", **said, ts={"from": "t", "unit": "ms"})
    (row,) = read(form, {"s": "A", "p": 1.5, "i": 7, "t": 1362148200001})
    assert row["dead_reason"] is None
    assert (row["ts_ns"], row["trade_id"]) == (1362148200001000000, "7")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"colour": "c"}, "colour"),
        ({"event_id": "c"}, "event_id"),
        ({"symbol": None}, "symbol"),
        ({"ts": {"from": "t", "format": "%Y-%m-%d"}}, "zone"),
        ({"ts": {"from": "t", "format": "%H:%M", "zone": "UTC"}}, "format"),
        ({"ts": {"from": "t", "format": "%Y-%m-%d %z", "zone": "UTC"}}, "format"),
        ({"ts": {"from": "t", "zone": "New York"}}, "zone"),
        ({"ts": {"from": "t", "unit": "minutes"}}, "unit"),
        ({"ts": {"from": "t", "unit": "s", "zone": "UTC"}}, "zone"),
        ({"ts": {"from": "t", "unit": "s", "format": "%Y"}}, "unit"),
        ({"session_date": {"from": "t", "unit": "s"}}, "date"),
        ({"close": {"from": "c", "zone": "UTC"}}, "zone"),
        ({"close": {"from": "c", "scale": "100"}}, "scale"),
        ({"symbol": {"from": "s", "scale": 2}}, "scale"),
        ({"close": {}}, "one way"),
        ({"close": {"from": "c", "value": 1.0}}, "one way"),
        ({"close": {"form": "c"}}, "one way"),
        ({"close": {"value": "high"}}, "wrong type"),
        ({"ts": {"value": "2013-03-01"}}, "wrong type"),
        ({"interval": {"value": "7m"}}, "constant"),
        ({"state": {"value": "done"}}, "constant"),
        ({"volume": {"value": -1}}, "constant"),
    ],
)
def test_a_wrong_mapping_is_found_before_any_record(change: dict[str, Any], problem: str) -> None:
    """One error at the start that names the key, instead of a million dead letters."""
    said = {key: value for key, value in (BASE | {"ts": "t"} | change).items() if value is not None}
    with pytest.raises(ConfigError, match=problem) as caught:
        mapped(**said)
    assert "[streams.bars.mapping]" in str(caught.value)


def test_a_wrong_mapping_stops_the_stream_at_its_topic(tmp_path: Path) -> None:
    """Whoever opens the topic hears of it, before anything is created or read."""
    settings = StreamsSettings(bars=TopicSettings(mapping={"symbol": "s"}))
    stream = open_stream("embedded:", workspace=tmp_path, settings=settings)
    with pytest.raises(ConfigError, match="does not say where"):
        stream.topic("bar")
    assert stream.topic("trade").kind == "trade"
    stream.close()
    keyed = TopicSettings(mapping=BASE | {"ts": "t", "symbol": {"from_key": True}})
    stream = open_stream("embedded:", workspace=tmp_path, settings=StreamsSettings(bars=keyed))
    with pytest.raises(ConfigError, match="no keys"):
        stream.topic("bar")


def test_a_mapping_can_be_written_in_one_variable(tmp_path: Path) -> None:
    """Names alone, as every other table of text."""
    variables = {"TICKERLAKE_STREAMS_BARS_MAPPING": "symbol=Index, open=Open"}
    config = load(environment=variables)
    assert config.settings.streams.bars.mapping == {"symbol": "Index", "open": "Open"}
    (tmp_path / "tickerlake.toml").write_text("[streams.bars.mapping]\nopen = [1]\n")
    with pytest.raises(ConfigError, match="wrong type"):
        load(tmp_path, environment={})
