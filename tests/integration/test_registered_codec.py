"""The `avro` and `json_schema` wires, with a schema registry that speaks HTTP."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import given, settings

from tickerlake.errors import ConfigError, UnreachableError
from tickerlake.records import KINDS, SCHEMAS, Kind
from tickerlake.streams import Message, StreamsSettings, Wire, open_stream
from tickerlake.streams.codec import decode, encode, encode_records
from tickerlake.streams.form import Form, form_of
from tickerlake.streams.registered_schemas import schema_text
from tickerlake.streams.settings import SchemaRegistrySettings, TopicSettings
from tickerlake.testing.sample_records import sample_bars
from tickerlake.testing.services.schema_registry import SchemaRegistry

NOW = datetime(2024, 5, 6, tzinfo=UTC)
WIRES: tuple[Wire, ...] = ("avro", "json_schema")
SUBJECT = SerializationContext("market.bars", MessageField.VALUE)
QUOTE = {
    "type": "record",
    "name": "Ohlc",
    "fields": [
        {"name": "Index", "type": "string"},
        {"name": "Date", "type": {"type": "int", "logicalType": "date"}},
        {
            "name": "Close",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
        },
        {"name": "At", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
MAPPING: dict[str, Any] = {
    "symbol": "Index",
    "ts": {"from": "Date", "zone": "UTC"},
    "session_date": "Date",
    "fetched_at": "At",
    "close": "Close",
    "provider": {"value": "x"},
    "interval": {"value": "1d"},
}


def form(registry: SchemaRegistry, kind: Kind = "bar", **said: Any) -> Form:
    where = SchemaRegistrySettings(url=registry.url, timeout_seconds=2, **said.pop("how", {}))
    bars = TopicSettings(mapping=said)
    found = form_of(StreamsSettings(schema_registry=where, bars=bars), kind)
    assert found is not None
    return found


def message(values: list[bytes | None], its: Form | None, first: int = 0) -> Message:
    return Message("0", first, len(values), "avro", b"", True, NOW, parts=values, form=its)


VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.text(max_size=12) | st.sampled_from(['"\\\n\r\t{}', "\u2028é😀"]),
    pa.float64(): st.floats(allow_nan=False) | st.sampled_from([0.1, -0.0, 5e-324, 1e22]),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
    pa.timestamp("us", tz="UTC"): st.datetimes(
        datetime(1900, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
        datetime(9998, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_goes_in_comes_out(schema_registry: SchemaRegistry, kind: Kind, wire: Wire) -> None:
    """Any values of any kind survive, in schemas that are derived field by field."""
    its = form(schema_registry, kind)
    fields = {
        field.name: st.none() | VALUES[field.type]
        for field in SCHEMAS[kind]
        if field.name not in {"kind", "origin"}
    }

    @settings(max_examples=20, deadline=None)
    @given(rows=st.lists(st.fixed_dictionaries(fields), min_size=1, max_size=4))
    def survives(rows: list[dict[str, Any]]) -> None:
        table = pa.Table.from_pylist([{"kind": kind} | row for row in rows], SCHEMAS[kind])
        values = encode_records(table, kind, wire, its, "market.x")
        found = decode(kind, [message(list(values), its)])
        names = [name for name in table.column_names if name not in {"event_id", "origin"}]
        assert found.select(names).equals(table.select(names))
        assert found["dead_reason"].is_valid().equals(found["payload"].is_valid())

    survives()


@pytest.mark.parametrize("wire", WIRES)
def test_confluents_own_clients_read_and_write_the_same(
    schema_registry: SchemaRegistry, wire: Wire
) -> None:
    """Their deserializer reads ours, and what their serializer writes is read by us."""
    its = form(schema_registry)
    bars = sample_bars(3)
    ours = encode_records(bars, "bar", wire, its, "market.bars")
    with SchemaRegistryClient({"url": schema_registry.url}) as client:
        if wire == "avro":
            text = schema_text("bar", "AVRO")
            read: Any = AvroDeserializer(client)
            write: Any = AvroSerializer(client, text)
            records = bars.to_pylist()
        else:
            text = schema_text("bar", "JSON")
            read, write = JSONDeserializer(text, schema_registry_client=client), None
            write = JSONSerializer(text, client)
            records = [json.loads(line) for line in encode(bars, "bar", "json").split(b"\n")]
        assert [read(value, SUBJECT) for value in ours] == records
        theirs = [write(record, SUBJECT) for record in records]
        assert client.get_subjects() == ["market.bars-value"]
    rows = decode("bar", [message(list(theirs), its)])
    assert rows.select(bars.column_names).equals(bars)
    assert schema_registry.requests < 12


def test_foreign_avro_goes_through_the_mapping(schema_registry: SchemaRegistry) -> None:
    """Other names, decimals, dates, milliseconds; a record that breaks a rule is kept as JSON."""
    record = {
        "Index": "N225",
        "Date": date(2013, 3, 1),
        "Close": Decimal("11606.38"),
        "At": datetime(2013, 3, 2, tzinfo=UTC),
    }
    with SchemaRegistryClient({"url": schema_registry.url}) as client:
        write = AvroSerializer(client, json.dumps(QUOTE))
        values = [write(record, SUBJECT), write(record | {"Index": ""}, SUBJECT)]
    its = form(schema_registry, **MAPPING)
    own = encode_records(sample_bars(1), "bar", "avro", its, "market.own")
    rows = decode("bar", [message([*values, *own], its)]).to_pylist()
    assert [row["dead_reason"] for row in rows] == [None, "symbol is missing", None]
    assert (rows[0]["symbol"], rows[0]["close"]) == ("N225", 11606.38)
    assert rows[0]["ts"] == datetime(2013, 3, 1, tzinfo=UTC)
    assert rows[0]["fetched_at"] == record["At"]
    assert json.loads(rows[1]["payload"])["Date"] == "2013-03-01"
    assert rows[2]["provider"] == "sample"


def test_records_of_a_later_version_are_read_as_far_as_we_know_them(
    schema_registry: SchemaRegistry,
) -> None:
    """A field that we do not know is left aside; one that changed its type is a dead letter."""
    schema = json.loads(schema_text("bar", "AVRO"))
    schema["fields"].append({"name": "colour", "type": "string", "default": ""})
    changed = json.loads(schema_text("bar", "AVRO"))
    changed["fields"] = [field for field in changed["fields"] if field["name"] != "close"]
    changed["fields"].append({"name": "close", "type": {"type": "array", "items": "double"}})
    record = sample_bars(1).to_pylist()[0]
    schema_registry.answer("PUT", "/config", {"compatibility": "NONE"})
    with SchemaRegistryClient({"url": schema_registry.url}) as client:
        later = AvroSerializer(client, json.dumps(schema))(record | {"colour": "red"}, SUBJECT)
        array = AvroSerializer(client, json.dumps(changed))(record | {"close": [1.5]}, SUBJECT)
    rows = decode("bar", [message([later, array], form(schema_registry))]).to_pylist()
    assert rows[0]["dead_reason"] is None
    assert rows[0]["close"] == record["close"]
    assert rows[1]["dead_reason"] == "close is not a number: [1.5]"


def test_what_cannot_be_read_is_one_dead_letter_each(schema_registry: SchemaRegistry) -> None:
    """Cut, longer than its schema, an unknown id, another type, no frame, null: each says why."""
    its = form(schema_registry)
    (sound,) = encode_records(sample_bars(1), "bar", "avro", its, "market.bars")
    values = [
        sound,
        sound[:20],
        sound + b"x",
        b"\0\0\0\0\x63rest",
        b"\0\0",
        b'{"a":1}',
        None,
        sound,
    ]
    rows = decode("bar", [message(values, its)]).to_pylist()
    reasons = [row["dead_reason"] for row in rows]
    assert reasons[0] is reasons[-1] is None
    assert reasons[1].startswith("the Avro record cannot be read by its schema 1")
    assert "left over" in reasons[2]
    assert reasons[3].startswith("its schema 99 is not in the registry http")
    assert set(reasons[4:7]) == {"not a record with a schema's id before it"}
    assert [row["payload"] for row in rows[1:-1]] == values[1:-1]


def test_a_registry_that_is_away_kills_no_record(schema_registry: SchemaRegistry) -> None:
    """Nothing is known of the records until it is back; what is known already needs no registry."""
    its = form(schema_registry)
    values = list(encode_records(sample_bars(2), "bar", "avro", its, "market.bars"))
    fresh = form(schema_registry)
    schema_registry.stop()
    with pytest.raises(UnreachableError, match="does not answer"):
        decode("bar", [message(values, fresh)])
    with pytest.raises(UnreachableError):
        encode_records(sample_bars(1), "bar", "avro", fresh, "market.bars")
    schema_registry.start()
    assert decode("bar", [message(values, fresh)])["dead_reason"].null_count == 2
    schema_registry.stop()
    assert decode("bar", [message(values, fresh)])["dead_reason"].null_count == 2


def test_a_schema_is_asked_for_once(schema_registry: SchemaRegistry) -> None:
    """One request for any number of records; an unknown id once a batch."""
    its = form(schema_registry)
    values = list(encode_records(sample_bars(50), "bar", "avro", its, "market.bars"))
    before = schema_registry.requests
    for first in range(0, 150, 50):
        decode("bar", [message(values, its, first)])
    assert schema_registry.requests - before == 1
    decode("bar", [message([b"\0\0\0\0\x63"] * 50, its)])
    assert schema_registry.requests - before == 2


def test_a_registry_may_want_to_know_who_asks() -> None:
    """A wrong password, and a schema that nobody registered, are errors of the configuration."""
    with SchemaRegistry(user="me:secret") as registry:
        how = {"user": "me", "password": "secret"}
        known = form(registry, how=how)
        stranger = form(registry, how=how | {"password": "wrong"})
        with pytest.raises(ConfigError, match="user and password that it knows"):
            encode_records(sample_bars(1), "bar", "avro", stranger, "market.bars")
        careful = form(registry, how=how | {"register": False})
        with pytest.raises(ConfigError, match="no such schema"):
            encode_records(sample_bars(1), "bar", "avro", careful, "market.bars")
        values = encode_records(sample_bars(1), "bar", "avro", known, "market.bars")
        assert encode_records(sample_bars(1), "bar", "avro", careful, "market.bars") == values


def test_another_server_is_not_taken_for_a_registry(schema_registry: SchemaRegistry) -> None:
    """It knows no schema at all; its "not found" must not make dead letters of sound records."""
    values = encode_records(sample_bars(1), "bar", "avro", form(schema_registry), "market.bars")
    wrong = SchemaRegistrySettings(url=f"{schema_registry.url}/elsewhere")
    its = form_of(StreamsSettings(schema_registry=wrong), "bar")
    with pytest.raises(ConfigError, match="refuses"):
        decode("bar", [message(list(values), its)])


def test_a_subject_of_others_is_not_broken_by_us(schema_registry: SchemaRegistry) -> None:
    """Where our schema does not fit what is there, nothing is published and the error says so."""
    with SchemaRegistryClient({"url": schema_registry.url}) as client:
        theirs = {"type": "record", "name": "Other", "fields": [{"name": "a", "type": "int"}]}
        client.register_schema("market.bars-value", Schema(json.dumps(theirs), "AVRO"))
        client.set_compatibility("market.bars-value", level="FULL")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="compatibility allows our schema"):
        encode_records(sample_bars(1), "bar", "avro", form(schema_registry), "market.bars")


def test_without_a_registry_framed_records_are_whole_dead_letters(tmp_path: Any) -> None:
    """A stray one stops no others; but who asks for a wire that needs a registry must name it."""
    framed = b"\0\0\0\0\x07x"
    rows = decode("bar", [message([framed, b"\0"], None)])
    assert rows["payload"].to_pylist() == [framed, b"\0"]
    assert "names schema 7 of a registry" in rows["dead_reason"][0].as_py()
    assert "not a record with a schema's id" in rows["dead_reason"][1].as_py()
    with pytest.raises(ConfigError, match="need a schema registry"):
        form_of(StreamsSettings(wire="avro"), "bar")
    registry = SchemaRegistrySettings(url="http://127.0.0.1:1")
    settings_ = StreamsSettings(wire="avro", schema_registry=registry)
    stream = open_stream("embedded:", workspace=tmp_path, settings=settings_)
    with pytest.raises(ConfigError, match="cannot carry"):
        stream.topic("bar")
