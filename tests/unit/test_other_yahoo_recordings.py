"""Recordings of Yahoo in other forms than those we saw."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tickerlake.sources import Answer, open_source
from yahoo_double import at, chart
from yahoo_pricing import pricing

GOOD = (10.0, 11.0, 9.0, 10.5, 100.0)
DAYS = {"2024-02-29T14:30": GOOD, "2024-03-01T14:30": GOOD}
FIRST = at("2024-02-29T14:30")


def parsed(document: object, **told: Any) -> Answer:
    text = document if isinstance(document, str | bytes) else json.dumps(document)
    payload = text.encode() if isinstance(text, str) else text
    return open_source("yahoo").parse(payload, **told)


def actions(answer: Answer) -> list[tuple[Any, ...]]:
    names = ("action", "ex_date", "amount")
    columns = (answer.actions[name].to_pylist() for name in names)
    return [(a, str(day), amount) for a, day, amount in zip(*columns, strict=True)]


@pytest.mark.parametrize("form", ["marked", "shell", "packed", "pretty", "beside its address"])
def test_charts_in_every_form(form: str) -> None:
    """However it was written down, an answer gives the same two days."""
    text = json.dumps(chart(DAYS))
    payload: Any = {
        "marked": text.encode("utf-8-sig"),
        "shell": text.encode("utf-16"),
        "packed": gzip.compress(text.encode("utf-8-sig")),
        "pretty": json.dumps(chart(DAYS), indent=1),
        "beside its address": {"url": "https://x/v8/finance/chart/ACME", "status": 200,
                               "headers": {}, "body": text},
    }[form]  # fmt: skip
    assert parsed(payload).bars["close"].to_pylist() == [10.5, 10.5]


def test_dividends_of_one_day_add_up() -> None:
    """A regular and a special one are their sum, to the last digit; one told twice counts once."""
    told = {
        "1": {"amount": 0.24, "date": FIRST},
        "2": {"amount": 0.1, "date": str(FIRST)},
        "3": {"amount": "0.1", "date": float(FIRST)},
    }
    gains = {"1": {"amount": 1.5, "date": FIRST}}
    answer = parsed(chart(DAYS, events={"dividends": told, "capitalGains": gains}))
    assert actions(answer) == [
        ("capital_gain", "2024-02-29", 1.5),
        ("dividend", "2024-02-29", 0.34),
    ]


def test_events_of_weeks_are_left_out_with_a_note() -> None:
    """Coarse answers lay them under wrong days: they are not lost silently."""
    events = {"dividends": {"1": {"amount": 0.24, "date": FIRST}}}
    told = chart({"2024-02-26T05:00": GOOD}, dataGranularity="1wk", events=events)
    answer = parsed(told)
    assert not actions(answer)
    note = "ACME 1wk: its events were left out, which only 1d tells of the right days"
    assert note in answer.notes


@pytest.mark.parametrize(
    ("document", "note"),
    [
        ({"quoteSummary": {"result": [{}], "error": None}}, "a quote summary, no records"),
        ({"spark": {"result": [], "error": None}}, "sparklines, no records"),
        ({"finance": {"result": [{"quotes": []}], "error": None}},
         "search or screener results, no records"),
        ({"timeseries": {"result": [], "error": None}}, "fundamentals, no records"),
        ({"ResultSet": {"Result": []}}, "completions of what one types, no records"),
    ],
)  # fmt: skip
def test_answers_without_records_say_what_they_are(document: object, note: str) -> None:
    """None is an error: Yahoo answers much that is no history."""
    assert parsed(document).notes == (note,)


def test_frames_of_the_streamer_in_every_form() -> None:
    """One a line, in an array, printed prettily, bare as the first version sent them."""
    frames = [pricing(id="ACME", price=10.5, time_ms=FIRST * 1000 + n) for n in (0, 1000)]
    bare = [json.loads(frame)["message"] for frame in frames]
    for payload in (
        "\n".join(frames),
        f"[{','.join(frames)}]",
        "\n".join(json.dumps(json.loads(frame), indent=2) for frame in frames),
        "\n".join(bare),
        gzip.compress("\r\n".join(frames).encode()),
    ):
        trades = parsed(payload).ticks["trade"]
        assert set(trades["price"].to_pylist()) == {10.5}
        assert trades["symbol"].to_pylist() == ["ACME"] * trades.num_rows
    assert parsed(bare[0]).ticks["trade"].num_rows == 1
