"""What Alpaca says on its market data socket, v2: records, and what mends them.

Sources: the vendor's pages on streaming (read in 2026-07), its SDK of the same month, a transcript
of 2023-04-06. No message carries a sequence, so no hole can be proven: a gap is a reconnection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import ConfigError, TickerlakeError, UnreachableError
from tickerlake.records import Kind
from tickerlake.sources.alpaca_settings import provider_of
from tickerlake.sources.frames import text_ns, ticks
from tickerlake.sources.live import Frame, Heard
from tickerlake.sources.tagged import Pile, TaggedFrames, codes, column, texts
from tickerlake.sources.tagged_talk import Made, Said, TaggedTalk
from tickerlake.sources.us_market import bars_as_told, instants

__all__ = ["AlpacaTalk"]

_CHANNELS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "trade": ("trades",),
    "quote": ("quotes",),
    "bar": ("bars", "updatedBars"),
    "price_band": ("lulds",),
}


class _Told(msgspec.Struct, tag_field="T", gc=False):
    pass


class _Success(_Told, tag="success"):
    msg: str = ""


class _Error(_Told, tag="error"):
    code: int = 0
    msg: str = ""


class _Subscription(_Told, tag="subscription"):
    pass


class _Trade(_Told, tag="t"):
    S: str
    t: str
    x: str | None = None
    p: float | None = None
    s: float | None = None
    c: list[str] | None = None
    i: int | str | None = None


class _Quote(_Told, tag="q", rename={"ask_size": "as"}):
    S: str
    t: str
    bp: float | None = None
    bs: float | None = None
    ap: float | None = None
    ask_size: float | None = None


class _Bar(_Told, tag="b"):
    S: str
    t: str
    o: float | None = None
    h: float | None = None
    l: float | None = None  # noqa: E741 - the vendor's name
    c: float | None = None
    v: float | None = None


class _UpdatedBar(_Bar, tag="u"):
    pass


class _DailyBar(_Bar, tag="d"):
    pass


class _Correction(_Told, tag="c"):
    S: str
    t: str
    x: str | None = None
    oi: int | str | None = None
    op: float | None = None
    ci: int | str | None = None
    cp: float | None = None
    cs: float | None = None
    cc: list[str] | None = None


class _Cancel(_Told, tag="x"):
    S: str
    t: str
    x: str | None = None
    i: int | str | None = None
    p: float | None = None
    a: str | None = None


class _Status(_Told, tag="s"):
    S: str = ""


class _Bands(_Told, tag="l"):
    S: str
    t: str
    u: float | None = None
    d: float | None = None
    i: list[int | str] | int | str | None = None


class _Imbalance(_Told, tag="i"):
    S: str = ""


_FRAMES: Final = TaggedFrames(
    _Trade | _Quote | _Bar | _UpdatedBar | _DailyBar | _Correction | _Cancel
    | _Success | _Error | _Subscription | _Status | _Bands | _Imbalance,
    "T",
)  # fmt: skip
_KEPT_OUT: Final = {
    _Status: "trading statuses",
    _Imbalance: "imbalances",
}


class AlpacaTalk(TaggedTalk):
    """Trades, quotes, price bands, bars of minutes and days.

    A cancelled trade is told again with size 0 and the condition `canceled`. A corrected one is
    told again as it is now; where its id changed, the old one too, as size 0, `corrected`.
    """

    messages = _FRAMES

    def __init__(
        self,
        url: str,
        key: str,
        secret: str,
        symbols: Sequence[str],
        kinds: Sequence[Kind],
        *,
        provider: str,
        silence_seconds: float,
    ) -> None:
        login = {"action": "auth", "key": key, "secret": secret}
        channels = [channel for kind in kinds for channel in _CHANNELS[kind]]
        wanted = {channel: list(symbols) for channel in channels}
        super().__init__(
            url,
            login=login,
            subscription={"action": "subscribe", **wanted},
            provider=provider,
            silence_seconds=silence_seconds,
        )

    def read(self, frames: Sequence[Frame]) -> Heard:
        """Records of the feed that the address names: a recording has its own."""
        feed = frames[0].url.rpartition("/")[2] if frames else None
        self._provider = provider_of(feed, default=self._provider)
        return super().read(frames)

    def made(self) -> Mapping[type, Made]:
        """A kind and its table for each form; all bars together, for they mend one another."""
        bars: Made = ("bar", self._bars)
        return {
            _Trade: ("trade", self._trades),
            _Quote: ("quote", self._quotes),
            _Bands: ("price_band", self._bands),
            _Bar: bars,
            _UpdatedBar: bars,
            _DailyBar: bars,
        }

    def have_time(self, events: Sequence[Any]) -> Sequence[bool]:
        """Whether the text is an instant."""
        if not events:
            return ()
        known: list[bool] = pc.is_valid(text_ns(pa.array([e.t for e in events]))).to_pylist()
        return known

    def hear(self, event: Any, said: Said) -> Iterable[object]:  # noqa: ANN401 - see `messages`
        """Corrections, answers to login and subscription, and what we have no record of."""
        if isinstance(event, _Correction | _Cancel):
            return _mended(event)
        if isinstance(event, _Success):
            said.replies += self._reply(event.msg)
        elif isinstance(event, _Subscription):
            said.ready = True
        elif isinstance(event, _Error):
            said.error = said.error or _error(event, said.notes)
        else:
            what = _KEPT_OUT[type(event)]
            said.notes.append(f"{what} were left out: we have no such record")
            said.left_out[what] += 1
        return ()

    def _reply(self, said: str) -> Sequence[str]:
        if said == "connected":
            return [self._login]
        return [self._subscribe] if said == "authenticated" else []

    def _trades(self, pile: Pile, frames: Sequence[Frame]) -> pa.Table:
        rows: list[_Trade] = pile.events
        conditions = [None if row.c is None else ",".join(row.c) for row in rows]
        return ticks(
            "trade",
            self._provider,
            pile.received(frames),
            symbol=texts(row.S for row in rows),
            ts_ns=text_ns(pa.array([row.t for row in rows])),
            price=column(rows, "p"),
            size=column(rows, "s"),
            venue=pa.array([row.x for row in rows], pa.string()),
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
            symbol=texts(row.S for row in rows),
            ts_ns=text_ns(pa.array([row.t for row in rows])),
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
            symbol=texts(row.S for row in rows),
            ts_ns=text_ns(pa.array([row.t for row in rows])),
            lower=column(rows, "d"),
            upper=column(rows, "u"),
            indicators=codes(rows, "i"),
            currency="USD",
        )

    def _bars(self, pile: Pile, frames: Sequence[Frame]) -> pa.Table:
        rows: list[_Bar] = pile.events
        names = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}
        received = pile.received(frames)
        parts = []
        # Days come again every minute while they run, minutes once they are over.
        for daily, interval, state in ((False, "1m", "provisional"), (True, "1d", "forming")):
            at = [n for n, row in enumerate(rows) if isinstance(row, _DailyBar) == daily]
            chosen = [rows[n] for n in at]
            if chosen:
                columns = {
                    "symbol": pa.array([row.S for row in chosen]),
                    "start": instants(text_ns(pa.array([row.t for row in chosen]))),
                    **{name: column(chosen, short) for short, name in names.items()},
                }
                parts.append(
                    bars_as_told(
                        columns,
                        provider=self._provider,
                        interval=interval,
                        received_at=received.take(pa.array(at)),
                        state=state,
                    )
                )
        return pa.concat_tables(parts)


def _mended(event: _Correction | _Cancel) -> list[_Trade]:
    if isinstance(event, _Cancel):
        return [_Trade(event.S, event.t, event.x, event.p, 0.0, ["canceled"], event.i)]
    now = _Trade(event.S, event.t, event.x, event.cp, event.cs, event.cc, event.ci)
    if event.oi == event.ci:
        return [now]
    return [_Trade(event.S, event.t, event.x, event.op, 0.0, ["corrected"], event.oi), now]


_LOGGED_IN_ALREADY: Final = 403
_KEY: Final = (
    "set TICKERLAKE_SOURCES_ALPACA_API_KEY and TICKERLAKE_SOURCES_ALPACA_API_SECRET to a key that "
    "has this feed"
)
_FINAL: Final = {
    402: ("Alpaca does not accept the key.", _KEY),
    405: ("Alpaca's plan allows fewer symbols at once.", "name fewer symbols (free plan: 30)"),
    409: (
        "Your plan at Alpaca does not have this feed live.",
        'set feed = "iex" in [sources.alpaca], or change the plan',
    ),
    410: ("This feed of Alpaca's does not have these kinds.", "choose other --kinds"),
    411: ("Alpaca does not accept the key for this.", _KEY),
}
_PASSING: Final = {
    406: ("Alpaca still holds another connection of ours.", "one connection a feed and user: wait"),
    407: ("Alpaca cut us off: we read too slowly.", "wait; if it stays, name fewer symbols"),
}


def _error(told: _Error, notes: list[str]) -> TickerlakeError | None:
    """What an error message means: final where trying again cannot help."""
    found = f"{told.code} {told.msg[:120]}"
    if told.code == _LOGGED_IN_ALREADY:
        notes.append(f"Alpaca says: {found}")
        return None
    if told.code in _FINAL:
        problem, todo = _FINAL[told.code]
        return ConfigError(problem, expected="data", found=found, todo=todo)
    problem, todo = _PASSING.get(told.code, ("Alpaca ended the talk.", "wait, then try again"))
    return UnreachableError(problem, expected="data", found=found, todo=todo)
