"""Alpaca's assets, and what else it tells without records of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from tickerlake.sources.alpaca_answers import refused
from tickerlake.sources.base import Hit
from tickerlake.sources.columns import malformed

__all__ = ["other_note", "ranked", "read_assets"]


class _Asset(msgspec.Struct):
    symbol: str
    name: str | None = None
    exchange: str | None = None
    status: str | None = None
    asset_class: str | None = msgspec.field(name="class", default=None)


_ASSETS: Final = msgspec.json.Decoder(list[_Asset])
#: Answers that hold none of our records, by a key of theirs, or of their first object.
_OTHERS: Final = {
    "latestTrade": "a snapshot of what is newest", "dailyBar": "a snapshot of what is newest",
    "news": "news", "headline": "news", "auctions": "auctions", "orderbooks": "books of orders",
    "most_actives": "the most traded symbols", "gainers": "the symbols that moved most",
    "ca_type": "announcements of corporate actions, in their older form",
    "tradable": "what one asset is", "buying_power": "an account", "is_open": "the market's clock",
}  # fmt: skip


def other_note(body: bytes) -> str | None:
    """What an answer without records of ours is, if it is one that we know."""
    try:
        told = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None
    first = told[0] if isinstance(told, list) and told else told
    if isinstance(told, list) and isinstance(first, Mapping) and {"open", "date"} <= first.keys():
        return "the calendar of sessions, no records"
    if isinstance(first, Mapping) and first.keys() & {"bars", "trades", "quotes"}:
        return None  # rows that cannot be read, which must not pass for something else
    inner = [first, *first.values()] if isinstance(first, Mapping) else []
    keys = {key for part in inner if isinstance(part, Mapping) for key in part}
    what = next((said for key, said in _OTHERS.items() if key in keys), None)
    return None if what is None else f"{what}, no records"


def read_assets(body: bytes, *, status: int = 200) -> list[Hit]:
    """The list of assets.

    Raises:
        ConfigError, RateLimitedError, UnreachableError: What the answer says.
        MalformedError: No list of assets.
    """
    try:
        assets = _ASSETS.decode(body)
    except (ValueError, RecursionError) as error:
        raise refused(body, status) or malformed(
            "Alpaca", "", "a list of assets", body[:60], why=f"no list of assets: {error}"
        ) from error
    return [
        Hit(
            symbol=asset.symbol,
            name=asset.name or None,
            # Funds are "us_equity" too: which of the two it is, Alpaca does not say.
            type="crypto" if asset.asset_class == "crypto" else None,
            exchange=asset.exchange or None,
            currency="USD" if asset.asset_class == "us_equity" else None,
            provider="alpaca",
            provider_symbol=asset.symbol,
            country="US" if asset.asset_class == "us_equity" else None,
            listed=None if asset.status is None else asset.status == "active",
        )
        for asset in assets
    ]


def ranked(hits: Sequence[Hit], text: str) -> list[Hit]:
    """Those that fit: the exact symbol first, then prefixes, then names; listed ones before."""
    words = text.casefold().split()
    found = [
        (rank, not hit.listed, len(hit.symbol), hit.symbol, hit)
        for hit in hits
        if (rank := _rank(hit, words)) is not None
    ]
    return [one[-1] for one in sorted(found, key=lambda one: one[:-1])]


def _rank(hit: Hit, words: Sequence[str]) -> int | None:
    symbol, name = hit.symbol.casefold(), (hit.name or "").casefold()
    if words == [symbol]:
        return 0
    if len(words) == 1 and symbol.startswith(words[0]):
        return 1
    if not words or not all(word in name for word in words):
        return None
    return 2 if name.startswith(words[0]) else 3
