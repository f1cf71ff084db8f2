"""Finnhub: trades without ids, and the search."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from tickerlake.errors import ConfigError, MalformedError, RangeError, RateLimitedError
from tickerlake.records import with_event_ids
from tickerlake.sources import BarsRequest, Frame
from tickerlake.sources.finnhub import FinnhubSettings, FinnhubSource
from tickerlake.testing.provider import ProviderAnswer, ProviderRequest, provider_server

AT = datetime(2024, 1, 2, 15, 0, tzinfo=UTC)
MS = 1_704_207_600_000


def trade(ms: int, price: float, size: float = 5, conditions: str = '["1"]') -> str:
    return f'{{"c":{conditions},"p":{price},"s":"ACME","t":{ms},"v":{size}}}'


def frame(*trades: str) -> str:
    return f'{{"data":[{",".join(trades)}],"type":"trade"}}'


def heard(*batches: Sequence[str]) -> pa.Table:
    talk = FinnhubSource(FinnhubSettings(api_key="k")).dialect(["ACME"], ["trade"])
    tables = [
        talk.read([Frame(AT, "in", "", text) for text in batch]).tables["trade"]
        for batch in batches
    ]
    return pa.concat_tables(tables)


def test_equal_trades_of_one_millisecond_are_counted_over_frames() -> None:
    """Real trades repeat all their values: `trade_id` counts them, so none is taken for a copy."""
    same, other = trade(MS, 10.25), trade(MS, 10.25, conditions='["1","8"]')
    table = heard([frame(same, other, same)], [frame(same), frame(trade(MS + 1, 10.25))])
    assert table["trade_id"].to_pylist() == ["0", "0", "1", "2", "0"]
    ids = with_event_ids(table, "trade")["event_id"].to_pylist()
    assert len(set(ids)) == 5
    assert table["conditions"].to_pylist()[:2] == ["1", "1,8"]


def test_late_trades_are_counted_with_their_own_moment() -> None:
    """A trade that comes out of order meets the count of its own millisecond."""
    late = trade(MS, 10.25)
    table = heard([frame(late)], [frame(trade(MS + 9000, 10.5))], [frame(late)])
    assert table["trade_id"].to_pylist() == ["0", "0", "1"]


def test_values_are_exact() -> None:
    """Times are whole nanoseconds; size may be a fraction; venue and currency are not known."""
    [row] = heard([frame(trade(MS + 7, 0.1, 0.00042, "null"))]).to_pylist()
    assert row["ts_ns"] == (MS + 7) * 1_000_000
    assert (row["price"], row["size"], row["conditions"]) == (0.1, 0.00042, None)
    assert row["fetched_at"] == AT


def test_a_word_of_the_server_is_told() -> None:
    """An error about one symbol is a note and ends nothing; a frame that nobody knows is told."""
    talk = FinnhubSource(FinnhubSettings(api_key="k")).dialect(["ACME"], ["trade"])
    told = talk.read(
        [
            Frame(AT, "in", "", '{"type":"error","msg":"Invalid symbol"}'),
            Frame(AT, "in", "", '{"type":"news"}'),
        ]
    )
    assert told.error is None
    assert [note for note in told.notes if "Invalid symbol" in note]
    assert [note for note in told.notes if "'news'" in note]


def test_a_single_frame_and_search_answers_can_be_parsed() -> None:
    """A file of one frame gives its trades; a search's answer gives none, and says what it is."""
    source = FinnhubSource()
    answer = source.parse(frame(trade(MS, 10.25)).encode(), received_at=AT)
    assert answer.ticks["trade"].num_rows == 1
    found = source.parse(b'{"count":1,"result":[{"symbol":"ACME"}]}')
    assert not found.tables()
    assert "1 symbols" in found.notes[0]
    with pytest.raises(RateLimitedError):
        source.parse(b'{"error":"API limit reached. Please try again later."}')


def test_there_is_no_history() -> None:
    """Bars are refused with the way to what there is."""
    with pytest.raises(RangeError, match="--live"):
        FinnhubSource().bars(BarsRequest("ACME"))


def search(answer: ProviderAnswer, text: str = "acme") -> tuple[Any, list[ProviderRequest]]:
    with provider_server(lambda _: answer) as server:
        settings = FinnhubSettings(base_url=server.base_url, api_key="k3y", exchange="US")
        return FinnhubSource(settings).search(text, limit=1), server.requests


def test_search() -> None:
    """Hits in Finnhub's order; the key goes in a header, never in the address."""
    rows = [
        {"description": "ACME INC", "displaySymbol": "ACME", "symbol": "ACME", "type": "ADR"},
        {"description": "ACME B", "displaySymbol": "ACME.B", "symbol": "ACME.B", "type": "ETP"},
    ]
    [hit], [asked] = search(ProviderAnswer({"count": 2, "result": [{"x": 1}, *rows]}))
    assert (hit.symbol, hit.name, hit.type, hit.provider) == (
        "ACME", "ACME INC", "equity", "finnhub",
    )  # fmt: skip
    assert (asked.path, asked.query) == ("/api/v1/search", {"q": "acme", "exchange": "US"})
    assert asked.headers["x-finnhub-token"] == "k3y"


def test_who_asks_for_bars_is_told_what_there_is() -> None:
    """`fetch` of a source without history names the verb that gets its records."""
    with pytest.raises(
        RangeError, match=r"no history(?s:.*)publish SYMBOL --source finnhub --live"
    ):
        FinnhubSource.limits.require("1d", source="finnhub")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (ProviderAnswer({"error": "Invalid API key"}, 401), ConfigError),
        (ProviderAnswer({"error": "You don't have access to this resource."}, 403), ConfigError),
        (ProviderAnswer({"error": "API limit reached."}), RateLimitedError),
        (ProviderAnswer("<html>Sorry</html>"), MalformedError),
        (ProviderAnswer({"count": 1}), MalformedError),
        (ProviderAnswer([]), MalformedError),
    ],
)
def test_errors_of_the_search(answer: ProviderAnswer, error: type[Exception]) -> None:
    """Keys, plans, limits and other shapes are errors of our tree, and tell no key."""
    with pytest.raises(error) as raised:
        search(answer)
    assert "k3y" not in str(raised.value)
