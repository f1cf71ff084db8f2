"""Lists of symbols as people keep them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tickerlake.errors import MalformedError, NotFoundError, UsageError
from tickerlake.search.universe import Wanted, read_list, wanted

LIST = """\ufeff# some, and since when

AAPL
META  2012-05-18   # FB before
TWTR, 2013-11-07, 2022-10-27
BRK.B;1996-05-09
"""


def nothing() -> str:
    raise AssertionError("standard input was not asked for")


def test_a_list_has_symbols_dates_and_comments() -> None:
    """Blank lines and comments are passed over; dates stand behind their symbol."""
    assert read_list(LIST, name="list") == [
        Wanted("AAPL"),
        Wanted("META", date(2012, 5, 18)),
        Wanted("TWTR", date(2013, 11, 7), date(2022, 10, 27)),
        Wanted("BRK.B", date(1996, 5, 9)),
    ]


def test_a_table_with_a_header_is_a_list_too() -> None:
    """Columns are found by name, wherever they stand; names with commas do not confuse."""
    text = 'Security,Symbol,Listed\n"Apple, Inc.",AAPL,1980-12-12\nMeta,META,\n'
    assert read_list(text, name="t") == [Wanted("AAPL", date(1980, 12, 12)), Wanted("META")]


def test_words_files_and_standard_input_are_one_list(tmp_path: Path) -> None:
    """A symbol that is named twice counts once, with the date that one of them tells."""
    path = tmp_path / "sp.txt"
    path.write_text(LIST)
    found = wanted(["META", f"@{path}", "-"], read_stdin=lambda: "MSFT\nAAPL 1980-12-12\n")
    assert [one.symbol for one in found] == ["META", "AAPL", "TWTR", "BRK.B", "MSFT"]
    assert found[0].start == date(2012, 5, 18)
    assert found[1].start == date(1980, 12, 12)
    assert wanted(["AAPL", "@"], read_stdin=nothing) == [Wanted("AAPL"), Wanted("@")]


@pytest.mark.parametrize(
    "line", ["AAPL yesterday", "AAPL 2020-02-30", "A 2020-01-02 2019-01-02", "AAPL MSFT GOOG NVDA"]
)
def test_a_line_that_cannot_be_read_is_named(line: str) -> None:
    """File and line, what was found, and what to do."""
    with pytest.raises(MalformedError, match=r"list line 2 cannot be read") as told:
        read_list(f"IBM\n{line}\n", name="list")
    assert told.value.found == line


def test_what_is_no_list_says_so(tmp_path: Path) -> None:
    """A file that is not there, one that holds nothing, one that is no text."""
    with pytest.raises(NotFoundError, match="no file"):
        wanted([f"@{tmp_path / 'none.txt'}"], read_stdin=nothing)
    with pytest.raises(UsageError, match="no symbol"):
        read_list("# nothing\n\n", name="list")
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MalformedError, match="no text"):
        wanted([f"@{tmp_path / 'b'}"], read_stdin=nothing)


def test_a_files_name_is_no_symbol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No provider is asked for `bars.csv`: its bars have an option, its symbols a sign."""
    monkeypatch.chdir(tmp_path)
    assert wanted(["bars.csv"], read_stdin=nothing) == [Wanted("bars.csv")]
    Path("bars.csv").write_text("symbol\nAAPL\n")
    with pytest.raises(UsageError, match=r"--file bars\.csv.*@bars\.csv"):
        wanted(["AAPL", "bars.csv"], read_stdin=nothing)
    assert wanted(["@bars.csv"], read_stdin=nothing) == [Wanted("AAPL")]
