"""Which SQL may run: exactly one SELECT, or EXPLAIN of one, on views and harmless functions.

The check works on the engine's own syntax tree, never on words: what the engine would read as a
second statement, a write or a table function is refused as that. Two walls stand behind it, set
when the engine starts and locked: no file outside the lake's folders can be opened, and no
setting can be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tickerlake.errors import QueryError, QueryRefusedError

__all__ = ["Checked", "Tree", "check", "walk"]

Tree = dict[str, Any]

#: What may stand in FROM with parentheses. A list of what is allowed, because engines grow
#: functions that write, change settings or run SQL that is hidden in a string.
_TABLE_FUNCTIONS: Final = frozenset(
    {
        "bars_adjusted", "bars_as_of", "duckdb_columns", "duckdb_functions", "duckdb_keywords",
        "duckdb_types", "duckdb_views", "generate_series", "icu_calendar_names", "json_each",
        "json_tree",
        "pg_timezone_names", "pragma_table_info", "pragma_version", "range", "repeat",
        "repeat_row", "unnest",
        # These open files: the engine lets them see the lake's folders only.
        "glob", "parquet_file_metadata", "parquet_kv_metadata", "parquet_metadata",
        "parquet_scan", "parquet_schema", "read_blob", "read_csv", "read_csv_auto", "read_json",
        "read_json_auto", "read_json_objects", "read_ndjson", "read_ndjson_auto",
        "read_ndjson_objects", "read_parquet", "read_text", "sniff_csv",
    }
)  # fmt: skip

#: Nodes of a query that only read. A tree may hold others one day (data-modifying CTEs).
_NODES: Final = frozenset(
    {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE", "QUERY_NODE"}
)


@dataclass(frozen=True, slots=True)
class Checked:
    """SQL that may run, and what it names."""

    #: EXPLAIN and ANALYZE, or nothing.
    prefix: str
    #: The SELECT that was checked.
    text: str
    tree: Tree = field(repr=False)
    #: Lower-case names in FROM, views and others; how often each stands there.
    tables: dict[str, int]
    #: Lower-case names of table functions.
    functions: frozenset[str]
    #: It asks what there is (SHOW, information_schema …), so every view must exist.
    asks_catalog: bool

    @property
    def statement(self) -> str:
        """What to run: put together again from what was checked."""
        return self.prefix + self.text

    def reading(self, definitions: Mapping[str, str]) -> str | None:
        """The statement with views defined inside it, which spares the engine to bind them twice.

        Null where they must be real views: names with a schema before them, DESCRIBE and its
        like, and common table expressions of the query's own that have a view's name.
        """
        word, rest = _first_word(self.text)
        if word not in {"select", "from", "with"} or self._needs_views(definitions):
            return None
        # Not materialised: the query's own conditions must reach the files.
        views = [f"{name} as not materialized ({text})" for name, text in definitions.items()]
        if not views:
            return self.statement
        if word == "with":
            second, after = _first_word(rest)
            word, rest = ("with recursive", after) if second == "recursive" else (word, rest)
            return f"{self.prefix}{word} {', '.join(views)}, {rest}"
        return f"{self.prefix}with {', '.join(views)} {word}{rest}"

    def _needs_views(self, definitions: Mapping[str, str]) -> bool:
        for item in walk(self.tree):
            kind = item.get("type")
            if kind == "SHOW_REF":
                return True
            if kind == "BASE_TABLE" and len(item.get("qualified_name", {}).get("path", ())) != 1:
                return True
            expressions = item.get("cte_map", {}).get("map", [])
            if any(str(entry.get("key")).lower() in definitions for entry in expressions):
                return True
        return self.asks_catalog


def check(query: str, parse: Callable[[str], Tree]) -> Checked:
    """Find out what `query` is and refuse what does not only read.

    Args:
        query: SQL as the user wrote it.
        parse: Gives the engine's syntax tree (`json_serialize_sql`) of a text.

    Raises:
        QueryRefusedError: More or less than one statement, not a SELECT, or a function that is
            not on the list.
        QueryError: The engine cannot parse it.
    """
    prefix, text = _split_explain(query)
    tree = parse(text)
    if tree.get("error"):
        raise _refused(text, tree)
    statements = tree.get("statements", [])
    if len(statements) != 1:
        raise QueryRefusedError(
            f"{len(statements)} statements were given.",
            expected="exactly one SELECT, or EXPLAIN of one",
            found=_shown(query),
            todo="send one statement at a time",
        )
    return _checked(prefix, text, statements[0])


def walk(tree: object) -> Iterator[Tree]:
    """Every dictionary inside a tree, the outer before the inner."""
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _checked(prefix: str, text: str, tree: Tree) -> Checked:
    tables: dict[str, int] = {}
    functions = set()
    asks_catalog = False
    for item in walk(tree):
        kind = item.get("type")
        if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _NODES:
            raise _not_a_select(kind.removesuffix("_NODE"), text)
        if kind == "BASE_TABLE":
            name = str(item.get("table_name", "")).lower()
            tables[name] = tables.get(name, 0) + 1
            asks_catalog |= _is_catalog(item)
        elif kind == "SHOW_REF":
            asks_catalog |= "query" not in item
        elif kind == "TABLE_FUNCTION":
            functions.add(str(item["function"]["function_name"]).lower())
    asks_catalog |= any(name.startswith(("duckdb_", "pragma_")) for name in functions)
    unknown = sorted(functions - _TABLE_FUNCTIONS)
    if unknown:
        raise QueryRefusedError(
            f"The table function {unknown[0]}() is not allowed here.",
            expected="a view, or one of " + ", ".join(sorted(_TABLE_FUNCTIONS)),
            found=_shown(text),
            todo="query the views; `show tables` lists them",
        )
    return Checked(prefix, text, tree, tables, frozenset(functions), asks_catalog)


def _is_catalog(table: Tree) -> bool:
    path = [str(part).lower() for part in table.get("qualified_name", {}).get("path", [])]
    path.append(str(table.get("schema_name", "")).lower())
    name = str(table.get("table_name", "")).lower()
    return (
        "information_schema" in path
        or "pg_catalog" in path
        or name.startswith(("duckdb_", "pg_", "sqlite_"))
    )


def _split_explain(query: str) -> tuple[str, str]:
    """Take EXPLAIN and ANALYZE off the front, so that the statement inside is what is checked."""
    word, rest = _first_word(query)
    if word != "explain":
        return "", query
    word, after = _first_word(rest)
    return ("EXPLAIN ANALYZE ", after) if word in {"analyze", "analyse"} else ("EXPLAIN ", rest)


def _first_word(text: str) -> tuple[str, str]:
    """The first word in lower case and what follows it; comments before it are skipped."""
    text = text.lstrip()
    while text.startswith(("--", "/*")):
        end, width = (text.find("\n"), 1) if text.startswith("--") else (text.find("*/"), 2)
        text = "" if end < 0 else text[end + width :].lstrip()
    length = next((i for i, letter in enumerate(text) if not letter.isalpha()), len(text))
    return text[:length].lower(), text[length:]


def _refused(query: str, tree: Tree) -> QueryRefusedError | QueryError:
    message = str(tree.get("error_message", ""))
    if tree.get("error_type") == "not implemented":
        word = _first_word(query)[0].upper() or "nothing"
        # What begins to read and cannot be read whole does more behind it, or is several.
        reads = word in {"SELECT", "FROM", "WITH", "VALUES"}
        return _not_a_select("more than one SELECT" if reads else word, query)
    return QueryError(
        f"This is not valid SQL: {message}.",
        expected="one SELECT, or EXPLAIN of one",
        found=_around(query, tree.get("position")),
        todo="mend the place that the message names",
    )


def _not_a_select(kind: str, query: str) -> QueryRefusedError:
    return QueryRefusedError(
        f"Only reading is allowed here, and this is {kind}.",
        expected="exactly one SELECT, or EXPLAIN of one",
        found=_shown(query),
        todo="ask with SELECT; data come in through `tickerlake publish`",
    )


def _around(query: str, position: object) -> str:
    place = int(str(position)) if position is not None else 0
    start = max(0, place - 20)
    return ("…" if start else "") + _shown(query[start:])


def _shown(query: str) -> str:
    text = " ".join(query.split())
    return text if len(text) <= 80 else text[:79] + "…"
