"""Which symbols and times a query can need, read from its syntax tree, so that files are skipped.

Only a hint, and never a wrong one: whatever is not understood narrows nothing, and the engine
filters every row again. Understood are conditions joined by AND, on the columns symbol and ts
against literals, where the view stands alone in FROM and stands nowhere else in the query.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from tickerlake.query.sandbox import Checked, Tree, walk

__all__ = ["EVERYTHING", "Wanted", "wanted"]

_FLIPPED: Final = {
    "COMPARE_EQUAL": "COMPARE_EQUAL",
    "COMPARE_LESSTHAN": "COMPARE_GREATERTHAN",
    "COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO",
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN",
    "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
}
_INSTANTS: Final = frozenset({"TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP", "DATE"})
_TICK: Final = timedelta(microseconds=1)
_LAST: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Rows outside this cannot be in the answer. Null: no bound. `ts_to` is excluded."""

    symbols: frozenset[str] | None = None
    ts_from: datetime | None = None
    ts_to: datetime | None = None

    def __and__(self, other: Wanted) -> Wanted:
        symbols = self.symbols
        if other.symbols is not None:
            symbols = other.symbols if symbols is None else symbols & other.symbols
        starts = [t for t in (self.ts_from, other.ts_from) if t is not None]
        ends = [t for t in (self.ts_to, other.ts_to) if t is not None]
        return Wanted(symbols, max(starts, default=None), min(ends, default=None))


EVERYTHING: Final = Wanted()


def wanted(checked: Checked, view: str) -> Wanted:
    """What of `view`, or of the table function of that name, the query can need."""
    times = sum(_named(item) == view for item in walk(checked.tree))
    if times != 1 or _is_shadowed(checked.tree, view):
        return EVERYTHING
    for item in walk(checked.tree):
        source = item.get("from_table")
        if (
            item.get("type") == "SELECT_NODE"
            and isinstance(source, dict)
            and _named(source) == view
            and not source.get("column_name_alias")  # `bars as b(a, b)` gives names anew
        ):
            alias = str(source.get("alias") or view).lower()
            found = EVERYTHING
            for condition in _conjuncts(item.get("where_clause")):
                found = found & _of_condition(condition, alias)
            return found
    return EVERYTHING


def _named(item: Tree) -> str | None:
    """The name of a table or table function."""
    if item.get("type") == "BASE_TABLE":
        return str(item.get("table_name")).lower()
    if item.get("type") == "TABLE_FUNCTION":
        return str(item["function"]["function_name"]).lower()
    return None


def _is_shadowed(tree: Tree, view: str) -> bool:
    """A common table expression has the view's name."""
    return any(
        str(entry.get("key")).lower() == view
        for item in walk(tree)
        if isinstance(item.get("cte_map"), dict)
        for entry in item["cte_map"].get("map", [])
    )


def _conjuncts(clause: object) -> Iterator[Tree]:
    if not isinstance(clause, dict):
        return
    if clause.get("type") == "CONJUNCTION_AND":
        for child in clause.get("children", []):
            yield from _conjuncts(child)
    else:
        yield clause


def _of_condition(condition: Tree, alias: str) -> Wanted:
    kind = condition.get("type")
    if kind == "COMPARE_BETWEEN":
        if _column(condition.get("input"), alias) == "ts":
            low = _bounds("COMPARE_GREATERTHANOREQUALTO", _instant(condition.get("lower")))
            high = _bounds("COMPARE_LESSTHANOREQUALTO", _instant(condition.get("upper")))
            return low & high
        return EVERYTHING
    if kind == "COMPARE_IN":
        column, *values = condition.get("children", [None])
        texts = [_text(value) for value in values]
        if _column(column, alias) == "symbol" and None not in texts:
            return Wanted(symbols=frozenset(t for t in texts if t is not None))
        return EVERYTHING
    if kind not in _FLIPPED:
        return EVERYTHING
    left, right = condition.get("left"), condition.get("right")
    if _column(left, alias) is None:
        kind, left, right = _FLIPPED[kind], right, left
    column = _column(left, alias)
    if column == "ts":
        return _bounds(kind, _instant(right))
    text = _text(right)
    if column == "symbol" and kind == "COMPARE_EQUAL" and text is not None:
        return Wanted(symbols=frozenset({text}))
    return EVERYTHING


def _bounds(kind: str, instant: datetime | None) -> Wanted:
    if instant is None:
        return EVERYTHING
    found = Wanted()
    if "LESS" not in kind:
        found = replace(found, ts_from=instant)
    if "GREATER" not in kind:
        # One tick more than asked serves both < and <=: files hold more than one row.
        found = replace(found, ts_to=instant + _TICK if instant < _LAST else None)
    return found


def _column(item: object, alias: str) -> str | None:
    if not isinstance(item, dict) or item.get("type") != "COLUMN_REF":
        return None
    *before, name = [str(part).lower() for part in item.get("column_names", [""])]
    return name if before in ([], [alias]) else None


def _text(item: object) -> str | None:
    if not isinstance(item, dict) or item.get("type") != "VALUE_CONSTANT":
        return None
    literal = item.get("literal")
    if not isinstance(literal, dict) or literal.get("kind") != "STRING":
        return None
    return str(literal.get("text"))


def _instant(item: object) -> datetime | None:
    """The instant of a literal, or of a literal cast to a date or timestamp."""
    cast = None
    if isinstance(item, dict) and item.get("type") == "OPERATOR_CAST":
        cast = str(item.get("type_expr", {}).get("type_name", "")).upper()
        item = item.get("child")
    text = _text(item)
    if text is None or (cast is not None and cast not in _INSTANTS):
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    if instant.tzinfo is None:
        # Queries run with the session's zone set to UTC.
        return instant.replace(tzinfo=UTC) if cast != "DATE" or len(text) == 10 else None
    try:
        return instant.astimezone(UTC) if cast in {None, "TIMESTAMPTZ"} else None
    except OverflowError:  # an edge of time that no bar reaches
        return None
