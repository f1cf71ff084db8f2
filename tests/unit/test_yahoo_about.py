"""What Yahoo's answers say beside bars: whose they are, since when they trade, where they came."""

from __future__ import annotations

from datetime import UTC, date, datetime

from tickerlake.sources import About, Answer, BarsRequest, open_source
from tickerlake.sources.yahoo import YahooSource
from yahoo_double import Answer as Sent
from yahoo_double import Row, at, chart, encoded, yahoo_server

GOOD: Row = (10.0, 11.0, 9.0, 10.5, 100.0)
DAYS = {"2024-02-28T14:30": GOOD, "2024-02-29T14:30": GOOD}
NAMES = {"longName": "Acme Incorporated", "shortName": "Acme      Inc"}


def parse(body: object, **told: object) -> About:
    answer: Answer = YahooSource().parse(encoded(body), **told)  # type: ignore[arg-type]
    return answer.about


def wrapped(body: object, url: str) -> dict[str, object]:
    headers = {"date": "Fri, 08 Mar 2024 12:00:00 GMT"}
    return {
        "request": {"url": url},
        "response": {"status": 200, "headers": headers, "bodyJson": body},
    }


def test_who_has_the_symbol_and_since_when() -> None:
    """Name, exchange, type, currency as given, and the local day of the first trade."""
    told = parse(chart(DAYS, **NAMES, firstTradeDate=at("1962-01-02T14:30"), currency="GBp"))
    assert (told.name, told.exchange, told.instrument_type) == (
        "Acme Incorporated",
        "NYQ",
        "equity",
    )
    assert (told.currency, told.listed) == ("GBp", date(1962, 1, 2))


def test_the_first_day_is_that_of_the_exchange() -> None:
    """A first trade on a Sydney morning was on the evening before in UTC."""
    zone = "Australia/Sydney"
    told = parse(chart(DAYS, firstTradeDate=at("1999-06-06T23:00"), exchangeTimezoneName=zone))
    assert told.listed == date(1999, 6, 7)


def test_a_short_name_loses_its_padding_and_nothing_is_made_up() -> None:
    """Yahoo pads short names to columns; what it does not say stays unknown."""
    told = parse(chart(DAYS, shortName="Gamestop Corp.                R"))
    assert told.name == "Gamestop Corp. R"
    assert parse(chart(DAYS)) == About(exchange="NYQ", instrument_type="equity", currency="USD")


def test_the_time_is_yahoos_own() -> None:
    """Its Date header, but that of the last trade while a session runs."""
    over = wrapped(chart(DAYS), "https://query2.finance.yahoo.com/v8/finance/chart/ACME")
    assert parse(over).as_of == datetime(2024, 3, 8, 12, tzinfo=UTC)
    stamp = "2024-03-08T15:31"
    running = chart(
        DAYS | {stamp: GOOD},
        last_trade=stamp,
        regular=("2024-03-08T14:30", "2024-03-08T21:00"),
    )
    when = datetime(2024, 3, 8, 15, 32, tzinfo=UTC)
    assert parse(running, received_at=when).as_of == datetime(2024, 3, 8, 15, 31, tzinfo=UTC)


def test_the_address_is_told_without_the_crumb() -> None:
    """A crumb proves who asked: it is in no `url`, the rest of the address is."""
    url = "https://query2.finance.yahoo.com/v8/finance/chart/ACME?interval=1d&crumb=s3cret&range=5d"
    assert parse(wrapped(chart(DAYS), url)).url == url.replace("crumb=s3cret&", "")


def test_a_fetched_answer_says_the_same() -> None:
    """Over HTTP: the address that was asked, and the server's Date."""
    sent = Sent(encoded(chart(DAYS, **NAMES)), headers={"Date": "Fri, 08 Mar 2024 12:00:00 GMT"})
    with yahoo_server(lambda _symbol, _query: sent) as server:
        source = open_source("yahoo", settings={"base_url": server.base_url})
        about = source.bars(BarsRequest("ACME", "1d", date(2024, 2, 28), date(2024, 2, 29))).about
    assert about.name == "Acme Incorporated"
    assert about.as_of == datetime(2024, 3, 8, 12, tzinfo=UTC)
    assert about.url is not None
    assert about.url.startswith(f"{server.base_url}/v8/finance/chart/ACME?interval=1d&period1=")


def test_prices_and_amounts_are_adjusted_for_splits() -> None:
    """The source states what its prices and dividends include, and that it tells events."""
    limits = YahooSource.limits
    assert (limits.price_basis, limits.amount_basis) == ("splits", "splits")
    assert "corporate_action" in limits.history
