"""What the cache knows of a request before it asks anybody."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from tickerlake import clock
from tickerlake.cache.axis import (
    BEGINNING,
    DAY,
    FOREVER,
    SECOND,
    anchor,
    is_intraday,
    micros,
    period_after,
    request_for,
    wanted,
)
from tickerlake.cache.coverage import Coverage
from tickerlake.cache.identity import market_of
from tickerlake.cache.index import Key, Series
from tickerlake.cache.market import Market
from tickerlake.cache.overlap import settled
from tickerlake.cache.planner import Ask, Bars, Held, Rules, Sketch, gaps, sketch
from tickerlake.cache.rows import stamps
from tickerlake.cache.settings import CacheSettings
from tickerlake.sources import BarsRequest, Limits

if TYPE_CHECKING:
    import pyarrow as pa

    from tickerlake.cache.store import Store

__all__ = ["Look", "flight_name", "look_at", "sketched"]

#: A request is on its way for a while: this much away from the look-back's edge.
_EDGE: Final = 3600 * SECOND
_MINUTE: Final = 60 * SECOND


@dataclass(frozen=True, slots=True)
class Look:
    """One request and what is held for it: `missing` is what is wanted and not held, or due."""

    request: BarsRequest
    series: Series
    actions: Series | None
    wanted: tuple[int, int]
    missing: Coverage
    market: Market
    rules: Rules
    now: int
    #: The end of what can be asked for: now, or the day that trades now.
    limit: int

    @property
    def held(self) -> Held:
        """Bars and corporate actions together: covered is what both are, due what either is."""
        held = self.series.held
        if self.actions is None:
            return held
        events = self.actions.held
        return replace(
            held,
            coverage=held.coverage & events.coverage,
            rechecks=held.rechecks + events.rechecks,
        )

    @property
    def asked_symbol(self) -> str:
        """As it was spelled: a provider that does not know `TBTCUSD` may know `tBTCUSD`."""
        return self.request.symbol.strip()

    @property
    def flight(self) -> str:
        """The name under which only one fetches at a time."""
        return flight_name(self.series.key)

    def request_of(self, ask: Ask) -> BarsRequest:
        """What is sent for an ask."""
        begins = self.request.start is None and ask.start <= BEGINNING
        is_open = ask.is_open and self.wanted[1] == FOREVER
        return request_for(self.request, ask.start, ask.end, begins=begins, is_open=is_open)

    def span_of(self, ask: Ask) -> tuple[int, int]:
        """What an ask replaces: an open one all that follows."""
        return ask.start, max(ask.end, self.wanted[1]) if ask.is_open else ask.end


def flight_name(key: Key) -> str:
    """One name a series; corporate actions go with the days that bring them."""
    interval = "1d" if key.kind == "corporate_action" else key.interval
    return "/".join((key.provider, key.symbol, interval, key.session))


def look_at(
    store: Store,
    request: BarsRequest,
    *,
    source: str,
    limits: Limits,
    settings: CacheSettings,
    extended: bool,
    now: int | None = None,
    zone: str | None = None,
) -> Look:
    """Look a request up; reads no rows, and asks for no calendar unless something is missing.

    `now` is the clock's, unless several looks are to be of one moment; `zone` is taken for the
    exchange's while nobody knows that.
    """
    intraday = is_intraday(request.interval)
    session = "extended" if extended and intraday else "regular"
    symbol = request.symbol.strip()
    symbol = symbol if limits.case_matters else symbol.upper()
    key = Key(source, symbol, "bar", request.interval, session)
    series = store.index.current(key) or _unheld(store, key, limits)
    actions = None
    if request.interval == "1d":
        action_key = Key(source, symbol, "corporate_action", "", "regular")
        actions = store.index.current(action_key) or Series(action_key)
    now = micros(clock.now()) if now is None else now
    range_ = wanted(request, series.zone or zone, series.lead)
    look_back = limits.look_back_days.get(request.interval)
    span = limits.span_days.get(request.interval)
    edge = None if look_back is None else _edge(now - round(look_back * DAY), request.interval)
    rules = Rules(
        request.interval,
        span=None if span is None else round(span * DAY),
        edge=edge,
        merge_bars=settings.merge_bars,
    )
    market = market_of(series, limits, extended=extended)
    look = Look(request, series, actions, range_, Coverage(), market, rules, now, FOREVER)
    missing = gaps(look.held, range_, now)
    if not missing:
        return look
    limit = market.limit(now, request.interval)
    if intraday:
        limit = min(limit, now)
    return replace(look, missing=missing.within(BEGINNING, limit), limit=limit)


def _edge(kept_from: int, interval: str) -> int:
    """The earliest place to ask for; of days and longer, the first whole one.

    Away from where the look-back ends, for a request takes a moment to be sent.
    """
    edge = -(-(kept_from + _EDGE) // _MINUTE) * _MINUTE + 5 * _MINUTE
    if is_intraday(interval) or anchor(edge, interval) == edge:
        return edge
    return period_after(edge, interval)


def _unheld(store: Store, key: Key, limits: Limits) -> Series:
    """A series of which nothing is held: it trades where the symbol's other intervals do."""
    alike = store.index.alike(key)
    if alike is None:
        return Series(key)
    series = Series(key, calendar=alike.calendar)
    if market_of(series, limits, extended=False).calendar is None:
        return series
    return replace(series, zone=alike.zone, lead=alike.lead)


def sketched(look: Look, rows: pa.Table) -> Sketch:
    """The requests that a look needs, with all rows that are held of its series."""
    if not look.missing:
        return Sketch((), Coverage())
    low, high = look.missing.parts[0][0], look.missing.parts[-1][1]
    plan = sketch(
        look.held,
        look.missing,
        now=look.now,
        limit=look.limit,
        closed=look.market.closed(low - 20 * DAY, high + 20 * DAY, look.request.interval),
        bars=Bars(stamps(rows), settled(rows)),
        rules=look.rules,
    )
    lost = plan.out_of_reach - look.series.held.coverage  # what is held outlives the look-back
    return Sketch(plan.asks, Coverage() if look.request.start is None else lost)
