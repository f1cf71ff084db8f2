"""How Alpaca is asked, and whose records come of it: each feed is a provider of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tickerlake.errors import ConfigError
from tickerlake.sources.http import HttpSettings

__all__ = ["DATA_URL", "FEEDS", "AlpacaSettings", "provider_of"]

DATA_URL: Final = "https://data.alpaca.markets"
#: `test` is a socket that always speaks, of one symbol: FAKEPACA.
FEEDS: Final = ("sip", "iex", "delayed_sip", "boats", "overnight", "otc", "test")


@dataclass(frozen=True, slots=True)
class AlpacaSettings(HttpSettings):
    """`[sources.alpaca]`."""

    #: The key's id. Keys for paper trading begin with PK.
    api_key: str | None = None
    #: The key's secret.
    api_secret: str | None = None
    #: Where market data is asked for.
    base_url: str = DATA_URL
    #: Where the list of assets is; null: by the key, paper or live.
    trading_url: str | None = None
    #: Where trades, quotes and bars come live.
    socket_url: str = "wss://stream.data.alpaca.markets"
    #: Whose trades: sip is all US exchanges, iex one of them (about 2 % of the volume).
    feed: str = "sip"
    #: How much later than the market a range may end; null: 900 for sip (the free plan), else 0.
    delay_seconds: float | None = None
    #: Renamed symbols are mapped as of this date; null: as of today.
    asof: str | None = None
    #: With days, ask for splits, dividends and name changes too: a request more.
    corporate_actions: bool = True
    #: No frame for so long while the exchange is open (30 times that while it is closed), and the
    #: line is dead; seldom traded symbols need more.
    silence_seconds: float = 120.0
    #: Our pace: the free plan has 200 a minute, a paid one 10,000 (documented).
    requests_per_second: float | None = 3.0

    def __post_init__(self) -> None:
        HttpSettings.__post_init__(self)
        if self.feed not in FEEDS:
            raise ConfigError(
                f"Alpaca has no feed {self.feed!r}.",
                expected=", ".join(FEEDS),
                found=self.feed,
                todo="mend feed in [sources.alpaca]",
            )


def provider_of(feed: str | None, *, default: str) -> str:
    """Whose records a feed's are, so that feeds never mix; `default` where nobody names one."""
    if feed not in FEEDS:
        return default
    return "alpaca" if feed == "sip" else f"alpaca_{feed}"
