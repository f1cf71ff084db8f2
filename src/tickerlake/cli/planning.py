"""A plan as people and programs read it, before anything is asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from tickerlake.cli.output import Output, counted

if TYPE_CHECKING:
    from tickerlake.cache import Part, Plan, Planned
    from tickerlake.sources import Limits

__all__ = ["tell_plans", "with_changes"]

_UNITS = (("a second", 1), ("a minute", 60), ("an hour", 3600), ("a day", 86_400))


def tell_plans(plans: Sequence[tuple[Plan, Limits]], output: Output) -> None:
    """How many requests to which host, what is cached, what is out of reach and why, and the cost.

    With `--json` an array of one object a symbol. Of symbols that one request asks for together,
    the first one counts it.
    """
    items = [(item, limits) for plan, limits in plans for item in plan.items]
    if output.json_mode:
        output.document([_object(item, limits) for item, limits in items])
        return
    columns = ("symbol", "interval", "asked for", "cached", "requests", "bytes", "seconds")
    output.table(columns, [_row(item) for item, _ in items])
    for item, _ in items:
        for part in item.out_of_reach:
            output.note(f"{item.request.symbol}: out of reach: {_span(part)}: {part.why}")
    for plan, limits in plans:
        for host in sorted({item.host for item in plan.items}):
            count = _between(plan.requests_min, plan.requests_max)
            output.note(f"{host}: {count}{_pace(limits)}")
    size = _size(sum(plan.bytes for plan, _ in plans))
    output.note(f"In all about {size} and {sum(plan.seconds for plan, _ in plans):,.0f} s.")
    output.note("Nothing was asked for.")


def with_changes(plan: Plan, may_ask: Callable[[str, str], int]) -> Plan:
    """The plan with what it may take to learn what became of a symbol that has ended.

    `may_ask(source, symbol)` says how many requests that can be.
    """
    items = []
    for item in plan.items:
        more = may_ask(item.source, item.request.symbol) if item.asks else 0
        items.append(dataclasses.replace(item, requests_max=item.requests_max + more))
    return dataclasses.replace(plan, items=tuple(items))


def _object(item: Planned, limits: Limits) -> dict[str, Any]:
    request = item.request
    return {
        "source": item.source,
        "host": item.host,
        "symbol": request.symbol,
        "interval": request.interval,
        "start": request.start,
        "end": request.end,
        "requests": item.requests_max,
        "requests_min": item.requests_min,
        "requests_max": item.requests_max,
        "asks": [{"start": ask.start, "end": ask.end} for ask in item.asks],
        "cached": [_part(part) for part in item.cached],
        "out_of_reach": [_part(part) | {"why": part.why} for part in item.out_of_reach],
        "bytes": item.bytes,
        "seconds": item.seconds,
        "days_per_request": limits.span_days.get(request.interval),
        "look_back_days": limits.look_back_days.get(request.interval),
    }


def _part(part: Part) -> dict[str, Any]:
    return {"start": part.start, "end": part.end}


def _row(item: Planned) -> tuple[Any, ...]:
    request = item.request
    asked = f"{_edge(request.start) or 'as far as it goes'} … {_edge(request.end) or 'now'}"
    return (
        request.symbol,
        request.interval,
        asked,
        _first_of([_span(part) for part in item.cached]),
        _few(item.requests_min, item.requests_max),
        _size(item.bytes),
        round(item.seconds, 1),
    )


def _edge(edge: date | datetime | None) -> str:
    """A day, or an instant of UTC."""
    if isinstance(edge, datetime):
        return f"{edge.astimezone(UTC):%Y-%m-%d %H:%M}Z"
    return "" if edge is None else edge.isoformat()


def _first_of(spans: Sequence[str]) -> str:
    more = f" and {len(spans) - 1} more" if len(spans) > 1 else ""
    return f"{spans[0]}{more}" if spans else "nothing"


def _span(part: Part) -> str:
    return f"{_moment(part.start)} … {_moment(part.end)}"


def _moment(instant: datetime) -> str:
    midnight = (instant.hour, instant.minute, instant.second) == (0, 0, 0)
    return f"{instant:%Y-%m-%d}" if midnight else f"{instant:%Y-%m-%d %H:%M}Z"


def _few(low: int, high: int) -> str | int:
    return low if low == high else f"{low} to {high}"


def _between(low: int, high: int) -> str:
    return counted(low, "request") if low == high else f"{low:,} to {high:,} requests"


def _pace(limits: Limits) -> str:
    pace = limits.requests_per_second
    if pace is None:
        return ""
    unit, seconds = next((name, of) for name, of in _UNITS if pace * of >= 1 or of == 86_400)
    return f", at most {pace * seconds:.6g} {unit}"


def _size(bytes_: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if bytes_ >= size:
            return f"{bytes_ / size:.1f} {unit}"
    return f"{bytes_} B"
