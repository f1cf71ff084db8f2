"""What the pages about sources say that is data: tables between marks, one page per provider.

`scripts/settings.py` writes and checks them: limits, settings, and the list of all providers.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from setting_tables import meanings_of, written

from tickerlake.config.settings import default_of, is_secret, variable_of
from tickerlake.sources import (
    Batches,
    Limits,
    Lists,
    Live,
    Renames,
    Searches,
    Source,
    Ticks,
    names,
    open_source,
)
from tickerlake.sources.http import HttpSettings

DOCS = Path(__file__).resolve().parents[1] / "docs"
INDEX = DOCS / "sources.md"
COMMON = "sources.md#settings-common-to-all"


def pages() -> Iterator[tuple[Path, str]]:
    """Each page, and its text as it should be. A page that is not there yet is begun."""
    sources = [open_source(name) for name in names()]
    index = filled(INDEX.read_text(), "providers", providers(sources))
    yield INDEX, filled(index, "settings", common_settings())
    for source in sources:
        path = DOCS / "sources" / f"{source.name}.md"
        text = path.read_text() if path.exists() else begun(source)
        text = filled(text, "limits", limits_of(source))
        yield path, filled(text, "settings", settings_of(source))


def filled(text: str, mark: str, lines: Iterator[str]) -> str:
    """The text with other lines between `<!-- mark -->` and `<!-- /mark -->`."""
    first, last = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    if first not in text or last not in text:
        raise SystemExit(f"a page has no {first.strip()} … {last}: {text.partition(chr(10))[0]}")
    between = re.compile(f"(?<={re.escape(first)}).*?(?={re.escape(last)})", re.DOTALL)
    made = "".join(f"{line}\n" for line in lines)
    return between.sub(lambda _: made, text)


def begun(source: Source) -> str:
    """A page with nothing but its marks."""
    marks = "\n".join(
        f"## {title}\n\n<!-- {mark} -->\n<!-- /{mark} -->\n"
        for title, mark in (("Limits", "limits"), ("Settings", "settings"))
    )
    return f"# {source.name}\n\n{summary(source)}\n\n{marks}"


def summary(source: Source) -> str:
    """The first line of the class's docstring."""
    return (inspect.getdoc(type(source)) or "").partition("\n")[0]


def providers(sources: list[Source]) -> Iterator[str]:
    """All providers, a row each."""
    yield "| provider | what | history | live | search | key |"
    yield "|---|---|---|---|---|---|"
    for source in sources:
        limits = source.limits
        search = "yes" if isinstance(source, Searches) else "no"
        key = "yes" if limits.needs_key else "no"
        yield (
            f"| [{source.name}](sources/{source.name}.md) | {summary(source)} "
            f"| {kinds(limits.history)} | {kinds(limits.live)} | {search} | {key} |"
        )


def limits_of(source: Source) -> Iterator[str]:
    """Intervals that are limited alike share a row; below them what holds for all."""
    limits = source.limits
    yield "| interval | days per request | days back | rows per page |"
    yield "|---|---|---|---|"
    alike: dict[tuple[object, ...], list[str]] = {}
    for interval in limits.intervals:
        told = (limits.span_days, limits.look_back_days, limits.rows_per_page)
        alike.setdefault(tuple(limit.get(interval) for limit in told), []).append(interval)
    for numbers, intervals in alike.items():
        cells = (f"{number:,}" if number else "any" for number in numbers)
        yield f"| {' '.join(intervals)} | {' | '.join(cells)} |"
    yield ""
    yield "| for all intervals | |"
    yield "|---|---|"
    for what, told in facts(source, limits):
        yield f"| {what} | {told} |"


def facts(source: Source, limits: Limits) -> Iterator[tuple[str, str]]:
    """What holds for all intervals."""
    bases = {"raw": "as traded", "splits": "adjusted for splits", "all": "adjusted for all events"}
    yield "prices", bases[limits.price_basis]
    if "corporate_action" in limits.history:
        paid = {"raw": "as paid", "splits": "adjusted for splits"}
        yield "amounts of dividends", paid[limits.amount_basis]
    yield "pace", pace(limits.requests_per_second)
    if limits.requests_burst > 1:
        yield "requests at once", str(limits.requests_burst)
    yield "symbols per request", str(limits.symbols_per_request)
    yield "delay of the newest bars", f"{limits.delay_seconds:,g} s"
    yield "history", kinds(limits.history)
    yield "live", kinds(limits.live)
    if limits.live_by_name:
        yield "live where `--kinds` names it", kinds(limits.live_by_name)
    yield "identifiers that its search knows", " ".join(limits.identifiers) or "none"
    able = {"search": Searches, "list all symbols": Lists, "tell renames": Renames}
    able |= {"batches": Batches, "trades and quotes of the past": Ticks, "live": Live}
    yield "can", ", ".join(w for w, kind in able.items() if isinstance(source, kind)) or "bars only"
    yield "needs a key", "yes" if limits.needs_key else "no"


def pace(requests_per_second: float | None) -> str:
    """Requests per second, or per minute or hour where they are fewer."""
    if requests_per_second is None:
        return "none of ours"
    if requests_per_second < 1 / 60:
        return f"{requests_per_second * 3600:g} requests an hour"
    if requests_per_second < 1:
        return f"{requests_per_second * 60:g} requests a minute"
    return f"{requests_per_second:g} requests a second"


def kinds(told: tuple[str, ...]) -> str:
    """Kinds of records, as words."""
    return " ".join(told) or "none"


def common_settings() -> Iterator[str]:
    """What every source that uses HTTP understands."""
    yield "| key | default | meaning |"
    yield "|---|---|---|"
    meanings = meanings_of(HttpSettings)
    for key in dataclasses.fields(HttpSettings):
        yield f"| `{key.name}` | {written(default_of(key))} | {meanings[key.name]} |"


def settings_of(source: Source) -> Iterator[str]:
    """The provider's own settings, and those common to all that it begins with another value."""
    kind: type[Any] = type(source).settings_type  # type: ignore[attr-defined]
    common = {key.name: default_of(key) for key in dataclasses.fields(HttpSettings)}
    http = issubclass(kind, HttpSettings)
    own = [
        key
        for key in dataclasses.fields(kind)
        if not http or key.name not in common or default_of(key) != common[key.name]
    ]
    if own:
        yield f"| key of `[sources.{source.name}]` | variable | default | meaning |"
        yield "|---|---|---|---|"
    meanings = {
        name: said
        for room in reversed(kind.__mro__)
        if dataclasses.is_dataclass(room)
        for name, said in meanings_of(room).items()
        if said
    }
    for key in own:
        name = f"sources.{source.name}.{key.name}"
        variable = f"`{variable_of(name)}`"
        if is_secret(name):
            variable += f" or `{variable_of(name)}_FILE`"
        default, meaning = written(default_of(key)), meanings.get(key.name, "")
        yield f"| `{key.name}` | {variable} | {default} | {meaning} |"
    if http:
        yield ""
        yield f"And the [settings common to all](../{COMMON})."
    elif not own:
        yield "None."
