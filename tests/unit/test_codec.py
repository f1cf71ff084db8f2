"""The codec: exactly one row for each record, the same for every reader."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given, settings

from tickerlake.errors import MalformedError
from tickerlake.records import KINDS, SCHEMAS, Kind, conform, lake_schema, with_event_ids
from tickerlake.streams import Message, Wire
from tickerlake.streams.codec import decode, encode
from tickerlake.testing.sample_records import sample_bars

EARLIEST = datetime(1, 1, 2, tzinfo=UTC).replace(tzinfo=None)
NOW = datetime(2024, 5, 6, tzinfo=UTC)
WIRES: tuple[Wire, ...] = ("arrow", "json")
SOUND: dict[str, Any] = {
    "provider": "x",
    "symbol": "AAPL",
    "ts": "2013-03-01T00:00:00Z",
    "fetched_at": "2013-03-02T01:02:03.456789Z",
    "interval": "1d",
    "session": "regular",
    "state": "final",
    "close": 430.47,
}


def message(payload: bytes, wire: Wire, count: int, *, first: int = 0, per: bool = True) -> Message:
    return Message("3", first, count, wire, payload, per, NOW)


def from_json(*records: dict[str, Any] | bytes, kind: Kind = "bar") -> list[dict[str, Any]]:
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in records]
    messages = [message(line, "json", 1, first=place) for place, line in enumerate(lines)]
    return decode(kind, messages).to_pylist()


VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.text(max_size=12) | st.sampled_from(["AAPL", '"\\\n\r\t{}', "\x00\u2028é😀"]),
    pa.float64(): st.floats(allow_nan=False) | st.sampled_from([0.1, -0.0, 5e-324, 1e22]),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
    pa.timestamp("us", tz="UTC"): st.datetimes(
        EARLIEST, EARLIEST.replace(year=9999), timezones=st.just(UTC)
    ),
}


def tables(kind: Kind) -> st.SearchStrategy[pa.Table]:
    fields = {
        field.name: st.none() | VALUES[field.type]
        for field in SCHEMAS[kind]
        if field.name != "kind"
    } | {"origin": st.none() | st.sampled_from(["00ff/3/17/0", "00ff/3/18/0"])}
    rows = st.lists(st.fixed_dictionaries({"kind": st.just(kind)} | fields), min_size=1, max_size=8)
    return rows.map(lambda found: pa.Table.from_pylist(found, SCHEMAS[kind]))


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_goes_in_comes_out(kind: Kind, wire: Wire, data: st.DataObject) -> None:
    """Any values of any kind survive either wire, whatever the rules say of them."""
    table = data.draw(tables(kind))
    times = data.draw(st.sampled_from([1, 30]))  # few records and many are packed differently
    table = pa.concat_tables([table] * times).combine_chunks()
    messages = [message(encode(table, kind, wire), wire, table.num_rows)]
    rows = decode(kind, messages)
    assert rows.schema.equals(lake_schema(kind))
    assert decode(kind, messages, coded=True).cast(rows.schema).equals(rows)
    # Of dead records the origin goes: they mend nothing.
    names = [name for name in table.column_names if name not in {"event_id", "origin"}]
    assert rows.select(names).equals(table.select(names))
    given_ids = table["event_id"].is_valid()
    assert rows["event_id"].filter(given_ids).equals(table["event_id"].filter(given_ids))
    dead = rows["dead_reason"].is_valid()
    assert rows["payload"].is_valid().equals(dead)


@settings(max_examples=60, deadline=None)
@given(
    payload=st.binary(max_size=60) | st.text(max_size=40).map(str.encode),
    wire=st.sampled_from(WIRES),
    count=st.integers(1, 5),
    per=st.booleans(),
)
def test_any_bytes_are_as_many_rows_as_were_declared(
    payload: bytes, wire: Wire, count: int, per: bool
) -> None:
    """Nonsense is `count` dead rows in the right places, and harms no neighbour."""
    sound = encode(sample_bars(2), "bar", "json")
    messages = [
        message(sound, "json", 2, first=0),
        message(payload, wire, count, first=10, per=per),
        message(sound, "json", 2, first=20),
    ]
    rows = decode("bar", messages).to_pylist()
    assert len(rows) == count + 4
    assert [row["dead_reason"] for row in rows[:2] + rows[-2:]] == [None] * 4
    for place, row in enumerate(rows[2:-2]):
        assert row["dead_reason"]
        assert row["kind"] == "bar"
        assert (row["_partition"], row["_offset"], row["_index"]) == (
            ("3", 10 + place, 0) if per else ("3", 10, place)
        )
    assert rows[2]["payload"] is not None


@settings(max_examples=80, deadline=None)
@given(place=st.integers(0, 10**9), flip=st.integers(1, 255), count=st.sampled_from([3, 100]))
def test_a_flipped_byte_never_brings_the_reader_down(place: int, flip: int, count: int) -> None:
    """An Arrow message that went bad on the way is rows, dead or not, and no crash."""
    payload = bytearray(encode(sample_bars(count), "bar", "arrow"))
    payload[place % len(payload)] ^= flip
    messages = [message(bytes(payload), "arrow", count)]
    rows = decode("bar", messages)
    assert rows.num_rows == count
    rows.validate(full=True)
    coded = decode("bar", messages, coded=True).cast(rows.schema)
    assert repr(coded.to_pydict()) == repr(rows.to_pydict())  # NaN is no other than NaN


def test_rows_do_not_depend_on_what_is_decoded_with_them() -> None:
    """One message at a time or all at once: a reader in a hurry and one that is late agree."""
    bars = sample_bars(200)
    bad = b'{"symbol":"AAPL","close":"high"}\nnull\n' + encode(bars.slice(0, 1), "bar", "json")
    messages = [
        message(encode(bars.slice(0, 3), "bar", "arrow"), "arrow", 3, first=0),
        message(encode(bars.slice(3, 100), "bar", "arrow"), "arrow", 100, first=3),
        message(bad, "json", 3, first=103),
        message(encode(bars.slice(103, 5), "bar", "json"), "json", 5, first=106),
        message(b"rubbish", "arrow", 2, first=111),
        message(encode(bars.slice(113, 80), "bar", "arrow"), "arrow", 80, first=113),
    ]
    one_by_one = pa.concat_tables([decode("bar", [each]) for each in messages])
    assert decode("bar", messages).combine_chunks().equals(one_by_one.combine_chunks())
    coded = decode("bar", messages, coded=True)
    assert pa.types.is_dictionary(coded.schema.field("symbol").type)
    assert coded.cast(one_by_one.schema).combine_chunks().equals(one_by_one.combine_chunks())


def test_each_number_of_a_coded_column_stands_for_one_string() -> None:
    """However others number their strings: twice the same, a null, more than a byte can count."""
    many = [
        with_symbols([f"{letter}{number}" for number in range(100)], range(100)) for letter in "ab"
    ]
    odd = [
        with_symbols(["IBM", "IBM", "AAPL"], [1, 0, 2]),
        with_symbols(["IBM", None], [0, 1, 0]),
        with_symbols(["IBM", ""], [0, 1, 1]),
    ]
    for sent in (many, *([each] for each in odd)):
        plain = decode("bar", sent)
        coded = decode("bar", sent, coded=True)
        assert coded.cast(plain.schema).equals(plain)
        for column in coded.columns:
            if pa.types.is_dictionary(column.type):
                words = column.combine_chunks().dictionary.to_pylist()
                assert len(words) == len(set(words) - {None})
    assert decode("bar", many)["symbol"].to_pylist()[100] == "b0"
    assert decode("bar", [odd[2]])["dead_reason"].to_pylist()[1:] == ["symbol is missing"] * 2


def with_symbols(words: list[str | None], numbers: Sequence[int]) -> Message:
    codes = pa.array(numbers, pa.int8())
    symbols = pa.DictionaryArray.from_arrays(codes, pa.array(words, pa.string()))
    bars = sample_bars(len(symbols))
    table = bars.set_column(bars.column_names.index("symbol"), "symbol", symbols)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return message(sink.getvalue().to_pybytes(), "arrow", len(symbols))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ts": "2013-03-01T00:00:00"}, "ts is not a time with its zone"),
        ({"ts": "2013-03-01"}, "ts is not a time with its zone"),
        ({"ts": 1362096000}, "ts is not a time with its zone"),
        ({"ts": "9999-12-31T23:59:59-12:00"}, "ts is not a time with its zone"),
        ({"fetched_at": "0001-01-01T00:00:00+12:00"}, "fetched_at is not a time with its zone"),
        ({"fetched_at": "soon"}, "fetched_at is not a time with its zone, such as"),
        ({"session_date": "2013-02-30"}, "session_date is not a date such as 2013-03-01: 2013-02"),
        ({"close": "high"}, "close is not a number: high"),
        ({"close": [1]}, "close is not a number: [1]"),
        ({"close": True}, "close is not a number: true"),
        ({"close": "NaN"}, "close is not a finite number"),
        ({"event_id": 2**63}, "event_id is not a whole number of 64 bits"),
        ({"kind": "trade"}, "this topic holds records of kind bar (kind=trade)"),
        ({"symbol": None}, "symbol is missing"),
        ({"high": 1.0, "low": 2.0}, "high is below low"),
    ],
)
def test_a_foreign_record_that_is_wrong_says_why(change: dict[str, Any], reason: str) -> None:
    """The reason names the field and the value; the payload is what was sent; the rest is kept."""
    record = SOUND | change
    before, row, after = from_json(SOUND, record, SOUND)
    assert row["dead_reason"].startswith(reason)
    assert json.loads(row["payload"]) == record
    assert row["provider"] == "x"
    for sound in (before, after):
        assert sound["dead_reason"] is None
        assert sound["payload"] is None


@pytest.mark.parametrize(
    ("change", "column", "expected"),
    [
        ({"ts": "2013-03-01T02:00:00+02:00"}, "ts", datetime(2013, 3, 1, tzinfo=UTC)),
        ({"ts": "2013-02-28 19:00:00.5-0500"}, "ts", datetime(2013, 3, 1, 0, 0, 0, 500000, UTC)),
        (
            {"ts": "2013-03-01T00:00:00.123456789Z"},
            "ts",
            datetime(2013, 3, 1, 0, 0, 0, 123456, UTC),
        ),
        ({"session_date": "2013-03-01"}, "session_date", date(2013, 3, 1)),
        ({"close": 430}, "close", 430.0),
        ({"close": "430.47"}, "close", 430.47),
        ({"colour": {"of": ["a", "later", "version"]}}, "symbol", "AAPL"),
        ({"adj_close": None}, "adj_close", None),
        ({}, "kind", "bar"),
    ],
)
def test_a_foreign_record_that_is_only_different_is_read(
    change: dict[str, Any], column: str, expected: object
) -> None:
    """Offsets, nanoseconds, whole numbers, numbers as text, unknown fields, a missing kind."""
    (row,) = from_json(SOUND | change)
    assert row["dead_reason"] is None
    assert row[column] == expected


def test_a_record_without_an_id_gets_the_one_that_its_publisher_would_give() -> None:
    """A foreign producer that sends a record twice has sent one event."""
    first, again, other = from_json(SOUND, SOUND, SOUND | {"close": 431.0})
    table = pa.table({name: [value] for name, value in first.items()}, schema=lake_schema("bar"))
    table = table.set_column(4, "event_id", pa.nulls(1, pa.int64()))
    assert first["event_id"] == with_event_ids(table, "bar")["event_id"][0].as_py()
    assert first["event_id"] == again["event_id"] != other["event_id"]


def test_what_cannot_be_told_apart_has_no_id() -> None:
    """Undecodable records and trades without trade ids must not pass for repeats of each other."""
    assert [row["event_id"] for row in from_json(b"null", b"null")] == [None, None]
    times = {"ts": SOUND["ts"], "fetched_at": SOUND["fetched_at"], "ts_ns": 1}
    trade = {"provider": "x", "symbol": "A", "price": 1.0, "size": 1.0} | times
    named = trade | {"trade_id": "7"}
    found = from_json(trade, trade, named, named, kind="trade")
    assert [row["dead_reason"] for row in found] == [None] * 4
    assert [row["event_id"] is None for row in found] == [True, True, False, False]
    mended = from_json(trade | {"origin": "s/0/7/0"}, trade | {"origin": "s/0/7/0"}, kind="trade")
    assert mended[0]["event_id"] == mended[1]["event_id"] is not None


def test_later_versions_of_an_arrow_message_are_read_as_far_as_we_know_them() -> None:
    """Unknown columns are left aside, missing ones are null, a naive time is refused."""
    bars = sample_bars(3)
    later = bars.drop_columns(["currency", "kind"]).append_column("colour", pa.array(["a"] * 3))
    naive = bars.set_column(3, "ts", bars["ts"].cast(pa.timestamp("us")))
    messages = []
    for table in (later, naive):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        messages.append(message(sink.getvalue().to_pybytes(), "arrow", 3))
    rows = decode("bar", messages)
    assert rows["close"].to_pylist()[:3] == bars["close"].to_pylist()
    assert rows["kind"].to_pylist() == ["bar"] * 6
    assert rows["dead_reason"].to_pylist()[:3] == [None] * 3
    assert "ts is not a time with its zone" in rows["dead_reason"].to_pylist()[3]


def test_a_dead_record_of_an_arrow_message_is_kept_as_json() -> None:
    """Dead letters can be read and mended by people, whatever wire they came on."""
    bars = sample_bars(3).set_column(13, "volume", pa.array([1.0, -5.0, 2.0]))
    rows = decode("bar", [message(encode(bars, "bar", "arrow"), "arrow", 3)]).to_pylist()
    assert [row["dead_reason"] for row in rows] == [None, "volume is negative (volume=-5.0)", None]
    letter = json.loads(rows[1]["payload"])
    assert letter["volume"] == -5
    assert datetime.fromisoformat(letter["ts"]) - rows[1]["ts"] == timedelta(0)
    assert from_json(rows[1]["payload"])[0]["dead_reason"] == rows[1]["dead_reason"]


def test_times_that_no_calendar_has_end_nobody() -> None:
    """Nanoseconds taken for microseconds: no publish takes them, and no reader falls over them."""
    bars = sample_bars(3)
    far = pa.array([10**18] * 3, pa.timestamp("us", tz="UTC"))
    wrong = bars.set_column(bars.column_names.index("ts"), "ts", far)
    with pytest.raises(MalformedError, match="no calendar"):
        conform(wrong, "bar")
    rows = decode("bar", [message(encode(wrong, "bar", "arrow"), "arrow", 3)])
    assert "outside the years" in rows["dead_reason"][0].as_py()
    assert rows["ts"].null_count == 3


def test_a_foreign_field_that_is_called_origin_costs_no_record() -> None:
    """Only a dead letter's place is an origin: of records that mend one letter one is kept."""
    foreign, mended = from_json(SOUND | {"origin": "NYSE"}, SOUND | {"origin": "00ff/3/7/0"})
    assert (foreign["origin"], foreign["dead_reason"]) == (None, None)
    assert foreign["event_id"] == from_json(SOUND)[0]["event_id"]
    assert mended["origin"] == "00ff/3/7/0"


def test_a_dead_record_mends_nothing() -> None:
    """It has no origin and another id, so the sound record that comes after it is no repeat."""
    sound = SOUND | {"origin": "00ff/3/7/0"}
    dead, mended = from_json(sound | {"state": "bogus"}, sound)
    assert dead["origin"] is None
    assert mended["origin"] == "00ff/3/7/0"
    assert dead["event_id"] != mended["event_id"]
