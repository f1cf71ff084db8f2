"""The schema registry that other tests stand on, seen through Confluent's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

from tickerlake.testing.services.schema_registry import SchemaRegistry

LONG = {"name": "volume", "type": "long"}
PRICE = {"name": "close", "type": "double"}


def avro(*fields: object) -> Schema:
    return Schema(json.dumps({"type": "record", "name": "Bar", "fields": fields}), "AVRO")


def json_schema(required: list[str], **properties: object) -> Schema:
    schema = {"type": "object", "properties": properties, "required": required}
    return Schema(json.dumps(schema), "JSON")


@pytest.fixture
def client(schema_registry: SchemaRegistry) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": schema_registry.url}) as connected:
        yield connected


def test_a_schema_has_one_id_wherever_it_is_registered(client: SchemaRegistryClient) -> None:
    """Subjects share ids and count their own versions; ids lead back to the schema."""
    first = client.register_schema("bars-value", avro(PRICE))
    assert client.register_schema("bars-value", avro(PRICE)) == first
    assert client.register_schema("others-value", avro(PRICE)) == first
    found = client.get_schema(first)
    assert json.loads(found.schema_str or "") == json.loads(avro(PRICE).schema_str or "")
    assert client.get_subjects() == ["bars-value", "others-value"]
    latest = client.get_latest_version("bars-value")
    assert (latest.schema_id, latest.version) == (first, 1)


def test_what_is_not_there_has_the_codes_of_the_protocol(client: SchemaRegistryClient) -> None:
    """Unknown subject, version, schema and id."""
    with pytest.raises(SchemaRegistryError) as subject:
        client.get_latest_version("nobody")
    assert subject.value.error_code == 40401
    client.register_schema("bars-value", avro(PRICE))
    with pytest.raises(SchemaRegistryError) as version:
        client.get_version("bars-value", 7)
    assert version.value.error_code == 40402
    with pytest.raises(SchemaRegistryError) as schema:
        client.lookup_schema("bars-value", avro(LONG))
    assert schema.value.error_code == 40403
    with pytest.raises(SchemaRegistryError) as number:
        client.get_schema(99)
    assert number.value.error_code == 40403


@pytest.mark.parametrize(
    ("level", "new", "fits"),
    [
        ("BACKWARD", avro(PRICE, LONG | {"default": 0}), True),
        ("BACKWARD", avro(PRICE, LONG), False),
        ("BACKWARD", avro(), True),
        ("BACKWARD", avro(PRICE | {"type": ["null", "double"]}), True),
        ("BACKWARD", avro(PRICE | {"type": "int"}), False),
        ("FORWARD", avro(PRICE, LONG), True),
        ("FORWARD", avro(LONG), False),
        ("FULL", avro(PRICE, LONG | {"default": 0}), True),
        ("FULL", avro(PRICE, LONG), False),
        ("NONE", avro(LONG), True),
    ],
)
def test_compatibility_is_judged_before_a_version_is_taken(
    client: SchemaRegistryClient, level: str, new: Schema, fits: bool
) -> None:
    """Asking and registering agree, level by level."""
    client.register_schema("bars-value", avro(PRICE))
    client.set_compatibility("bars-value", level)
    assert client.get_compatibility("bars-value") == level
    assert client.test_compatibility("bars-value", new) is fits
    if fits:
        client.register_schema("bars-value", new)
        assert client.get_versions("bars-value") == [1, 2]
    else:
        with pytest.raises(SchemaRegistryError) as refused:
            client.register_schema("bars-value", new)
        assert refused.value.http_status_code == 409


def test_json_schema_is_judged_by_its_properties(client: SchemaRegistryClient) -> None:
    """A further required property cannot be read from old records."""
    number = {"type": "number"}
    client.register_schema("bars-value", json_schema(["close"], close=number))
    wider = json_schema(["close"], close=number, volume=number)
    stricter = json_schema(["close", "volume"], close=number, volume=number)
    assert client.test_compatibility("bars-value", wider)
    assert not client.test_compatibility("bars-value", stricter)


def test_a_registry_with_a_password_asks_for_it() -> None:
    """Without the right one: 401."""
    with SchemaRegistry(user="alice:secret") as registry:
        known = {"url": registry.url, "basic.auth.user.info": "alice:secret"}
        with SchemaRegistryClient(known) as client:
            assert client.get_subjects() == []
        guessed = {"url": registry.url, "basic.auth.user.info": "alice:guessed"}
        with SchemaRegistryClient(guessed) as client:
            with pytest.raises(SchemaRegistryError) as refused:
                client.get_subjects()
            assert refused.value.http_status_code == 401


def test_what_was_registered_is_there_after_a_stop(schema_registry: SchemaRegistry) -> None:
    """A registry that was stopped and started again knows its subjects."""
    with SchemaRegistryClient({"url": schema_registry.url}) as client:
        client.register_schema("bars-value", avro(PRICE))
    schema_registry.stop()
    schema_registry.start()
    with SchemaRegistryClient({"url": schema_registry.url}) as client:
        assert client.get_subjects() == ["bars-value"]
