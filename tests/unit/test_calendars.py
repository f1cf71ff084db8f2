"""Exchange sessions."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pytest

from tickerlake import calendars
from tickerlake.calendars import calendar_for, sessions


@pytest.mark.parametrize(
    ("code", "calendar"),
    [("NMS", "XNYS"), ("nyq", "XNYS"), ("GER", "XETR"), ("CCC", "24/7"), ("XTKS", "XTKS"),
     ("HKG", "XHKG"), ("NOBODY", None), (None, None), ("", None)],
)  # fmt: skip
def test_codes_lead_to_calendars(code: str | None, calendar: str | None) -> None:
    """Yahoo's codes and common ones lead to a calendar; an unknown one to none."""
    assert calendar_for(code) == calendar


def test_every_calendar_of_the_map_exists() -> None:
    """Each name that the map leads to is one that exchange-calendars has."""
    import exchange_calendars

    assert set(calendars._BY_CALENDAR) <= set(exchange_calendars.get_calendar_names())


def test_sessions_know_holidays_half_days_and_daylight_saving() -> None:
    """Thanksgiving is closed and the day after closes early; opens move with daylight saving."""
    found = {
        session.date: session for session in sessions("XNYS", date(2024, 11, 1), date(2024, 11, 29))
    }
    assert date(2024, 11, 28) not in found
    assert found[date(2024, 11, 29)].close == datetime(2024, 11, 29, 18, tzinfo=UTC)
    assert found[date(2024, 11, 1)].open == datetime(2024, 11, 1, 13, 30, tzinfo=UTC)
    assert found[date(2024, 11, 4)].open == datetime(2024, 11, 4, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize("calendar", [None, "XNYS"])
def test_where_no_calendar_reaches_every_day_may_trade(calendar: str | None) -> None:
    """Without a calendar, and outside its bounds, each day is a session of 24 hours."""
    found = sessions(calendar, date(1990, 1, 6), date(1990, 1, 8))
    assert [session.date.day for session in found] == [6, 7, 8]
    assert all(session.close - session.open == timedelta(days=1) for session in found)


def test_a_range_over_the_edge_is_in_order() -> None:
    """Days before the calendar's first session come before its own, none twice."""
    found = [session.date for session in sessions("XNYS", date(2000, 1, 1), date(2010, 1, 1))]
    assert found == sorted(set(found))
    assert sessions("XNYS", date(2024, 1, 2), date(2024, 1, 1)) == []


def test_importing_the_room_imports_no_calendar() -> None:
    """exchange-calendars takes a second to import, so that happens at first use only."""
    code = "import sys, tickerlake.calendars; print('exchange_calendars' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
