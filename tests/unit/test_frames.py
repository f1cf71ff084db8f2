"""Many frames at once become columns, and the odd one costs only itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickerlake.records import SCHEMAS
from tickerlake.sources.frames import FrameColumns, epoch_ns, numbers, text_ns, ticks
from tickerlake.sources.live import Frame

AT = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
ROW = pa.struct([("s", pa.string()), ("p", pa.float64()), ("t", pa.int64())])
OBJECTS = FrameColumns(pa.schema([("type", pa.string()), ("data", pa.list_(ROW))]))
ARRAYS = FrameColumns(pa.schema(list(ROW)), arrays=True)


def frames(*texts: str | bytes) -> list[Frame]:
    return [Frame(AT + timedelta(seconds=n), "in", "", text) for n, text in enumerate(texts)]


def test_elements_keep_the_time_of_their_frame() -> None:
    """Each element of a list is a row beside the time at which its frame came."""
    told = OBJECTS.read(
        frames(
            '{"type":"trade","data":[{"s":"A","p":1.5,"t":1,"more":{}},{"s":"B","p":2,"t":2}]}',
            '{"type":"ping"}',
            '{"data":[{"s":"C"}]}',
        )
    )
    assert told.table["type"].to_pylist() == ["trade", "ping", None]
    rows = told.explode("data")
    assert rows["s"].to_pylist() == ["A", "B", "C"]
    assert rows["p"].to_pylist() == [1.5, 2.0, None]
    assert rows["received_at"].to_pylist() == [AT, AT, AT + timedelta(seconds=2)]


def test_frames_that_are_arrays() -> None:
    """Several events a frame, none in some."""
    told = ARRAYS.read(frames('[{"s":"A"},{"s":"B"}]', "[]", '{"s":"no array"}', '[{"s":"C"}]'))
    assert told.explode()["s"].to_pylist() == ["A", "B", "C"]
    assert len(told.notes) == 1


@pytest.mark.parametrize(
    "odd",
    [
        "", " ", "null", "1", '"text"', "{", "[]", '{"a":1}{"b":2}', b"\xff\x00", "[" * 5000,
        '{"type":[5]}', '{"type":true}', '{"data":[{"p":"x"}]}', '{"data":[{"p":1e999}]}',
        '{"data":[{"t":99999999999999999999}]}', '{"data":{}}', "nan", "{'type':'trade'}",
    ],
)  # fmt: skip
def test_an_odd_frame_is_told_and_costs_no_other(odd: str | bytes) -> None:
    """What is not of the schema is a note; its neighbours keep their places and times."""
    told = OBJECTS.read(frames('{"type":"first"}', odd, '{"type":"last"}'))
    assert told.table["type"].to_pylist() == ["first", "last"]
    assert told.received_at.to_pylist() == [AT, AT + timedelta(seconds=2)]
    assert len(told.notes) == 1


def test_odd_forms_that_are_sound() -> None:
    """A field twice, a whole number written as 1e3, and newlines between values are taken."""
    told = OBJECTS.read(frames('{"type":"a","type":"b"}', '{"data":[{"t":1e3}]}', '{\n"type":"c"}'))
    assert told.table["type"].to_pylist() == ["b", None, "c"]
    assert told.explode("data")["t"].to_pylist() == [1000]


def test_numbers_as_texts_and_texts_as_numbers_are_taken() -> None:
    """Some write 1.5 where others write "1.5": the value is the same, to the last digit."""
    told = OBJECTS.read(
        frames(
            '{"type":0.10,"data":[{"s":7,"p":"0.1","t":"1704207600123456789"}]}',
            '{"data":[{"p":"1_0"}]}',
            '{"data":[{"s":"A","p":2.5,"t":1}]}',
        )
    )
    assert told.table["type"].to_pylist() == ["0.10", None]
    assert told.explode("data").drop("received_at").to_pylist() == [
        {"s": "7", "p": 0.1, "t": 1704207600123456789},
        {"s": "A", "p": 2.5, "t": 1},
    ]
    assert len(told.notes) == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.text(), st.binary(), st.sampled_from(["{}", "null", "[{}]"]))))
def test_nothing_breaks_it(texts: list[str | bytes]) -> None:
    """Whatever comes: rows and notes, never an error."""
    for reader in (OBJECTS, ARRAYS):
        told = reader.read(frames(*texts))
        assert told.table.num_rows == len(told.received_at)


def test_sent_frames_are_passed_over() -> None:
    """Only what came is read."""
    sent = Frame(AT, "out", "", '{"type":"subscribe"}')
    assert OBJECTS.read([sent]).table.num_rows == 0
    assert ARRAYS.read([]).explode().num_rows == 0


def test_numbers_and_times_are_exact() -> None:
    """Text becomes float64 once; the unit of an epoch is told by its size; ns stay whole."""
    texts = pa.array(["0.10", "1e3", "x", None, "", "-.5", "nan", "inf", "1e999"])
    assert numbers(texts).to_pylist() == [0.1, 1000.0, None, None, None, -0.5, None, None, None]
    assert numbers(pa.array(["nan", "2"])).to_pylist() == [None, 2.0]
    second = 1_680_286_537
    given_ = pa.array([second, second * 1000, second * 10**6, second * 10**9 + 1, None])
    assert epoch_ns(given_).to_pylist() == [second * 10**9] * 3 + [second * 10**9 + 1, None]
    texts = pa.array(
        ["2023-03-31T18:15:37.123456789Z", "2023-03-31T18:15:37Z", "2023-02-31T00:00:00Z", "x"]
    )
    assert text_ns(texts).to_pylist() == [second * 10**9 + 123456789, second * 10**9, None, None]
    assert text_ns(texts[:2]).to_pylist() == [second * 10**9 + 123456789, second * 10**9]
    naive = pa.array(["2023-03-31T18:15:37", "2023-03-31", None, "9999-12-31T00:00:00Z"])
    assert text_ns(naive).to_pylist()[:3] == [None, None, None]


def test_ticks_are_in_the_schema() -> None:
    """`ts` follows from `ts_ns`, `fetched_at` is the frame's time, and a text stands for all."""
    received = pa.array([AT, AT], pa.timestamp("us", "UTC"))
    ns = pa.array([1_680_286_537_123_456_789] * 2)
    table = ticks("trade", "acme", received, symbol="A", ts_ns=ns, price=pa.array([1.0, 2.0]))
    assert table.schema == SCHEMAS["trade"]
    assert table["ts"].cast(pa.int64()).to_pylist() == [1_680_286_537_123_456] * 2
    assert table["symbol"].to_pylist() == ["A", "A"]
    assert table["event_id"].null_count == 2
