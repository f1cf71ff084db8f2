"""Whatever Yahoo sends, what comes out is an answer or an error of our tree."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tickerlake.errors import MalformedError, TickerlakeError
from tickerlake.sources.yahoo import YahooSource
from yahoo_double import at, chart

GOOD = (10.0, 11.0, 9.0, 10.5, 100.0)
RUNNING = {"regular": ("2024-03-01T14:30", "2024-03-01T21:00"), "last_trade": "2024-03-01T17:35"}
EVENTS = {
    "dividends": {"1": {"amount": 0.25, "date": at("2024-02-28T14:30")}},
    "splits": {"2": {"date": at("2024-02-29T14:30"), "numerator": 4, "denominator": 1}},
}
HOURS = [[{"start": at("2024-03-01T14:30"), "end": at("2024-03-01T21:00")}]]
ANSWERS = {
    "days": chart({"2024-02-29T14:30": GOOD, "2024-03-01T17:35": GOOD}, events=EVENTS, **RUNNING),
    "minutes": chart(
        {"2024-03-01T14:30": GOOD, "2024-03-01T17:35": GOOD},
        dataGranularity="1m", tradingPeriods=HOURS, **RUNNING,
    ),
    "weeks": chart(
        {"2024-02-26T05:00": GOOD, "2024-03-01T17:35": GOOD}, dataGranularity="1wk", **RUNNING
    ),
}  # fmt: skip
JUNK = (None, "x", -1, 1e300, 10**30, [], {}, [None], [[1]], True, {"a": 1}, "gone")


def paths(tree: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every value stands."""
    if path:
        yield path
    for key in (
        tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    ):
        yield from paths(tree[key], (*path, key))  # type: ignore[index]


def spoilt(tree: object, path: tuple[Any, ...], junk: object) -> bytes:
    """The answer with one value replaced, or gone."""
    changed = part = copy.deepcopy(tree)
    for key in path[:-1]:
        part = part[key]  # type: ignore[index]
    if junk == "gone":
        del part[path[-1]]  # type: ignore[attr-defined]
    else:
        part[path[-1]] = junk  # type: ignore[index]
    return json.dumps(changed).encode()


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", ANSWERS)
def test_no_value_can_break_out_of_the_tree(name: str, wrapped: bool) -> None:
    """Each value of an answer replaced by nonsense: bars or our error, nothing else."""
    answer: Any = ANSWERS[name]
    if wrapped:
        url = "https://x/v8/finance/chart/ACME?period1=1&period2=1809217000"
        headers = {"date": "Fri, 08 Mar 2024 12:00:00 GMT"}
        response = {"status": 200, "headers": headers, "bodyJson": answer}
        answer = {"request": {"url": url}, "response": response}
    received = None if wrapped else datetime(2024, 3, 8, tzinfo=UTC)
    outcomes = set()
    for path in paths(answer):
        for junk in JUNK:
            try:
                bars = YahooSource().parse(spoilt(answer, path, junk), received_at=received).bars
                outcomes.add("bars" if bars.num_rows else "none")
            except TickerlakeError as error:
                outcomes.add("refused" if error.todo else "refused without help")
    assert outcomes == {"bars", "none", "refused"}


@pytest.mark.parametrize("name", ["timestamp", "open", "volume"])
@pytest.mark.parametrize("junk", [[[]], [[1709303400]], [[], []], [[1, 2], [3, 4]]])
def test_lists_inside_columns_are_refused(name: str, junk: list[list[int]]) -> None:
    """A column whose values are lists is no column, however many they are."""
    answer: Any = copy.deepcopy(ANSWERS["minutes"])
    result = answer["chart"]["result"][0]
    quote = result["indicators"]["quote"][0]
    if name == "timestamp":
        result["timestamp"] = junk
        for column in quote:
            quote[column] = []
    else:
        quote[name] = junk
    with pytest.raises(MalformedError):
        YahooSource().parse(json.dumps(answer).encode())


@pytest.mark.parametrize("close", [[10.5, None], [10, 11], ["10.5", None], [True, 11.0]])
def test_numbers_of_any_kind_are_read_as_before(close: list[Any]) -> None:
    """Nulls, integers and texts of numbers among prices: the same float64 as alone."""
    answer: Any = copy.deepcopy(ANSWERS["minutes"])
    answer["chart"]["result"][0]["indicators"]["quote"][0]["close"] = close
    bars = YahooSource().parse(json.dumps(answer).encode()).bars
    assert bars["close"].to_pylist() == [None if each is None else float(each) for each in close]
