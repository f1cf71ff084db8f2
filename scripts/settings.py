"""Write the tables of docs/configuration.md from the settings themselves.

scripts/settings.py            writes them between the page's two marks
scripts/settings.py --check    exits 1 where the page says something else
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

from tickerlake.config.settings import Settings, every_setting, variable_of

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
BETWEEN = re.compile(r"(?<=<!-- settings -->\n).*?(?=<!-- /settings -->)", re.DOTALL)


def tables(room: type[Any], name: str, said: dict[type, str]) -> Iterator[str]:
    """One table a room, then those of the tables inside it; one class is told once."""
    first = room in said and said[room]
    if first:
        yield f"### `[{name}]`: the same keys as `[{first}]`, `{variable_of(name)}_…`\n"
        return
    said[room] = name
    hints = get_type_hints(room)
    meanings = meanings_of(room)
    own = [key.name for key in dataclasses.fields(room) if is_key(hints[key.name], key.name)]
    if own:
        yield f"### {title(room, name)}\n"
        yield "| key | variable | default | meaning |\n|---|---|---|---|"
        for key in own:
            setting = SETTINGS[f"{name}.{key}" if name else key]
            variable = f"`{variable_of(setting.name)}`"
            if setting.secret:
                variable += f" or `{variable_of(setting.name)}_FILE`"
            yield f"| `{key}` | {variable} | {written(setting.default)} | {meanings[key]} |"
        yield ""
    for key, hint in hints.items():
        if dataclasses.is_dataclass(hint):
            yield from tables(hint, f"{name}.{key}" if name else key, said)


def is_key(hint: object, name: str) -> bool:
    """Neither a table, nor the sources, which have a chapter of their own."""
    return not dataclasses.is_dataclass(hint) and name != "sources"


def title(room: type[Any], name: str) -> str:
    """The first sentence of the room's docstring, which names the table itself."""
    said = " ".join((inspect.getdoc(room) or "").partition("\n\n")[0].split())
    return said if name else "Top level"


def meanings_of(room: type[Any]) -> dict[str, str]:
    """The `#:` comments above each field."""
    meanings: dict[str, str] = {}
    comment: list[str] = []
    for line in inspect.getsource(room).splitlines():
        text = line.strip()
        if text.startswith("#:"):
            comment.append(text.removeprefix("#:").strip())
        elif (field := re.match(r"(\w+): ", text)) is not None:
            meanings[field[1]] = " ".join(comment)
            comment = []
    return meanings


def written(value: object) -> str:
    """A default as a reader would write it."""
    if value is None or value in ({}, ()):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:_}" if value >= 10_000 else str(value)
    if isinstance(value, float):
        return str(value)
    return f"`{value}`" if value else '`""`'


SETTINGS = {setting.name: setting for setting in every_setting()}


def main() -> int:
    """Write or check the page."""
    page = PAGE.read_text()
    made = BETWEEN.sub(lambda _: "\n".join(tables(Settings, "", {})), page)
    if "--check" in sys.argv:
        if made != page:
            sys.stderr.write(
                "docs/configuration.md is not what the settings say: run scripts/settings.py\n"
            )
        return int(made != page)
    PAGE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
