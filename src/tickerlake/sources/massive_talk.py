"""What Massive says on its stocks socket: T, Q, A, AM, LULD and status.

Sources: the vendor's pages and SDK (2026-08), its published samples, frames captured live on
2026-09-08. `q` grows but has holes: it orders, and proves no gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from tickerlake.errors import ConfigError, TickerlakeError, UnreachableError
from tickerlake.records import Kind
from tickerlake.sources.frames import epoch_ns, ticks
from tickerlake.sources.live import Frame
from tickerlake.sources.tagged import Pile, TaggedFrames, codes, column, texts
from tickerlake.sources.tagged_talk import Made, Said, TaggedTalk
from tickerlake.sources.us_market import bars_as_told, instants

__all__ = ["LIVE_INTERVALS", "MassiveTalk"]

_TICKS: Final[Mapping[Kind, str]] = {"trade": "T", "quote": "Q", "price_band": "LULD"}
_BARS: Final = {"1s": "A", "1m": "AM"}
LIVE_INTERVALS: Final = tuple(_BARS)


class _Told(msgspec.Struct, tag_field="ev", gc=False):
    pass


class _Status(_Told, tag="status"):
    status: str = ""
    message: str = ""


class _Trade(_Told, tag="T"):
    sym: str
    t: int
    x: int | str | None = None
    i: int | str | None = None
    p: float | None = None
    s: float | None = None
    ds: str | None = None
    c: list[int] | None = None


class _Quote(_Told, tag="Q", rename={"ask_size": "as"}):
    sym: str
    t: int
    bp: float | None = None
    bs: float | None = None
    ap: float | None = None
    ask_size: float | None = None


class _Bar(_Told):
    sym: str
    s: int
    o: float | None = None
    h: float | None = None
    l: float | None = None  # noqa: E741 - the vendor's name
    c: float | None = None
    v: float | None = None
    dv: str | None = None


class _Second(_Bar, tag="A"):
    pass


class _Minute(_Bar, tag="AM"):
    pass


class _Bands(_Told, tag="LULD"):
    T: str
    t: int
    h: float | None = None
    l: float | None = None  # noqa: E741 - the vendor's name
    i: list[int | str] | int | str | None = None


_FRAMES: Final = TaggedFrames(_Trade | _Quote | _Minute | _Second | _Bands | _Status, "ev")


class MassiveTalk(TaggedTalk):
    """Trades, quotes, price bands, bars of seconds and minutes."""

    messages = _FRAMES

    def __init__(
        self,
        url: str,
        key: str,
        symbols: Sequence[str],
        kinds: Sequence[Kind],
        *,
        provider: str,
        silence_seconds: float,
        intervals: Sequence[str] = ("1m",),
    ) -> None:
        """`intervals`: of bars, where they are among the kinds; 1s and 1m."""
        channels = [_TICKS[kind] for kind in kinds if kind in _TICKS]
        if "bar" in kinds:
            channels += [_BARS[interval] for interval in intervals]
        topics = ",".join(f"{channel}.{symbol}" for channel in channels for symbol in symbols)
        super().__init__(
            url,
            login={"action": "auth", "params": key},
            subscription={"action": "subscribe", "params": topics},
            provider=provider,
            silence_seconds=silence_seconds,
        )

    def made(self) -> Mapping[type, Made]:
        """A kind and its table for each form; bars by interval."""
        return {
            _Trade: ("trade", self._trades),
            _Quote: ("quote", self._quotes),
            _Bands: ("price_band", self._bands),
            _Second: ("bar", partial(self._bars, interval="1s")),
            _Minute: ("bar", partial(self._bars, interval="1m")),
        }

    def have_time(self, events: Sequence[Any]) -> Sequence[bool]:
        """Of bars their start, of others their own time: milliseconds."""
        stamps = [event.s if isinstance(event, _Bar) else event.t for event in events]
        return [0 < stamp < 1 << 63 for stamp in stamps]

    def hear(self, event: Any, said: Said) -> Iterable[object]:  # noqa: ANN401 - see `messages`
        """A status."""
        said.error = said.error or _status(event)
        said.ready = said.ready or _is_subscribed(event)
        said.replies += self._reply(event)
        return ()

    def _reply(self, told: _Status) -> Sequence[str]:
        if told.status == "connected":
            return [self._login]
        return [self._subscribe] if _is_login(told) else []

    def _trades(self, pile: Pile, frames: Sequence[Frame]) -> pa.Table:
        rows: list[_Trade] = pile.events
        conditions = [None if row.c is None else ",".join(map(str, row.c)) for row in rows]
        return ticks(
            "trade",
            self._provider,
            pile.received(frames),
            symbol=pa.array([row.sym for row in rows]),
            ts_ns=epoch_ns(pa.array([row.t for row in rows], pa.int64())),
            price=column(rows, "p"),
            size=_exact(column(rows, "s"), [row.ds for row in rows]),
            venue=texts(row.x for row in rows),
            conditions=pa.array(conditions, pa.string()),
            trade_id=texts(row.i for row in rows),
            currency="USD",
        )

    def _quotes(self, pile: Pile, frames: Sequence[Frame]) -> pa.Table:
        rows: list[_Quote] = pile.events
        return ticks(
            "quote",
            self._provider,
            pile.received(frames),
            symbol=pa.array([row.sym for row in rows]),
            ts_ns=epoch_ns(pa.array([row.t for row in rows], pa.int64())),
            bid=column(rows, "bp"),
            bid_size=column(rows, "bs"),
            ask=column(rows, "ap"),
            ask_size=column(rows, "ask_size"),
            currency="USD",
        )

    def _bands(self, pile: Pile, frames: Sequence[Frame]) -> pa.Table:
        rows: list[_Bands] = pile.events
        return ticks(
            "price_band",
            self._provider,
            pile.received(frames),
            symbol=pa.array([row.T for row in rows]),
            ts_ns=epoch_ns(pa.array([row.t for row in rows], pa.int64())),
            lower=column(rows, "l"),
            upper=column(rows, "h"),
            indicators=codes(rows, "i"),
            currency="USD",
        )

    def _bars(self, pile: Pile, frames: Sequence[Frame], *, interval: str) -> pa.Table:
        rows: list[_Bar] = pile.events
        names = {"o": "open", "h": "high", "l": "low", "c": "close"}
        columns = {
            "symbol": pa.array([row.sym for row in rows]),
            "start": instants(epoch_ns(pa.array([row.s for row in rows], pa.int64()))),
            **{name: column(rows, short) for short, name in names.items()},
            "volume": _exact(column(rows, "v"), [row.dv for row in rows]),
        }
        return bars_as_told(
            columns,
            provider=self._provider,
            interval=interval,
            received_at=pile.received(frames),
            state="provisional",
        )


def _exact(rounded: pa.Array, decimals: Sequence[str | None]) -> pa.Array:
    """The decimal text where there is one: `v` is rounded to whole shares."""
    if not any(decimals):
        return rounded
    numbers = rounded.to_numpy(zero_copy_only=False).copy()
    for at, text in enumerate(decimals):
        try:
            numbers[at] = numbers[at] if text is None else float(text)
        except ValueError:
            continue  # the rounded number stands
    return pa.array(numbers, mask=np.isnan(numbers))


def _is_login(told: _Status) -> bool:
    """Old frames say `success` for logins too."""
    is_old = told.status == "success" and told.message.startswith("authenticated")
    return told.status == "auth_success" or is_old


def _is_subscribed(told: _Status) -> bool:
    return told.status == "success" and not _is_login(told)


def _status(told: _Status) -> TickerlakeError | None:
    said = f"{told.status} {told.message[:120]}".strip()
    if told.status == "auth_failed":
        return ConfigError(
            "Massive does not accept the key for this socket.",
            expected="auth_success",
            found=said,
            todo="check TICKERLAKE_SOURCES_MASSIVE_API_KEY; a delayed plan needs socket_url = "
            '"wss://delayed.massive.com", a free one has no socket',
        )
    if told.status == "error" and "authorized" in told.message:
        return ConfigError(
            "Your plan at Massive does not have this live.",
            expected="data",
            found=said,
            todo="choose other --kinds, or change the plan",
        )
    if told.status in ("max_connections", "auth_timeout", "force_disconnect", "error"):
        return UnreachableError(
            "Massive ended the talk.",
            expected="data",
            found=said,
            todo="wait; one connection a key is allowed",
        )
    return None
