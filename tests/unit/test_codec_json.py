"""JSON lines: what a record means never depends on which lines lie beside it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from tickerlake.records import lake_schema
from tickerlake.streams import Message, Places
from tickerlake.streams.codec import decode, encode
from tickerlake.streams.fields import plain_layout
from tickerlake.streams.json_alike import read_alike
from tickerlake.streams.lines import lines_of
from tickerlake.testing.sample_records import sample_bars

NOW = datetime(2024, 5, 6, tzinfo=UTC)
SOUND: dict[str, Any] = {
    "provider": "x",
    "symbol": "AAPL",
    "ts": "2013-03-01T00:00:00Z",
    "fetched_at": "2013-03-02T01:02:03.456789Z",
    "interval": "1d",
    "session": "regular",
    "state": "final",
    "event_id": 7,
    "close": 430.47,
    "volume": 0,
}
# With a backslash in one of them, lines of a block are looked at one value at a time.
CAREFUL = b'{"symbol":"\\u0041"}'

#: How a value may stand in JSON: every type for every field, and what parsers disagree about.
VALUES = [
    '"AAPL"', '"600519"', "600519", '"430.47"', '" 1 "', '" 1"', '"1_000"', '"0x10"', "1", "0",
    "1.0", "-0.0", "1e3", "1.5e300", "1e400", "-1e400", "1e-400", "01", ".5", "1.", "+1", "NaN",
    '"NaN"', "Infinity", '"-inf"', "true", '"true"', "false", "null", '"null"', "[]", "[1]",
    "{}", '{"a":"b"}', '""', '"é😀\u2028"', '"\x7f"', '"\t"', '"\\u0000"', '"\\ud800"', "'a'",
    "9007199254740993", "9223372036854775807", "9223372036854775808", "1.5", "1234567890123456",
    "123456789012345678901234567890", "0.1000000000000000055511151231257827", '"2013-03-01"',
    '"2013-03-01T00:00:00Z"', '"2013-03-01T00:00:00"', '"2013-03-01T00Z"', '"Z"',
    '"2013-03-01 00:00:00.123456789+01:00"', "2013-03-01T00:00:00Z", "1362096000", "",
]  # fmt: skip
NAMES = st.sampled_from([*SOUND, "Close", "close ", "x", "x'y", 'a"b', "kind", "origin", "", "é"])
BLANK = st.sampled_from(["", "", "", " ", "\r", "\t"])


@st.composite
def records(draw: st.DrawFn) -> str:
    """A sound record with a few things changed, left out, doubled or added."""
    pairs = [(name, json.dumps(value)) for name, value in SOUND.items()]
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(pairs) - 1))
        change = draw(st.sampled_from(["value", "drop", "double", "add", "move"]))
        if change == "value":
            pairs[place] = (pairs[place][0], draw(st.sampled_from(VALUES)))
        elif change == "drop" and len(pairs) > 1:
            pairs.pop(place)
        elif change == "double":
            pairs.append((pairs[place][0], draw(st.sampled_from(VALUES))))
        elif change == "add":
            pairs.insert(place, (draw(NAMES), draw(st.sampled_from(VALUES))))
        else:
            pairs.append(pairs.pop(place))
    blank = draw(BLANK)
    inside = f",{blank}".join(f'"{name}":{blank}{value}' for name, value in pairs)
    return f"{blank}{{{inside}}}{blank}"


LINES = records().map(str.encode) | st.sampled_from(
    [
        b"", b"null", b"[]", b'"x"', b"{}", b"{", b"}{", b"\xff\xfe", b"\xef\xbb\xbf{}", b"\r",
        b'{"symbol":"A"}{"symbol":"B"}', b'{"symbol":"A",}', b'[{"symbol":"A"}]', b"\x00",
        b'{"symbol":"A"', b'"provider":"x"}', b"// {}", b'{"a":{"symbol":"A"}}',
    ]
)  # fmt: skip


def block(lines: list[bytes], first: int = 0) -> Message:
    return Message("3", first, len(lines), "json", b"\n".join(lines), True, NOW)


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(LINES, min_size=1, max_size=6))
def test_a_line_means_the_same_in_any_company(lines: list[bytes]) -> None:
    """Together, alone, and beside a line that makes the reader look closely: the same rows."""
    together = decode("bar", [block(lines)])
    alone = pa.concat_tables([decode("bar", [block([x], n)]) for n, x in enumerate(lines)])
    careful = decode("bar", [block([*lines, CAREFUL])]).slice(0, len(lines))
    for other in (alone, careful):
        assert repr(other.to_pylist()) == repr(together.to_pylist())
    payloads = together["payload"].to_pylist()
    assert payloads == [
        None if reason is None else line
        for line, reason in zip(lines, together["dead_reason"].to_pylist(), strict=True)
    ]


PLAIN_NUMBERS = st.decimals(-5, 1000, places=2).map(str) | st.integers(-9, 2**63 - 1).map(str)
NUMBERS = st.one_of(
    PLAIN_NUMBERS,
    PLAIN_NUMBERS,
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.text("0123456789.-+eE/", min_size=1, max_size=5),
)
TEXTS = st.text("abcé€\U0001f600", max_size=6).map('"{}"'.format) | st.text(
    'a"\\\t\x01\x7f,', max_size=2
).map('"{}"'.format)
WHATEVER = st.sampled_from(VALUES)
TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda time: f'"{time.isoformat()}"')
KINDS = [("symbol", TEXTS), ("ts", TIMES), ("event_id", st.integers(-(2**63), 2**63).map(str)),
         ("close", NUMBERS), ("volume", NUMBERS), ("x", TEXTS), ("y", NUMBERS),
         ("fetched_at", TIMES)]  # fmt: skip


@st.composite
def alike(draw: st.DrawFn) -> list[bytes]:
    """Lines of one publisher: the same fields, other values; now and then a byte that is wrong."""
    chosen = draw(
        st.lists(st.sampled_from(KINDS), min_size=1, max_size=4, unique_by=lambda x: x[0])
    )
    names = draw(st.permutations([*dict.fromkeys([*SOUND, *(name for name, _ in chosen)])]))
    comma, colon, end = draw(
        st.sampled_from([(",", ":", ""), (", ", ": ", ""), (",", " :\t", " \r")])
    )
    lines = []
    for _ in range(draw(st.integers(2, 4))):
        values = {name: json.dumps(value) for name, value in SOUND.items()}
        for name, kind in chosen:
            values[name] = draw(kind if draw(st.integers(0, 9)) else WHATEVER)
        inside = comma.join(f'"{name}"{colon}{values[name]}' for name in names)
        lines.append(bytearray(f"{{{inside}}}{end}".replace("\n", "").encode()))
    if draw(st.integers(0, 3)) == 0:
        line = draw(st.sampled_from(lines))
        line[draw(st.integers(0, len(line) - 1))] = draw(
            st.sampled_from(b'",:{}\\ \t\x000a9.-\xff\xc3')
        )
    return [bytes(line) for line in lines]


@settings(max_examples=100, deadline=None)
@given(lines=alike())
def test_lines_that_differ_in_nothing_but_their_values_mean_what_they_say(
    lines: list[bytes],
) -> None:
    """Cut where their commas stand, or looked at one value at a time: the same rows."""
    together = decode("bar", [block(lines)])
    careful = decode("bar", [block([*lines, CAREFUL])]).slice(0, len(lines))
    assert repr(together.to_pylist()) == repr(careful.to_pylist())


def test_times_too_far_off_for_nanoseconds_stand_beside_such() -> None:
    """Neither makes the other unreadable."""
    times = ["2263-01-01T00:00:00Z", "2013-03-01T00:00:00.123456789Z"]
    rows = decode("bar", [block([json.dumps(SOUND | {"ts": ts}).encode() for ts in times])])
    assert rows["dead_reason"].null_count == 2
    assert [ts.isoformat() for ts in rows["ts"].to_pylist()] == [
        "2263-01-01T00:00:00+00:00",
        "2013-03-01T00:00:00.123456+00:00",
    ]


def test_what_we_publish_is_cut_and_not_parsed() -> None:
    """Lines that only differ in their values need no parser; neither do most foreign ones."""
    bars = sample_bars(5_000)
    lines = encode(bars, "bar", "json").split(b"\n")
    (values,) = [found.values for found in lines_of("bar", [block(lines)])]
    found = read_alike(plain_layout("bar"), values, None)
    assert found is not None
    assert found.equals(bars)
    spaced = [json.dumps(SOUND | {"close": n + 0.25, "note": "a, b"}).encode() for n in range(99)]
    (values,) = [found.values for found in lines_of("bar", [block(spaced)])]
    found = read_alike(plain_layout("bar"), values, None)
    assert found is not None
    assert found["close"].to_pylist() == [n + 0.25 for n in range(99)]


@pytest.mark.parametrize("name", ["symbol", "ts", "event_id", "close", "volume"])
def test_any_value_means_the_same_however_it_is_read(name: str) -> None:
    """A value that only looks like a number, a time or a text is none, fast or slow."""
    pairs = [(other, json.dumps(value)) for other, value in SOUND.items() if other != name]
    lines = [
        "{{{}}}".format(",".join(f'"{key}":{text}' for key, text in [(name, value), *pairs]))
        for value in VALUES
    ]
    encoded = [line.encode() for line in lines]
    careful = decode("bar", [block([*encoded, CAREFUL])]).slice(0, len(lines))
    alone = pa.concat_tables([decode("bar", [block([x], n)]) for n, x in enumerate(encoded)])
    assert repr(alone.to_pylist()) == repr(careful.to_pylist())
    # Behind a line of the same fields, whose own value is as it should be.
    other = {"symbol": "B", "ts": "2014-03-01T00:00:00Z", "event_id": 8, "close": 1.5, "volume": 2}
    sound = json.dumps(
        {name: other[name]} | dict(SOUND | {name: other[name]}), separators=(",", ":")
    )
    behind = pa.concat_tables(
        [decode("bar", [block([sound.encode(), x], n - 1)]).slice(1) for n, x in enumerate(encoded)]
    )
    assert repr(behind.to_pylist()) == repr(careful.to_pylist())


def test_each_of_many_bad_values_is_found() -> None:
    """Wherever they stand, several in one record too; the first column that is wrong says why."""
    bad = {3, 4, 100, 255, 256, 511}
    lines = [
        json.dumps(SOUND | ({"close": "high", "ts": "now"} if row in bad else {"volume": row}))
        for row in range(512)
    ]
    rows = decode("bar", [block([line.encode() for line in lines])])
    found = rows["dead_reason"].is_valid().to_pylist()
    assert {row for row, dead in enumerate(found) if dead} == bad
    assert rows["dead_reason"][3].as_py().startswith("ts is not a time with its zone")
    assert rows["volume"].to_pylist()[512 - 2] == 510


def test_letters_of_several_bytes_in_a_line_that_is_refused_harm_nobody() -> None:
    """The engine quotes the line in its refusal, and may cut a letter in two."""
    for count in range(40):
        odd = {"symbol": "x" * count + "\x80\u0800\U00010000" * 9}
        lines = [json.dumps(SOUND), json.dumps(odd, ensure_ascii=False)]
        rows = decode("bar", [block([line.encode() for line in lines])])
        assert rows["dead_reason"].to_pylist() == [None, "provider is missing"]


def test_quotes_that_are_missing_do_not_make_up_for_others() -> None:
    """A line without fields, beside one with as many too many, is still no object."""
    more = SOUND | {f"n{number}": number for number in range(len(SOUND))}
    lines = [json.dumps(SOUND).encode(), b"null", json.dumps(more).encode()]
    reasons = decode("bar", [block(lines)])["dead_reason"].to_pylist()
    assert reasons == [None, "not a JSON object", None]


@pytest.mark.parametrize("bad", [b'{"close":"\\u0031"}', b"", b"null", b'{"symbol":"x"}'])
def test_one_bad_line_in_thousands_costs_nothing_but_itself(bad: bytes) -> None:
    """Its neighbours, near and far, are what they are without it."""
    lines = encode(sample_bars(9_000), "bar", "json").split(b"\n")
    expected = decode("bar", [block(lines)])
    rows = decode("bar", [block([*lines[:4_000], bad, *lines[4_000:]])])
    assert rows["dead_reason"].is_valid().to_pylist() == [n == 4_000 for n in range(9_001)]
    names = [name for name in rows.column_names if not name.startswith("_")]
    others = pa.concat_tables([rows.slice(0, 4_000), rows.slice(4_001)]).select(names)
    assert others.combine_chunks().equals(expected.select(names).combine_chunks())


def test_records_of_a_broker_lie_where_it_says() -> None:
    """Positions with holes, several records at one, numbers of the log's own; also of dead ones."""
    lines = [*encode(sample_bars(2), "bar", "json").split(b"\n"), b"null"]
    places = Places(
        np.array([5, 9, 9]), np.array([0, 0, 1], np.int32), pa.array(["005", "009", "009"])
    )
    found = Message("3", 5, 3, "json", b"\n".join(lines), False, NOW, places)
    assert found.next_position == 10
    rows = decode("bar", [block(lines[:1], 4), found, block(lines[:1], 10)])
    assert rows.schema.equals(lake_schema("bar"))
    assert rows["_offset"].to_pylist() == [4, 5, 9, 9, 10]
    assert rows["_index"].to_pylist() == [0, 0, 0, 1, 0]
    assert rows["_sequence"].to_pylist() == [None, "005", "009", "009", None]
    assert rows["dead_reason"].to_pylist() == [None, None, None, "not a JSON object", None]


def test_values_that_cannot_be_joined_are_records_too() -> None:
    """Line feeds inside a value, an empty value and a broker's null: a row each, in their order."""
    sound = json.dumps(SOUND, indent=1).encode()
    parts = [sound, None, b"", b"\n", sound]
    places = Places(np.arange(5))
    (message,) = [Message("3", 0, 5, "json", b"", False, NOW, places, parts)]
    rows = decode("bar", [message]).to_pylist()
    assert [row["dead_reason"] for row in rows] == [None, *["not a JSON object"] * 3, None]
    assert [row["payload"] for row in rows] == [None, None, b"", b"\n", None]
    assert rows[4]["close"] == 430.47
