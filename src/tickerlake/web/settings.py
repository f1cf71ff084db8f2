"""Settings of the page's server."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["WebSettings"]


@dataclass(frozen=True, slots=True)
class WebSettings:
    """`[web]`: how the page is served. Times are the machine's, never the story's."""

    #: Address to listen on. Another than loopback needs `allow_remote` and a token.
    host: str = "127.0.0.1"
    #: Port to listen on; 0 takes any free one.
    port: int = field(default=8765, metadata={"least": 0})
    #: Listen on an address that other machines can reach.
    allow_remote: bool = False
    #: What a reader must show; at least 16 characters. Empty: none is asked for on loopback.
    token: str = ""
    #: Further host names under which the page may be asked for, separated by commas.
    allowed_hosts: str = ""
    #: The badge turns STALE when nothing has arrived for this long.
    stale_after_seconds: float = 15.0
    #: Bars older than this when they arrive are called a REPLAY.
    replay_after_days: float = 7.0
    #: Updates are sent to the page at most this often.
    frame_milliseconds: int = 50
    #: Most bars in one chart; the newest are kept.
    chart_bars_max: int = 20_000
    #: Queries that run at the same time; others wait.
    queries_max: int = 4
    #: Pages that may be open on the live stream at the same time.
    clients_max: int = 1_000
