"""One query of a daily series, answered five times over ten days: what is sent each time."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from tickerlake.publish.news import new_actions, new_bars
from tickerlake.query.duckdb import newest_rows
from tickerlake.records import SCHEMAS, Kind
from tickerlake.sources.yahoo import YahooSource
from yahoo_double import at, chart, encoded

SESSIONS = [
    day
    for day in (date(2025, 2, 18) + timedelta(days=n) for n in range(200))
    if day.weekday() < 5 and day not in (date(2025, 4, 18), date(2025, 5, 26), date(2025, 6, 19))
]
EX_DATE = date(2025, 8, 21)


def opening(day: date) -> str:
    """New York opens at 13:30 UTC in summer, and did at 14:30 until 9 March."""
    return f"{day}T{'13:30' if day >= date(2025, 3, 9) else '14:30'}"


def answer(
    last: date,
    traded: str,
    *,
    days: int,
    moved: dict[date, float] | None = None,
    settled: bool = False,
) -> bytes:
    """The newest days up to `last`, whose bar carries the time of the last trade until it settled.

    Some volumes moved since.

    `adj_close` of everything before a dividend is scaled by it, and jitters a little.
    """
    shown = [day for day in SESSIONS if day <= last][-days:]
    volumes = {day: 1_000.0 + at_ for at_, day in enumerate(SESSIONS)} | (moved or {})
    rows = {
        opening(day) if day != last or settled else traded: (10.0, 12.0, 9.0, 11.0, volumes[day])
        for day in shown
    }
    paid = {"date": at(opening(EX_DATE)), "amount": 0.83}
    body: dict[str, Any] = chart(
        rows,
        symbol="MSFT",
        last_trade=traded,
        regular=(f"{last}T13:30", f"{last}T20:00"),
        events={"dividends": {"1": paid}} if last >= EX_DATE else None,
    )
    adjusted = [11.0 * (0.99836 if last >= EX_DATE else 1 - 8e-8) for _ in shown]
    body["chart"]["result"][0]["indicators"]["adjclose"] = [{"adjclose": adjusted}]
    return encoded(body)


def play(answers: list[tuple[str, bytes]]) -> list[dict[str, int]]:
    """What each answer sends, by state, over what those before it sent."""
    known = {kind: SCHEMAS[kind].empty_table() for kind in KINDS_}
    sent = []
    for received, payload in answers:
        when = datetime.fromisoformat(received).replace(tzinfo=UTC)
        given = YahooSource().parse(payload, received_at=when)
        actions = pa.concat_tables([known["corporate_action"], given.actions])
        news = new_bars(given.bars, known["bar"], actions).table
        happened = new_actions(given.actions, known["corporate_action"]).table
        sent.append(dict(Counter(news["state"].to_pylist())))
        known = {"bar": grown(known["bar"], news, "bar")} | {
            "corporate_action": grown(known["corporate_action"], happened, "corporate_action")
        }
    return sent


KINDS_: tuple[Kind, Kind] = ("bar", "corporate_action")


def grown(known: pa.Table, news: pa.Table, kind: Kind) -> pa.Table:
    newest = newest_rows(pa.concat_tables([known, news]), kind)
    return newest.select(SCHEMAS[kind].names).cast(SCHEMAS[kind])


def test_a_series_asked_for_five_times_is_sent_as_it_lives() -> None:
    """125, 2, 1, 7 and 2 records: no bar too early final, none sent twice, no false alarm."""
    friday, monday = date(2025, 8, 15), date(2025, 8, 25)
    closed = "2025-08-15T20:00:01"
    overnight = {friday: 9_000.0}
    later = {friday: 9_500.0, date(2025, 8, 22): 8_000.0}
    sent = play(
        [
            # The session runs: its bar is stamped with the last trade.
            ("2025-08-15T17:36", answer(friday, "2025-08-15T17:35", days=125)),
            # Just after the close; Thursday's bar is now certain.
            ("2025-08-15T20:05", answer(friday, closed, days=125)),
            # Hours later the same bar has its session's stamp, and another volume.
            ("2025-08-16T02:34", answer(friday, closed, days=125, moved=overnight, settled=True)),
            # Ten days later, after a dividend that scaled every older adj_close.
            ("2025-08-25T17:36", answer(monday, "2025-08-25T17:35", days=126, moved=later)),
            ("2025-08-25T20:05", answer(monday, "2025-08-25T20:00:01", days=125, moved=later)),
        ]
    )
    assert sent == [
        {"final": 123, "provisional": 1, "forming": 1},
        {"final": 1, "provisional": 1},
        {"provisional": 1},
        {"final": 5, "provisional": 1, "forming": 1},
        {"final": 1, "provisional": 1},
    ]


def test_asking_once_more_sends_nothing() -> None:
    """An answer that comes twice is news once, though its adj_close jitters."""
    payload = answer(date(2025, 8, 15), "2025-08-15T20:00:01", days=30)
    assert play([("2025-08-15T20:05", payload), ("2025-08-15T20:07", payload)])[1] == {}
