"""Write the tables of the docs that are data: settings, and what sources allow.

scripts/settings.py            writes them between the marks of each page: docs/configuration.md,
                               docs/sources.md and docs/sources/NAME.md, which it begins if need be
scripts/settings.py --check    exits 1 where a page says something else, and names it
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

from setting_tables import meanings_of, written
from source_pages import pages

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


SETTINGS = {setting.name: setting for setting in every_setting()}


def main() -> int:
    """Write or check the pages."""
    page = PAGE.read_text()
    made = {PAGE: BETWEEN.sub(lambda _: "\n".join(tables(Settings, "", {})), page), **dict(pages())}
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        for path in stale:
            sys.stderr.write(f"{path} is not what the data say: run scripts/settings.py\n")
        return int(bool(stale))
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(made[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
