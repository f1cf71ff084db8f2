"""The declared mapping of a foreign producer's records: `[streams.bars.mapping]` and its like.

Each key is a column of ours, and says where its values come from:

    symbol = "Index"                                            the field of that name
    open = { from = "Open", scale = 0.01 }                      times a number
    ts = { from = "Date", format = "%Y-%m-%d", zone = "UTC" }   a local time, and where it is one
    ts = { from = "t", unit = "ms" }                            a number since 1970
    symbol = { from_key = true }                                the broker's key of the record
    fetched_at = { from_time = true }                           when the broker took it in
    interval = { value = "1d" }                                 the same for all

Units and zones are stated, never guessed; what is wrong with a mapping is found before a record is
read, for otherwise a million dead letters would tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import ConfigError
from tickerlake.records import SCHEMAS, TOPICS, Kind, dead_reasons
from tickerlake.streams.conversion import PLAIN, UNITS, Unit, Written, convert
from tickerlake.streams.fields import Layout, Rule

__all__ = ["layout_of"]

_KEYS: Final = ("from", "from_key", "from_time", "value", "format", "zone", "unit", "scale")
_SOURCES: Final = ("from", "from_key", "from_time", "value")

_NOON: Final = datetime(2013, 3, 1, 12, tzinfo=UTC)

#: A record of each kind that breaks no rule: what a mapping's constants are put into.
_HEAD: Final[dict[str, Any]] = {"provider": "x", "symbol": "x", "ts": _NOON, "fetched_at": _NOON}
_SOUND: Final[dict[Kind, dict[str, Any]]] = {
    "bar": {"interval": "1d", "session": "regular", "state": "final"},
    "trade": {"price": 1.0, "ts_ns": 1},
    "quote": {"ts_ns": 1},
    "price_band": {"ts_ns": 1},
    "corporate_action": {"action": "dividend", "ex_date": _NOON.date(), "amount": 1.0}
    | {"numerator": 1.0, "denominator": 1.0, "new_symbol": "y"},
    "gap": {"gap_kind": "trade", "interval": "1m", "to_ts": _NOON.replace(hour=13)},
}

#: What a mapping need not say.
_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "fetched_at": {"from_time": True},
    "session": {"value": "regular"},
    "state": {"value": "final"},
}

#: Columns that are ours to fill.
_OURS: Final = ("kind", "event_id", "origin")


def layout_of(kind: Kind, said: Mapping[str, Any]) -> Layout:
    """The layout that a mapping declares.

    Raises:
        ConfigError: It names a column or key that there is not, leaves out what every record
            needs, does not state a zone or unit, or a constant is not a sound value.
    """
    table = f"[streams.{TOPICS[kind]}.mapping]"
    columns = [field.name for field in SCHEMAS[kind] if field.name not in _OURS]
    for name in said:
        if name not in columns:
            raise ConfigError(
                f"{table} maps {name!r}, which is no column of a {kind} that can be mapped.",
                expected=", ".join(columns),
                found=name,
                todo="write our column on the left, the producer's field on the right",
            )
    sources = {name: _DEFAULTS[name] for name in columns if name in _DEFAULTS} | dict(said)
    has_ns = "ts_ns" in SCHEMAS[kind].names
    if has_ns and "ts" in sources:
        sources.setdefault("ts_ns", sources["ts"])
    missing = [name for name in (*_HEAD, *_SOUND[kind]) if name not in sources and _needed(name)]
    if missing:
        raise ConfigError(
            f"{table} does not say where {missing[0]!r} comes from.",
            expected=f"a line for each of: {', '.join(missing)}",
            todo=f'write {missing[0]} = "FIELD", or {missing[0]} = {{ value = "…" }}',
        )
    rules = [
        _rule(field, sources[field.name], f"{table} {field.name}")
        if field.name in sources
        else Rule(field)
        for field in SCHEMAS[kind]
    ]
    if has_ns and "ts_ns" not in said:  # the time itself, to the nanosecond
        place = SCHEMAS[kind].get_field_index("ts_ns")
        rules[place] = replace(rules[place], written=replace(rules[place].written, instant=True))
    _check_constants(kind, rules, table)
    return Layout(kind, tuple(rules), foreign=True)


def _needed(name: str) -> bool:
    return name not in {"amount", "numerator", "denominator", "new_symbol"}


def _rule(field: pa.Field, said: object, where: str) -> Rule:
    given = {"from": said} if isinstance(said, str) else dict(cast("Mapping[str, Any]", said))
    unknown = [key for key in given if key not in _KEYS]
    sources = [key for key in _SOURCES if given.get(key) not in (None, False)]
    if unknown or len(sources) != 1:
        raise ConfigError(
            f"{where} does not say in one way where its values come from.",
            expected="one of from, from_key, from_time, value; beside it format, zone, unit, scale",
            found=", ".join(unknown or given) or "nothing",
            todo='write { from = "FIELD" }, or { value = … } for what is the same in all records',
        )
    written = _written(field, given, where)
    (source,) = sources
    if source == "value":
        return Rule(field, value=_constant(field, given["value"], where))
    if source == "from":
        return Rule(field, str(given["from"]), written=written)
    return Rule(field, side="key" if source == "from_key" else "time", written=written)


def _constant(field: pa.Field, value: object, where: str) -> pa.Scalar:
    try:
        return convert(pa.array([value]), field.type, PLAIN)[0]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ConfigError(
            f"{where} has a value of the wrong type.",
            expected=str(field.type),
            found=repr(value),
            todo="a time needs its zone, such as 2013-03-01T00:00:00Z",
        ) from error


def _written(field: pa.Field, given: Mapping[str, Any], where: str) -> Written:
    written = Written(
        format=given.get("format"),
        zone=given.get("zone"),
        unit=cast("Unit | None", given.get("unit")),
        scale=given.get("scale"),
    )
    _check_kind(field, written, where)
    if written.zone is not None:
        _check_zone(str(written.zone), where)
    if written.unit is not None and written.unit not in UNITS:
        raise _wrong(where, "unit", " or ".join(UNITS), written.unit)
    if written.format is not None:
        _check_format(str(written.format), where)
        instant = pa.types.is_timestamp(field.type)
        if instant and written.zone is None:
            raise ConfigError(
                f"{where} does not say in which zone its times are.",
                expected='zone = "America/New_York", "UTC" or another name of the zone database',
                found="a format without a zone",
                todo="state the zone; for bars of a day or longer it is UTC, whatever the exchange",
            )
    if pa.types.is_date(field.type) and written.unit is not None and written.zone is None:
        raise ConfigError(
            f"{where} does not say where it was that date.",
            expected='zone = "America/New_York" or another name of the zone database',
            todo="state the zone of the exchange",
        )
    return written


def _check_kind(field: pa.Field, written: Written, where: str) -> None:
    """What can be said of a number cannot be said of a time, nor of a text."""
    temporal = pa.types.is_temporal(field.type) or field.name == "ts_ns"
    number = pa.types.is_floating(field.type)
    of_times = [key for key in ("format", "zone", "unit") if getattr(written, key) is not None]
    if of_times and not temporal:
        raise _wrong(where, of_times[0], "nothing of the kind: the column holds no times", "it")
    if written.scale is not None and (
        not number or isinstance(written.scale, bool) or not isinstance(written.scale, int | float)
    ):
        raise _wrong(where, "scale", "a number, for a column of numbers", written.scale)
    if written.unit is not None and written.format is not None:
        raise _wrong(where, "unit", "either a unit or a format", "both")
    if written.unit is not None and written.zone is not None and not pa.types.is_date(field.type):
        raise _wrong(where, "zone", "no zone beside a unit: numbers since 1970 are UTC", "both")


def _check_zone(zone: str, where: str) -> None:
    try:
        ZoneInfo(zone)
        pc.assume_timezone(pa.array([0], pa.timestamp("us")), zone)
    except (KeyError, ValueError, OSError) as error:
        raise _wrong(
            where, "zone", "a name of the zone database: UTC, America/New_York", zone
        ) from error


def _check_format(format_: str, where: str) -> None:
    """A format that can be read back, and that holds at least a date."""
    sample = _NOON.replace(tzinfo=None, minute=34, second=56)
    try:
        same_day = datetime.strptime(sample.strftime(format_), format_).date() == sample.date()  # noqa: DTZ007
    except ValueError:
        same_day = False
    if not same_day or "%z" in format_.lower():
        raise _wrong(
            where,
            "format",
            "a date and perhaps a time as in strptime, such as %d/%m/%Y %H:%M:%S, without a zone "
            "(ISO 8601 needs no format)",
            format_,
        )


def _wrong(where: str, key: str, expected: str, found: object) -> ConfigError:
    return ConfigError(
        f"{where} has a {key} that cannot be used.",
        expected=expected,
        found=str(found),
        todo=f"change or remove the {key}",
    )


def _check_constants(kind: Kind, rules: list[Rule], table: str) -> None:
    """Constants stand in every record: if one breaks a rule, all records are dead."""
    row = {"kind": kind} | _HEAD | _SOUND[kind]
    row |= {rule.field.name: rule.value.as_py() for rule in rules if rule.value is not None}
    (reason,) = dead_reasons(pa.Table.from_pylist([row], SCHEMAS[kind]), kind).to_pylist()
    if reason is not None:
        raise ConfigError(
            f"{table} has a constant with which no record would be sound.",
            expected="values that the rules of the kind allow",
            found=reason,
            todo="change the value",
        )
