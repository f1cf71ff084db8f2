"""What flows: kinds of records, their Arrow schemas, states, units, value rules, event ids."""

from tickerlake.records.event_ids import key_hashes, with_event_ids
from tickerlake.records.position import Position, address_of, is_ended
from tickerlake.records.repeats import REPEAT_WINDOW, RepeatWindow, repeated_origins
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
    in_calendar,
    lake_schema,
)
from tickerlake.records.strings import CODED, is_constant, united

__all__ = [
    "CODED",
    "INTERVALS",
    "KEYS",
    "KINDS",
    "LAKE_COLUMNS",
    "REPEAT_WINDOW",
    "SCHEMAS",
    "STATE_RANK",
    "TABLES",
    "TOPICS",
    "Kind",
    "Position",
    "RepeatWindow",
    "address_of",
    "conform",
    "dead_reasons",
    "in_calendar",
    "is_constant",
    "is_ended",
    "key_hashes",
    "lake_schema",
    "repeated_origins",
    "united",
    "with_event_ids",
]
