"""Whether what was written under one schema can be read under another, as a registry judges it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

__all__ = ["LEVELS", "compatible"]

#: The levels by name: whether the new schema must read the old, and the old the new.
LEVELS: Final = {
    "NONE": (False, False),
    "BACKWARD": (True, False),
    "FORWARD": (False, True),
    "FULL": (True, True),
}
_PROMOTED: Final = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
_NAMED: Final = ("record", "enum", "fixed")
Schema = Any


def compatible(level: str, kind: str, new: Schema, earlier: Sequence[Schema]) -> bool:
    """Whether a subject of that level takes `new` after the earlier versions, oldest first.

    `kind` is AVRO or JSON; schemas are parsed JSON. JSON Schema is judged by the properties of
    its outermost object only.
    """
    new_reads, old_reads = LEVELS[level.removesuffix("_TRANSITIVE")]
    reads = _avro_reads if kind == "AVRO" else _json_reads
    asked = earlier if level.endswith("_TRANSITIVE") else earlier[-1:]
    return all(
        (not new_reads or reads(new, old)) and (not old_reads or reads(old, new)) for old in asked
    )


def _avro_reads(reader: Schema, writer: Schema) -> bool:
    return _Avro(reader, writer).reads(reader, writer)


class _Avro:
    """Avro's rules of schema resolution."""

    def __init__(self, reader: Schema, writer: Schema) -> None:
        self._names = (_named_types(reader), _named_types(writer))
        self._assumed: set[tuple[str, str]] = set()  # pairs that are being judged: types may recur

    def reads(self, reader: Schema, writer: Schema) -> bool:
        reader = self._resolved(reader, 0)
        writer = self._resolved(writer, 1)
        if isinstance(writer, list):
            return all(self.reads(reader, branch) for branch in writer)
        if isinstance(reader, list):
            return any(self.reads(branch, writer) for branch in reader)
        kind, written = reader["type"], writer["type"]
        if kind != written:
            return kind in _PROMOTED.get(written, ())
        if kind == "array":
            return self.reads(reader["items"], writer["items"])
        if kind == "map":
            return self.reads(reader["values"], writer["values"])
        return kind not in _NAMED or self._named_reads(kind, reader, writer)

    def _named_reads(self, kind: str, reader: Schema, writer: Schema) -> bool:
        names = {reader["name"], *reader.get("aliases", ())}
        if writer["name"] not in names:
            return False
        if kind == "fixed":
            return bool(reader["size"] == writer["size"])
        if kind == "enum":
            return "default" in reader or set(writer["symbols"]) <= set(reader["symbols"])
        pair = (reader["name"], writer["name"])
        if pair in self._assumed:
            return True
        self._assumed.add(pair)
        written = {field["name"]: field["type"] for field in writer["fields"]}
        return all(self._field_reads(field, written) for field in reader["fields"])

    def _field_reads(self, field: Schema, written: dict[str, Schema]) -> bool:
        for name in (field["name"], *field.get("aliases", ())):
            if name in written:
                return self.reads(field["type"], written[name])
        return "default" in field

    def _resolved(self, schema: Schema, side: int) -> Schema:
        if isinstance(schema, str):
            return self._names[side].get(schema, {"type": schema})
        if isinstance(schema, dict) and isinstance(schema["type"], dict | list):
            return self._resolved(schema["type"], side)
        return schema


def _named_types(schema: Schema) -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    if isinstance(schema, dict):
        if schema.get("type") in _NAMED:
            found[schema["name"]] = schema
        for inner in schema.values():
            found |= _named_types(inner)
    elif isinstance(schema, list):
        for inner in schema:
            found |= _named_types(inner)
    return found


def _json_reads(reader: Schema, writer: Schema) -> bool:
    read, written = reader.get("properties", {}), writer.get("properties", {})
    if not set(reader.get("required", ())) <= set(writer.get("required", ())):
        return False
    if reader.get("additionalProperties") is False and not set(written) <= set(read):
        return False
    return all(_types(written[name]) <= _types(read[name]) for name in set(read) & set(written))


def _types(schema: Schema) -> set[str]:
    kinds = schema.get("type", [])
    found = {kinds} if isinstance(kinds, str) else set(kinds)
    return found | {"integer"} if "number" in found else found
