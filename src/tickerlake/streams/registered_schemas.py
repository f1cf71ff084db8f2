"""The schemas of our own records, as a registry keeps them: derived field by field.

Every field may be null and has null as its default, so a column that a later version adds is a
compatible change both ways.
"""

from __future__ import annotations

import functools
import json
from typing import Any, Final

import pyarrow as pa

from tickerlake.records import SCHEMAS, Kind

__all__ = ["schema_text"]

_AVRO: Final[dict[pa.DataType, Any]] = {
    pa.string(): "string",
    pa.float64(): "double",
    pa.int64(): "long",
    pa.bool_(): "boolean",
    pa.date32(): {"type": "int", "logicalType": "date"},
    pa.timestamp("us", tz="UTC"): {"type": "long", "logicalType": "timestamp-micros"},
}

_JSON: Final[dict[pa.DataType, dict[str, Any]]] = {
    pa.string(): {"type": ["string", "null"]},
    # NaN and infinity are texts in JSON.
    pa.float64(): {"type": ["number", "string", "null"]},
    pa.int64(): {"type": ["integer", "null"]},
    pa.bool_(): {"type": ["boolean", "null"]},
    pa.date32(): {"type": ["string", "null"], "format": "date"},
    pa.timestamp("us", tz="UTC"): {"type": ["string", "null"], "format": "date-time"},
}


@functools.lru_cache(maxsize=16)
def schema_text(kind: Kind, type_: str) -> str:
    """The schema of a kind: `AVRO` or `JSON`."""
    if type_ == "AVRO":
        fields = [
            {"name": field.name, "type": ["null", _AVRO[field.type]], "default": None}
            for field in SCHEMAS[kind]
        ]
        head = {"type": "record", "name": kind, "namespace": "tickerlake"}
        return json.dumps(head | {"fields": fields})
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"tickerlake.{kind}",
        "type": "object",
        "properties": {field.name: _JSON[field.type] for field in SCHEMAS[kind]},
    }
    return json.dumps(schema)
