"""Symbol lists as people keep them: a file, standard input, or words.

One symbol a line, with a start date, and an end date, behind it if they are known; what follows a
`#` is a comment. A table whose header names a column `symbol` (or `ticker`) is read as well, its
`start` (or `listed`, `since`) and `end` (or `delisted`, `until`) too; other columns do not matter.

    # S&P 500, and since when
    AAPL
    META  2012-05-18   # FB before
    TWTR, 2013-11-07, 2022-10-27
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from tickerlake.errors import MalformedError, NotFoundError, UsageError

__all__ = ["Wanted", "read_list", "wanted"]

_COLUMNS: Final = {
    "symbol": ("symbol", "ticker", "ticker symbol"),
    "start": ("start", "listed", "since", "first"),
    "end": ("end", "delisted", "until", "last"),
}
_LIMITS: Final = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A symbol, and the session dates, both included, outside of which it did not trade."""

    symbol: str
    start: date | None = None
    end: date | None = None


def wanted(words: Sequence[str], *, read_stdin: Callable[[], str]) -> list[Wanted]:
    """Symbols of a command line: as they are, `@FILE` for a list, `-` for standard input.

    A symbol that is named twice counts once, with whatever dates are told of it.

    Raises:
        NotFoundError: A file that is not there.
        MalformedError: A line that cannot be read; names file and line.
        UsageError: A list without any symbol; a file's name where a symbol is meant.
    """
    found: dict[str, Wanted] = {}
    for word in words:
        for one in _of_word(word, read_stdin):
            before = found.get(one.symbol, one)
            found[one.symbol] = Wanted(one.symbol, before.start or one.start, before.end or one.end)
    return list(found.values())


def read_list(text: str, *, name: str) -> list[Wanted]:
    """The symbols of a list, in its order.

    Raises:
        MalformedError: A line that cannot be read; names the list and the line.
        UsageError: There is no symbol in it.
    """
    lines = [line.partition("#")[0].strip() for line in text.lstrip("\ufeff").splitlines()]
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line]
    header = _header(numbered[0][1]) if numbered else None
    rows = numbered[1:] if header else numbered
    found = [_read(line, header, f"{name} line {number}") for number, line in rows]
    if not found:
        raise UsageError(
            f"{name} holds no symbol.",
            expected="one symbol a line",
            found="nothing but blanks and comments" if lines else "nothing",
            todo="write at least one",
        )
    return found


def _of_word(word: str, read_stdin: Callable[[], str]) -> Iterable[Wanted]:
    if word == "-":
        return read_list(read_stdin(), name="standard input")
    if len(word) < 2 or not word.startswith("@"):
        if Path(word).suffix and Path(word).is_file():
            raise UsageError(
                f"{word} is a file, not a symbol.",
                expected="symbols",
                found=word,
                todo=f"for its bars: publish --file {word}; for the symbols in it: @{word}",
            )
        return [Wanted(word)]
    path = Path(word[1:]).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError(
            f"There is no file {path}.",
            expected="a list of symbols",
            found="nothing",
            todo=f"make it, or leave out the @ if {word} is a symbol",
        ) from error
    except UnicodeDecodeError as error:
        raise MalformedError(
            f"{path} is no text.",
            expected="UTF-8, one symbol a line",
            found=str(error),
            todo="save it as plain text",
        ) from error
    return read_list(text, name=str(path))


@dataclass(frozen=True, slots=True)
class _Header:
    limit: str
    symbol: int
    start: int | None
    end: int | None


def _header(line: str) -> _Header | None:
    """What the columns are, if the first line says so."""
    limit = next((limit for limit in _LIMITS if limit in line), ",")
    names = [name.strip().casefold() for name in next(csv.reader([line], delimiter=limit))]
    places: dict[str, int] = {}
    for column, known in _COLUMNS.items():
        place = next((names.index(name) for name in known if name in names), None)
        if place is not None:
            places[column] = place
    if "symbol" not in places:
        return None
    return _Header(limit, places["symbol"], places.get("start"), places.get("end"))


def _read(line: str, header: _Header | None, where: str) -> Wanted:
    if header is None:
        symbol, *dates = _cells(line)
        if len(dates) > 2:
            raise _unreadable(where, line)
        start, end = [*dates, "", ""][:2]
    else:
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=header.limit))]
        if header.symbol >= len(cells) or not cells[header.symbol]:
            raise _unreadable(where, line)
        symbol = cells[header.symbol]
        start, end = (
            cells[place] if place is not None and place < len(cells) else ""
            for place in (header.start, header.end)
        )
    first, last = (_day(text, line, where) for text in (start, end))
    if first is not None and last is not None and last < first:
        raise _unreadable(where, line)
    return Wanted(symbol, first, last)


def _cells(line: str) -> Iterator[str]:
    return iter([cell for cell in re.split(r"[\s,;|]+", line) if cell])


def _day(text: str, line: str, where: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise _unreadable(where, line) from error


def _unreadable(where: str, line: str) -> MalformedError:
    return MalformedError(
        f"{where} cannot be read.",
        expected="a symbol, then perhaps its first and its last day: META 2012-05-18",
        found=line[:80],
        todo="mend the line, or put a # before it",
    )
