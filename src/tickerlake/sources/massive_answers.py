"""Massive's answers as bytes → columns, or the error of our tree that they tell.

Rows are read by compiled structs and turned into columns at once. Numbers go from decimal text to
float64 once; times are integers from end to end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, Literal

import msgspec
import pyarrow as pa

from tickerlake.errors import MalformedError
from tickerlake.records import SCHEMAS, Kind, conform
from tickerlake.sources.columns import LaxDecoder
from tickerlake.sources.frames import epoch_ns
from tickerlake.sources.listed import symbol_of
from tickerlake.sources.massive_reference import REFERENCE
from tickerlake.sources.massive_refusals import refusal
from tickerlake.sources.refusals import page_words
from tickerlake.sources.us_market import instants

__all__ = [
    "Page",
    "currency_of",
    "joined",
    "open_page",
    "ticks_of",
]

What = Literal[
    "bars", "trades", "quotes", "last_trade", "last_quote", "currency_quotes", "splits",
    "dividends", "tickers", "events", "nothing",
]  # fmt: skip


class _Bar(msgspec.Struct, gc=False):
    t: int
    o: float | None = None
    h: float | None = None
    l: float | None = None  # noqa: E741 - the vendor's name
    c: float | None = None
    v: float | None = None
    #: Whose it is, in answers of many: the grouped days, the day before.
    T: str | None = None


class _Newest(msgspec.Struct, gc=False):
    """The last trade, or the last quote, in the letters of the second version."""

    t: int
    T: str | None = None
    p: float | None = None
    s: float | None = None
    x: int | None = None
    i: int | str | None = None
    c: list[int] | None = None
    P: float | None = None
    S: float | None = None


class _Trade(msgspec.Struct, gc=False):
    price: float | None = None
    size: float | None = None
    decimal_size: str | None = None
    exchange: int | str | None = None
    conditions: list[int] | None = None
    id: int | str | None = None
    sip_timestamp: int | None = None
    participant_timestamp: int | None = None


class _Quote(msgspec.Struct, gc=False):
    bid_price: float | None = None
    bid_size: float | None = None
    ask_price: float | None = None
    ask_size: float | None = None
    sip_timestamp: int | None = None
    participant_timestamp: int | None = None


_NULL: Final = msgspec.Raw(b"null")


class _Envelope(msgspec.Struct):
    """What any answer may hold; the results stay bytes until it is known what they are."""

    results: msgspec.Raw = _NULL
    status: str | None = None
    ticker: str | None = None
    adjusted: bool | None = None
    resultsCount: float | None = None  # noqa: N815 - the vendor's name
    next_url: str | None = None
    error: str | None = None
    message: str | None = None


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_NAMES: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Page:
    """One page of an answer.

    `rows` are columns of bars (with `symbol` and `start`), trades or quotes (with `ts_ns`), or
    one struct each of what comes in small numbers.
    """

    what: What
    ticker: str | None = None
    columns: Mapping[str, pa.Array] = dataclasses.field(default_factory=dict)
    listed: Sequence[Any] = ()
    #: Prices are adjusted for splits; null where the answer does not say.
    adjusted: bool | None = None
    next_url: str | None = None
    #: Each row says whose it is: the days of a whole market, or the day before.
    many: bool = False

    @property
    def count(self) -> int:
        """How many rows it has."""
        return len(next(iter(self.columns.values()))) if self.columns else len(self.listed)


def open_page(
    body: bytes, *, what: What | None = None, symbol: str | None = None, status: int = 200
) -> Page:
    """The results of one answer.

    Args:
        body: What was answered.
        what: What was asked for; null: as its first row shows.
        symbol: Whose rows they are, where the answer does not say.
        status: Of HTTP.

    Raises:
        NotFoundError, RangeError, ConfigError, RateLimitedError, UnreachableError: What it says.
        MalformedError: No answer of Massive's.
    """
    try:
        envelope = _ENVELOPE.decode(body)
        refused = refusal(status, envelope.status, envelope.error or envelope.message or "", symbol)
        if refused is not None:
            raise refused
        if envelope.status is None and bytes(envelope.results) == b"null":
            raise ValueError("neither status nor results")  # noqa: TRY301 - told as the others
        raw = bytes(envelope.results)
        is_list = raw[:1] == b"["
        if raw == b"null" or not raw.strip(b"[] \t\r\n"):
            what = "nothing"
        elif what is None:
            what = _shown_by(_names(raw))
        page = _page(what, raw if is_list else b"[" + raw + b"]", envelope.ticker or symbol)
        return dataclasses.replace(
            page, adjusted=envelope.adjusted, next_url=envelope.next_url or None
        )
    except (ValueError, RecursionError, OverflowError, pa.ArrowException) as error:
        said = refusal(status, None, page_words(body), symbol)
        raise said or _malformed(body, error) from error


def _names(raw: bytes) -> set[str]:
    """The names in the first result."""
    if raw[:1] == b"[":
        # The first `}` that ends a whole object: results are many, and are read once only.
        at = raw.find(b"}")
        while at >= 0:
            try:
                return set(_NAMES.decode(raw[1 : at + 1]))
            except msgspec.DecodeError:
                at = raw.find(b"}", at + 1, 10_000)
    return set(_NAMES.decode(raw))


def _shown_by(names: set[str]) -> What:
    for what, telling in _TELLING.items():
        if telling <= names:
            return what
    raise ValueError(f"results of {', '.join(sorted(names))[:80]}")


_TELLING: Final[dict[What, set[str]]] = {
    "bars": {"t", "o", "c"},
    "splits": {"split_from", "split_to"},
    "dividends": {"cash_amount", "ex_dividend_date"},
    "last_quote": {"t", "p", "P"},
    "last_trade": {"t", "p", "x"},
    "trades": {"price", "sip_timestamp"},
    "quotes": {"sip_timestamp"},
    "currency_quotes": {"participant_timestamp", "bid_price"},
    "events": {"events"},
    "tickers": {"ticker", "name"},
}


def _page(what: What, raw: bytes, ticker: str | None) -> Page:
    if what == "nothing":
        return Page(what, ticker)
    rows = _DECODERS[what].decode(raw)
    if what not in _COLUMNS:
        return Page(what, ticker, listed=rows)
    many = getattr(rows[0], "T", None) is not None
    if many:
        symbols = pa.array([row.T for row in rows], pa.string())
        ticker = ticker or rows[0].T
    else:
        ticker = symbol_of(ticker, "Massive")
        symbols = pa.repeat(ticker, len(rows))
    columns = {"symbol": symbols, **_COLUMNS[what](rows)}
    return Page(_PLURALS.get(what, what), ticker, columns, many=many)


def ticks_of(page: Page, kind: Kind, *, provider: str, received_at: datetime) -> pa.Table:
    """The trades or quotes of a page, in our schema."""
    schema, count = SCHEMAS[kind], page.count
    if not count:
        return schema.empty_table()
    common = {"provider": provider, "fetched_at": received_at, "currency": currency_of(page.ticker)}
    table = pa.table(
        {
            **page.columns,
            "ts": instants(page.columns["ts_ns"]),
            **{
                name: pa.repeat(pa.scalar(value, schema.field(name).type), count)
                for name, value in common.items()
            },
        }
    )
    return conform(table, kind)


def joined(pages: Sequence[Page]) -> dict[str, pa.Array]:
    """The columns of several pages after one another; empty where no page has rows."""
    filled = [page.columns for page in pages if page.count]
    names = filled[0] if filled else ()
    return {name: pa.concat_arrays([part[name] for part in filled]) for name in names}


def currency_of(ticker: str | None) -> str | None:
    """Stocks are in dollars; `X:`, `C:`, `I:` and `O:` name other markets."""
    return None if ticker is None or ":" in ticker else "USD"


def _floats(rows: Sequence[Any], **names: str) -> dict[str, pa.Array]:
    return {
        ours: pa.array(list(map(attrgetter(theirs), rows)), pa.float64())
        for ours, theirs in names.items()
    }


def _epoch_ns(stamps: Sequence[int | None]) -> pa.Array:
    return epoch_ns(pa.array(stamps, pa.int64()))


def _bar_columns(rows: Sequence[_Bar]) -> dict[str, pa.Array]:
    return {
        "start": instants(_epoch_ns([row.t for row in rows])),
        **_floats(rows, open="o", high="h", low="l", close="c", volume="v"),
    }


def _stamps(rows: Sequence[_Trade] | Sequence[_Quote]) -> pa.Array:
    stamps = [row.sip_timestamp or row.participant_timestamp for row in rows]
    if None in stamps:
        raise ValueError("a row without sip_timestamp")
    return _epoch_ns(stamps)


def _trade_columns(rows: Sequence[_Trade]) -> dict[str, pa.Array]:
    sizes = [row.size if row.decimal_size is None else float(row.decimal_size) for row in rows]
    return {
        "ts_ns": _stamps(rows),
        **_floats(rows, price="price"),
        "size": pa.array(sizes, pa.float64()),
        "venue": _texts(row.exchange for row in rows),
        "conditions": _texts(
            None if row.conditions is None else ",".join(map(str, row.conditions)) for row in rows
        ),
        "trade_id": _texts(row.id for row in rows),
    }


def _quote_columns(rows: Sequence[_Quote]) -> dict[str, pa.Array]:
    names = {"bid": "bid_price", "bid_size": "bid_size", "ask": "ask_price", "ask_size": "ask_size"}
    return {"ts_ns": _stamps(rows), **_floats(rows, **names)}


def _texts(values: Any) -> pa.Array:  # noqa: ANN401 - numbers, texts or null
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _last_trade_columns(rows: Sequence[_Newest]) -> dict[str, pa.Array]:
    return {
        "ts_ns": _epoch_ns([row.t for row in rows]),
        **_floats(rows, price="p", size="s"),
        "venue": _texts(row.x for row in rows),
        "conditions": _texts(None if row.c is None else ",".join(map(str, row.c)) for row in rows),
        "trade_id": _texts(row.i for row in rows),
    }


def _last_quote_columns(rows: Sequence[_Newest]) -> dict[str, pa.Array]:
    names = {"bid": "p", "bid_size": "s", "ask": "P", "ask_size": "S"}
    return {"ts_ns": _epoch_ns([row.t for row in rows]), **_floats(rows, **names)}


_PLURALS: Final[dict[What, What]] = {
    "last_trade": "trades",
    "last_quote": "quotes",
    "currency_quotes": "quotes",
}


_COLUMNS: Final[dict[What, Callable[[Sequence[Any]], dict[str, pa.Array]]]] = {
    "bars": _bar_columns,
    "trades": _trade_columns,
    "quotes": _quote_columns,
    "last_trade": _last_trade_columns,
    "last_quote": _last_quote_columns,
    "currency_quotes": _quote_columns,
}
_DECODERS: Final[dict[str, LaxDecoder]] = {
    "bars": LaxDecoder(list[_Bar]),
    "trades": LaxDecoder(list[_Trade]),
    "quotes": LaxDecoder(list[_Quote]),
    "last_trade": LaxDecoder(list[_Newest]),
    "last_quote": LaxDecoder(list[_Newest]),
    "currency_quotes": LaxDecoder(list[_Quote]),
    **REFERENCE,
}


def _malformed(body: bytes, why: object) -> MalformedError:
    return MalformedError(
        "Massive's answer has another shape than it should.",
        expected="JSON with status and results",
        found=f"{len(body):,} bytes, {body[:60]!r}: {why}"[:300],
        todo="try again; if it stays, Massive has changed: report it",
    )
