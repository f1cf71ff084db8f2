"""Which sources there are: ours, and those that other packages add.

A source is registered by its class: `settings_type` is a frozen dataclass with defaults, and the
class is called with one value of it. Other packages name theirs under the entry-point group
`tickerlake.sources`:

    [project.entry-points."tickerlake.sources"]
    acme = "acme_prices.source:AcmeSource"
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any
from urllib.parse import urlsplit

from tickerlake.errors import ConfigError, hide
from tickerlake.sources.base import Source
from tickerlake.sources.settings import settings_from

__all__ = [
    "FORMER_NAMES",
    "GROUP",
    "current_name",
    "host_of",
    "names",
    "open_source",
    "settings_type",
    "source_class",
]

GROUP = "tickerlake.sources"

_OURS = {
    "alpaca": "tickerlake.sources.alpaca:AlpacaSource",
    "alphavantage": "tickerlake.sources.alphavantage:AlphaVantageSource",
    "binance": "tickerlake.sources.binance:BinanceSource",
    "binance_us": "tickerlake.sources.binance:BinanceUsSource",
    "bitfinex": "tickerlake.sources.bitfinex:BitfinexSource",
    "capture": "tickerlake.sources.capture:CaptureSource",
    "coinbase": "tickerlake.sources.coinbase:CoinbaseSource",
    "files": "tickerlake.sources.files:FilesSource",
    "finnhub": "tickerlake.sources.finnhub:FinnhubSource",
    "kraken": "tickerlake.sources.kraken:KrakenSource",
    "massive": "tickerlake.sources.massive:MassiveSource",
    "sample": "tickerlake.sources.sample:SampleSource",
    "stooq": "tickerlake.sources.stooq:StooqSource",
    "tiingo": "tickerlake.sources.tiingo:TiingoSource",
    "yahoo": "tickerlake.sources.yahoo:YahooSource",
}

#: What some were called before.
FORMER_NAMES = {"polygon": "massive"}


def names() -> list[str]:
    """Every known source, sorted. Imports none of them."""
    return sorted({*_OURS, *_theirs()})


def current_name(name: str) -> str:
    """What a source is called now: `polygon` is `massive`."""
    return FORMER_NAMES.get(name, name)


def settings_type(name: str) -> type[Any]:
    """The dataclass that `[sources.NAME]` fills.

    Raises:
        ConfigError: No source has this name, or it cannot be loaded.
    """
    kind: type[Any] = _load(name).settings_type
    return kind


def source_class(name: str) -> type[Any]:
    """The class of a source, not yet made: what it can do, and its `limits`.

    Raises:
        ConfigError: No source has this name, or it cannot be loaded.
    """
    kind: type[Any] = _load(name)
    return kind


def open_source(name: str, *, settings: Mapping[str, Any] | None = None) -> Source:
    """Make the source with the values of `[sources.NAME]`.

    Raises:
        ConfigError: No source has this name, it cannot be loaded, or a setting is wrong.
    """
    told = settings or {}
    hide(str(told[key]) for key in ("api_key", "api_secret") if told.get(key))
    source_class = _load(name)
    filled = settings_from(source_class.settings_type, told, source=name)
    source: Source = source_class(filled)
    return source


def host_of(name: str, base_url: str | None = None) -> str | None:
    """The host that a source asks, at another `base_url` than its own if told; None for none.

    Raises:
        ConfigError: No source has this name, or it cannot be loaded.
    """
    own = getattr(settings_type(name)(), "base_url", "")
    return urlsplit(base_url or own).netloc or None


def _theirs() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _load(name: str) -> Any:  # noqa: ANN401 - a class of ours or of an outside package
    name = current_name(name)
    if name in _OURS:  # ours first: no package may stand in for them unnoticed
        module, attribute = _OURS[name].split(":")
        return getattr(import_module(module), attribute)
    theirs = _theirs()
    if name not in theirs:
        near = difflib.get_close_matches(name, names(), n=1)
        raise ConfigError(
            f"There is no source {name!r}.",
            expected=", ".join(names()),
            found=name,
            todo=f"write {near[0]!r}" if near else "choose one of these, or install its package",
        )
    try:
        return theirs[name].load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"The source {name!r} could not be loaded from {theirs[name].value}.",
            expected="a class",
            found=str(error),
            todo="install its package again, or remove it",
        ) from error
