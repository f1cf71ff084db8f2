"""What flows: kinds of records, their Arrow schemas, states, units, value rules, event ids."""

from tickerlake.records.event_ids import with_event_ids
from tickerlake.records.rules import dead_reasons
from tickerlake.records.schemas import (
    INTERVALS,
    KEYS,
    KINDS,
    LAKE_COLUMNS,
    SCHEMAS,
    STATE_RANK,
    TABLES,
    TOPICS,
    Kind,
    conform,
    lake_schema,
)

__all__ = [
    "INTERVALS",
    "KEYS",
    "KINDS",
    "LAKE_COLUMNS",
    "SCHEMAS",
    "STATE_RANK",
    "TABLES",
    "TOPICS",
    "Kind",
    "conform",
    "dead_reasons",
    "lake_schema",
    "with_event_ids",
]
