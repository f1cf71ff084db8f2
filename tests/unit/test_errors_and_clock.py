"""The error tree and the clock."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta

import pytest

from tickerlake import clock, errors


def test_a_message_says_expected_found_and_what_to_do() -> None:
    """Each part of a message stands on a line of its own, and survives a trip between processes."""
    error = errors.RangeError("No.", expected="a", found="b", todo="c")
    assert str(error) == "No.\n  expected: a\n  found: b\n  what to do: c"
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is errors.RangeError
    assert str(again) == str(error)


def test_no_message_tells_a_password() -> None:
    """An address in any part of a message is shown without its password."""
    address = "postgresql://me:geheim@host:5432/db"
    error = errors.ConfigError(f"No {address}.", expected=address, found=address, todo=address)
    assert "geheim" not in str(error) + str(error.args)
    assert str(error).count("postgresql://me:••••@host:5432/db") == 4


def test_the_storys_clock_starts_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """`TICKERLAKE_NOW` starts the story's clock; the machine's clock does not care."""
    monkeypatch.setenv("TICKERLAKE_NOW", "2013-03-01T15:00:00Z")
    clock._offset.cache_clear()
    start = datetime(2013, 3, 1, 15, tzinfo=UTC)
    assert start <= clock.now() < start + timedelta(minutes=1)
    assert clock.real_now().year > 2013
    assert clock.pinned_now() == "2013-03-01T15:00:00Z"


@pytest.mark.parametrize(
    "text",
    ["2013-03-01T15:00:00", "yesterday", "2013-13-01T00:00:00Z", "0001-01-01T00:00:00+05:00"],
)
def test_a_time_without_a_zone_is_refused(text: str) -> None:
    """A naive or unreadable timestamp is a RangeError that says what to write."""
    with pytest.raises(errors.RangeError, match="what to do"):
        clock.parse_instant(text)


def test_a_date_alone_is_told_how_to_become_an_instant() -> None:
    """What the message tells a user to write is accepted."""
    with pytest.raises(errors.RangeError, match="write 2013-03-01T00:00:00Z if"):
        clock.parse_instant("2013-03-01")
