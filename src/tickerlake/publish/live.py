"""From a live feed onto the stream: nothing that was received is lost, and nothing doubled.

The event id of a quote, of a price band, and of a trade that has an id, is made of its key and
values alone, not of when it came: the same trade again (a snapshot after a reconnection, history
that fills a gap, a replayed capture) is the same event, which delivery drops. Bars keep their time
in it, because a bar's values may return; trades without ids, because another one may equal them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import UnreachableError
from tickerlake.records import SCHEMAS, Kind, key_hashes, with_event_ids
from tickerlake.sources import Answer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tickerlake.publish.publisher import Publisher
    from tickerlake.sources.feed import Feed, Said

__all__ = ["LiveReport", "publish_feed", "with_lasting_ids"]

#: A stream that cannot be reached is tried again, after pauses that double up to this.
_PAUSE_SECONDS: Final = 0.5
_PAUSE_SECONDS_MAX: Final = 30.0
#: Kinds whose key and values say all of an event: told again, it is the same.
_LASTING: Final[frozenset[Kind]] = frozenset({"trade", "quote", "price_band"})


@dataclass(frozen=True, slots=True)
class LiveReport:
    """What one run put on the stream, by kind; `said` is what happened in its last step."""

    sent: tuple[tuple[Kind, int], ...] = ()
    said: tuple[Said, ...] = ()
    #: What the provider sent that is no record of ours, and how many.
    left_out: tuple[tuple[str, int], ...] = ()

    @property
    def records(self) -> int:
        """All of them."""
        return sum(count for _, count in self.sent)

    def plus(self, kind: Kind, count: int) -> LiveReport:
        """With so many more of a kind."""
        return replace(self, sent=_sums(self.sent, {kind: count}))


T = TypeVar("T")


def _sums(counted: Sequence[tuple[T, int]], more: Mapping[T, int]) -> tuple[tuple[T, int], ...]:
    sums = dict(counted)
    for what, count in more.items():
        sums[what] = sums.get(what, 0) + count
    return tuple(sums.items())


def publish_feed(
    feed: Feed,
    publisher: Publisher,
    *,
    stop: threading.Event,
    limit: int | None = None,
    on_outage: Callable[[UnreachableError], None] = lambda _: None,
) -> Iterator[LiveReport]:
    """Publish until `stop` or the feed's end; one report after each step.

    While the stream cannot be reached the socket is still read, up to its cap; what does not fit
    becomes a gap. After `stop` what was received is still published, unless that fails.

    Args:
        feed: Where records come from.
        publisher: Puts them.
        stop: Set it, and what was received is finished.
        limit: Stop after so many records.
        on_outage: Told each time that the stream does not answer.

    Raises:
        UnreachableError: The stream did not answer after `stop`; or as `Feed.fresh`.
        UsageError: As `Feed.fresh`.
    """
    report = LiveReport()
    for fresh in feed.fresh(stop):
        for kind, table in fresh.tables.items():
            count = table.num_rows
            if limit is not None:
                count = min(count, limit - report.records)
            if count <= 0:
                continue
            if kind == "bar" and fresh.from_history:
                report = report.plus(kind, _put_news(publisher, table, count, stop, on_outage))
                continue
            records = with_lasting_ids(table.slice(0, count), kind)
            put = partial(publisher.put, kind, records, report.records)
            _insist(put, stop, on_outage)
            report = report.plus(kind, count)
        if limit is not None and report.records >= limit:
            stop.set()
        report = replace(report, left_out=_sums(report.left_out, fresh.left_out))
        yield replace(report, said=tuple(fresh.said))


def _put_news(
    publisher: Publisher,
    bars: pa.Table,
    limit: int,
    stop: threading.Event,
    on_outage: Callable[[UnreachableError], None],
) -> int:
    """How many of history's bars were news. What a failed attempt has sent is none in the next."""
    sent = 0

    def put() -> None:
        nonlocal sent
        actions = SCHEMAS["corporate_action"].empty_table()
        sent = publisher.publish_answer(Answer(bars, actions), limit=limit).sent

    _insist(put, stop, on_outage)
    return sent


def with_lasting_ids(table: pa.Table, kind: Kind) -> pa.Table:
    """Fill `event_id`; of kinds that last, trades with an id among them, without `fetched_at`.

    Equal trades without ids are real where the provider numbers none: each of one batch is taken
    for learned a microsecond after the one before, so none is dropped as a repeat of another.
    """
    if kind == "trade" and table["trade_id"].null_count:
        numbered = table.filter(pc.is_valid(table["trade_id"]))
        others = _apart(table.filter(pc.is_null(table["trade_id"])))
        return pa.concat_tables([with_lasting_ids(numbered, kind), others])
    if kind == "bar":
        return with_event_ids(_one_after_the_other(table), kind)
    if kind not in _LASTING:
        return with_event_ids(table, kind)
    fetched = table.column("fetched_at")
    undated = _fetched(table, pa.nulls(table.num_rows, fetched.type))
    return _fetched(with_event_ids(undated, kind), fetched)


def _apart(trades: pa.Table) -> pa.Table:
    dated = with_event_ids(trades, "trade")
    places = _places(dated["event_id"].to_numpy())
    return with_event_ids(_later(trades, places), "trade") if places.any() else dated


def _one_after_the_other(bars: pa.Table) -> pa.Table:
    """A frame may tell a bar and its revision: the later one is taken for learned later."""
    import numpy as np

    micros = bars["fetched_at"].cast(pa.int64()).to_numpy().astype(np.uint64)
    places = _places(key_hashes(bars, "bar") ^ (micros * np.uint64(0x9E3779B97F4A7C15)))
    return _later(bars, places) if places.any() else bars


def _places(words: npt.NDArray[np.int64] | npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """How many equal ones stand before each."""
    import numpy as np

    order = np.argsort(words, kind="stable")
    in_order = words[order]
    places = np.zeros(len(words), np.int64)
    new = np.concatenate(([True], in_order[1:] != in_order[:-1]))
    if not new.all():
        starts = np.flatnonzero(new)
        repeated = np.repeat(starts, np.diff(np.append(starts, len(words))))
        places[order] = np.arange(len(words)) - repeated
    return places


def _later(table: pa.Table, places: npt.NDArray[np.int64]) -> pa.Table:
    """Learned so many microseconds later."""
    micros = table["fetched_at"].cast(pa.int64()).to_numpy() + places
    return _fetched(table, pa.array(micros, pa.int64()).cast(table["fetched_at"].type))


def _fetched(table: pa.Table, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    position = table.schema.get_field_index("fetched_at")
    return table.set_column(position, table.schema.field(position), column)


def _insist(
    put: Callable[[], None],
    stop: threading.Event,
    on_outage: Callable[[UnreachableError], None],
) -> None:
    """Some may have landed when a put fails: their ids are fixed, so the next one repeats them."""
    pause = _PAUSE_SECONDS
    while True:
        stopped = stop.is_set()
        try:
            put()
        except UnreachableError as error:
            if stopped:
                raise
            on_outage(error)
            stop.wait(pause)
            pause = min(pause * 2, _PAUSE_SECONDS_MAX)
        else:
            return
