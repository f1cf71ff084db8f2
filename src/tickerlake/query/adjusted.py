"""`bars_adjusted('none' | 'splits' | 'all')`: the SQL around the steps that `adjust` makes.

The steps are a few rows a symbol, made before the query runs. Each bar takes those that hold at its
session and at its split basis; the rules are those of `adjust.apply`, and a test holds both to the
same. A row that cannot be derived raises where it is read, and only there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final

from tickerlake import clock
from tickerlake.adjust import (
    ADJUSTMENTS,
    DAILY,
    UNADJUSTED_TYPES,
    Basis,
    basis_of,
    refusal,
)
from tickerlake.errors import AdjustmentError
from tickerlake.query.views import literal
from tickerlake.sources import BarsRequest, names

__all__ = ["MACRO", "adjusted", "bars_query", "daily", "moment", "refused"]

#: What stands in FROM.
MACRO: Final = "bars_adjusted"
_MARK: Final = "cannot be adjusted: "
_DAY: Final = timedelta(days=1)
_CUT: Final = "|"
_PRICES: Final = ("open", "high", "low", "close")


def daily(bars: str) -> str:
    """What `steps` needs, of SQL that gives bars with their adjusted close."""
    columns = ", ".join(DAILY)
    return f"select {columns} from ({bars}) where interval = '1d' and session = 'regular'"


def adjusted(
    bars: str, steps: str, columns: list[str], bases: Callable[[str], Basis] = basis_of
) -> str:
    """The macro's body; its parameter is `how`.

    Args:
        bars: SQL of the bars as they were given.
        steps: Name of the table of steps.
        columns: What to show of a bar, in order.
        bases: What a provider's numbers include, by its name.
    """
    derived = {name: f"{name} * splits * dividends" for name in _PRICES}
    derived |= {"volume": "volume / splits", "split_basis": "basis"}
    shown = ", ".join(f'{derived.get(name, name)} as "{name}"' for name in columns)
    paid_in = [name for name in names() if bases(name).prices == "all"]
    same = "b.provider = {0}.provider and b.symbol = {0}.symbol"
    return f"""
        with placed as (
            select b.*,
                coalesce(b.instrument_type in ({_words(UNADJUSTED_TYPES)}), false) as exempt,
                b.provider in ({_words(paid_in)}) as paid_in,
                s.splits as since_session, s.dividends as dividends_since, s.target, s.known_to,
                s.told, s.gaps_after as session_after, t.splits as since_basis,
                t.gaps_after as basis_after, t.gaps_beyond as basis_beyond
            from ({bars}) b
            asof left join {steps} s on {same.format("s")} and b.session_date >= s.from_date
            asof left join {steps} t on {same.format("t")} and b.split_basis >= t.from_date
        ),
        judged as (select *, {_REASON} as reason from placed),
        own as (
            select *, {_SPLITS} as splits, {_DIVIDENDS} as dividends, {_BASIS} as basis
            from judged
        )
        select {shown} from own"""


def moment(told: date | datetime | str | None, name: str) -> date | datetime | None:
    """A date, or an instant with its zone, out of a text.

    Raises:
        RangeError: It is neither.
    """
    if not isinstance(told, str):
        return told
    try:
        return date.fromisoformat(told)
    except ValueError:
        return clock.parse_instant(told, name=name)


def bars_query(request: BarsRequest, *, adjust: str | None, provider: str | None) -> str:
    """The query for the bars of one request, in order of time."""
    conditions = [f"symbol = {literal(request.symbol)}", f"interval = {literal(request.interval)}"]
    if provider is not None:
        conditions.append(f"provider = {literal(provider)}")
    # Conditions on ts too, for they spare files: a session's bars lie within a day of its date.
    if isinstance(request.start, datetime):
        conditions.append(f"ts >= {literal(request.start)}")
    elif request.start is not None:
        conditions += [f"session_date >= {_date(request.start)}"]
        conditions += [f"ts >= {literal(_midnight(request.start) - _DAY)}"]
    if isinstance(request.end, datetime):
        conditions.append(f"ts < {literal(request.end)}")
    elif request.end is not None:
        conditions += [f"session_date <= {_date(request.end)}"]
        conditions += [f"ts < {literal(_midnight(request.end) + 2 * _DAY)}"]
    relation = "bars" if adjust is None else f"{MACRO}({literal(adjust)})"
    return f"from {relation} where {' and '.join(conditions)} order by ts, provider, session"


def _date(day: date) -> str:
    return f"date '{day.isoformat()}'"


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def refused(message: str) -> AdjustmentError | None:
    """The error that a row raised inside the engine; None if this is another one."""
    _, mark, told = message.partition(_MARK)
    if not mark:
        return None
    reason, provider, symbol, found = told.split(_CUT, 3)
    return refusal(reason, provider=provider, symbol=symbol, found=found)


def _words(words: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f"'{word}'" for word in words) or "''"


#: The first that holds counts; null: the row can be derived.
_REASON: Final = f"""case
    when how not in ({_words(ADJUSTMENTS)}) then 'word'
    when exempt then null
    when paid_in then case when how <> 'all' then 'all' end
    when split_basis is null then 'basis'
    when how = 'none' and session_date = split_basis then null
    when not told then case when how = 'splits' and split_basis = target then null else 'untold' end
    when since_session is null or since_basis is null then 'events'
    when how = 'none' then case
        when session_after <> basis_beyond or known_to is null or split_basis > known_to
        then 'events' end
    when split_basis <> target and (basis_after > 0 or known_to is null or target > known_to)
        then 'events'
    when how = 'all' and (session_after > 0 or known_to is null or session_date > known_to)
        then 'events'
    when how = 'all' and dividends_since is null then 'dividend'
end"""
_FOUND: Final = """concat('the ', interval, ' bar of ', session_date, ' (split_basis ',
    coalesce(split_basis::varchar, 'None'), '); events known up to ', coalesce(known_to::varchar,
    'no day'))"""
#: Every price and volume reads this, so that none comes out of a row that is refused.
_SPLITS: Final = f"""case
    when reason is not null
        then error(concat_ws('{_CUT}', '{_MARK}' || reason, provider, symbol, {_FOUND}))::double
    when exempt or paid_in or (how = 'none' and session_date = split_basis) then 1.0
    when how = 'none' then since_session / since_basis
    else 1 / coalesce(since_basis, 1)
end"""
_DIVIDENDS: Final = """case
    when how <> 'all' or exempt or paid_in then 1.0 else dividends_since
end"""
_BASIS: Final = """case
    when exempt or paid_in then split_basis when how = 'none' then session_date else target
end"""
