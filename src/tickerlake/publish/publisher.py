"""From a source onto the stream: sets states, sends what is new, so that repeating adds nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

import pyarrow as pa

from tickerlake import clock
from tickerlake.errors import TickerlakeError
from tickerlake.publish.news import News, new_actions, new_bars
from tickerlake.publish.replay import replay
from tickerlake.publish.reports import Chosen, Event, PublishReport, Put
from tickerlake.records import SCHEMAS, Kind, conform, dead_reasons
from tickerlake.sources import Batches, Refusals, batched

if TYPE_CHECKING:
    from tickerlake.sources import Answer, BarsRequest, Source
    from tickerlake.streams import Stream

__all__ = ["KnownActions", "KnownBars", "Publisher"]

#: Records per put where nothing paces them: the stop is looked at between two puts.
_BATCH_RECORDS: Final = 10_000


class KnownBars(Protocol):
    """Asks lake and whole tail: every key's newest bar, dead letters' among them."""

    def __call__(self, provider: str, symbols: Sequence[str], interval: str, /) -> pa.Table:
        """The bar's schema; further columns do not matter."""
        ...


class KnownActions(Protocol):
    """Asks lake and whole tail: every key's newest corporate action."""

    def __call__(self, provider: str, symbols: Sequence[str], /) -> pa.Table:
        """The corporate action's schema; further columns do not matter."""
        ...


class Publisher:
    """Publishes a source's answers.

    Promise: when a method returns, all that it reports as sent is durable in the stream; repeating
    it after any end, a kill included, sends only what is new since. Not promised: that two
    publishers at the same time do not both send a bar (it then is one row in `bars` and two in
    `bars_history`).
    """

    def __init__(
        self,
        source: Source,
        stream: Stream,
        *,
        known: KnownBars,
        known_actions: KnownActions,
        on_event: Callable[[Event], None] | None = None,
        on_answer: Callable[[str, Answer], None] = lambda *_: None,
    ) -> None:
        """`on_answer` is told of each answer of the source, with the symbol that was asked for."""
        self._source = source
        self._stream = stream
        self._known = known
        self._known_actions = known_actions
        self._on_event = on_event
        self._on_answer = on_answer

    def publish(
        self,
        requests: Iterable[BarsRequest],
        *,
        every_seconds: float | None = None,
        limit: int | None = None,
        stop: threading.Event | None = None,
    ) -> PublishReport:
        """Fetch each request and put on the stream what is new.

        A symbol that cannot be had does not stop the others: it is in the report's `failures`.

        Args:
            requests: What to publish.
            every_seconds: Pace records as a live feed would come: one put each, this far apart.
            limit: Send at most so many records in all.
            stop: Set it, and what was begun is finished and reported.
        """
        run = _Run(self, every_seconds, limit, stop)
        refusals = Refusals()
        for group in batched(requests, self._source.limits):
            if run.is_over():
                break
            if refusals.final is not None:
                for request in group:
                    run.fail(request.symbol, refusals.final)
                continue
            for symbol, answer in self._answers(group):
                if run.is_over():
                    break
                refusals.told(answer)
                if isinstance(answer, TickerlakeError):
                    run.fail(symbol, answer)
                else:
                    self._on_answer(symbol, answer)
                    run.answer(answer)
                    if answer.stale:
                        run.mark_stale(symbol)
        return run.report()

    def publish_answer(
        self,
        answer: Answer,
        *,
        every_seconds: float | None = None,
        limit: int | None = None,
        stop: threading.Event | None = None,
    ) -> PublishReport:
        """As `publish`, for an answer that is already there, such as a file's."""
        run = _Run(self, every_seconds, limit, stop)
        run.answer(answer)
        return run.report()

    def replay(
        self,
        bars: pa.Table,
        *,
        calendar: str | None = None,
        seconds_between: float = 0.0,
        speed: float | None = None,
        limit: int | None = None,
        stop: threading.Event | None = None,
    ) -> PublishReport:
        """Play daily bars as if they were live; see `tickerlake.publish.replay`.

        What the stream already has is passed over without waiting: it goes on where it stopped.

        Args:
            bars: Daily bars; `fetched_at` becomes the moment of each put.
            calendar: Whose opens and closes.
            seconds_between: From one step (an open or a close) to the next.
            speed: Instead: so many times faster than the story itself.
            limit: Send at most so many records in all.
            stop: Set it, and what was begun is finished and reported.
        """
        run = _Run(self, None, limit, stop)
        known = self.known_of(bars)
        before: datetime | None = None
        for step in replay(bars, calendar=calendar):
            if run.is_over():
                break
            if not new_bars(step.bars, known, _NO_ACTIONS).table.num_rows:
                run.count(step.bars.num_rows, step.bars.num_rows)
                continue
            if before is not None:
                story = (step.at - before).total_seconds()
                run.wait(story / speed if speed else seconds_between)
            if run.is_over():
                break
            before = step.at
            now = pa.repeat(pa.scalar(clock.now(), _INSTANT), step.bars.num_rows)
            position = step.bars.schema.get_field_index("fetched_at")
            dated = step.bars.set_column(position, step.bars.schema.field(position), now)
            run.put_news(new_bars(dated, known, _NO_ACTIONS), "bar", dated.num_rows)
        return run.report()

    def known_of(self, bars: pa.Table) -> pa.Table:
        """What lake and tail hold of the same providers, symbols and intervals."""
        parts = [SCHEMAS["bar"].empty_table()]
        groups = bars.group_by(["provider", "interval"]).aggregate([("symbol", "distinct")])
        for group in groups.to_pylist():
            symbols = [symbol for symbol in group["symbol_distinct"] if symbol is not None]
            if group["provider"] is not None and group["interval"] is not None:
                found = self._known(group["provider"], symbols, group["interval"])
                parts.append(conform(found.select(SCHEMAS["bar"].names), "bar"))
        return pa.concat_tables(parts)

    def known_actions_of(self, bars: pa.Table, actions: pa.Table) -> pa.Table:
        """Corporate actions that lake and tail hold of the providers and symbols of both."""
        parts = [SCHEMAS["corporate_action"].empty_table()]
        both = pa.concat_tables([table.select(["provider", "symbol"]) for table in (bars, actions)])
        groups = both.group_by("provider").aggregate([("symbol", "distinct")])
        for group in groups.to_pylist():
            symbols = [symbol for symbol in group["symbol_distinct"] if symbol is not None]
            if group["provider"] is not None:
                found = self._known_actions(group["provider"], symbols)
                columns = SCHEMAS["corporate_action"].names
                parts.append(conform(found.select(columns), "corporate_action"))
        return pa.concat_tables(parts)

    def _answers(
        self, group: Sequence[BarsRequest]
    ) -> Iterator[tuple[str, Answer | TickerlakeError]]:
        """Of each symbol, what came or why not."""
        try:
            if len(group) > 1 and isinstance(self._source, Batches):
                found = self._source.bars_of([request.symbol for request in group], group[0])
            else:
                found = {request.symbol: self._source.bars(request) for request in group}
        except TickerlakeError as error:
            found = dict.fromkeys((request.symbol for request in group), error)
        for symbol, answer in found.items():
            if isinstance(answer, Exception) and not isinstance(answer, TickerlakeError):
                raise answer
            yield symbol, answer

    def put(self, kind: Kind, table: pa.Table, sent_before: int) -> None:
        """Put records in the stream, durable on return, and tell of each partition."""
        sent = sent_before
        only = table.to_pylist()[0] if table.num_rows == 1 else {}
        for done in self._stream.topic(kind).publish(table):
            sent += done.count
            self.tell(
                Put(
                    kind=kind,
                    symbol=only.get("symbol"),
                    ts=only.get("ts"),
                    state=only.get("state"),
                    partition=done.partition,
                    first_position=done.first_position,
                    last_position=done.last_position,
                    records=done.count,
                    sent=sent,
                )
            )

    def tell(self, event: Event) -> None:
        """Report an event to whoever listens."""
        if self._on_event is not None:
            self._on_event(event)


_NO_ACTIONS: Final = SCHEMAS["corporate_action"].empty_table()
_INSTANT: Final = SCHEMAS["bar"].field("fetched_at").type


class _Run:
    """One run's counts, pace, limit and stop."""

    def __init__(
        self,
        publisher: Publisher,
        every_seconds: float | None,
        limit: int | None,
        stop: threading.Event | None,
    ) -> None:
        self._publisher = publisher
        self._every_seconds = every_seconds
        self._limit = limit
        self._stop = stop or threading.Event()
        self._report = PublishReport()
        self._next_at: float | None = None

    def is_over(self) -> bool:
        return self._stop.is_set() or self._left() == 0

    def report(self) -> PublishReport:
        return replace(self._report, stopped=self._stop.is_set())

    def fail(self, symbol: str, error: TickerlakeError) -> None:
        self._report = replace(self._report, failures=self._report.failures | {symbol: error})

    def mark_stale(self, symbol: str) -> None:
        self._report = replace(self._report, stale=(*self._report.stale, symbol))

    def count(self, fetched: int, unchanged: int) -> None:
        report = self._report
        self._report = replace(
            report, fetched=report.fetched + fetched, unchanged=report.unchanged + unchanged
        )

    def wait(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def answer(self, answer: Answer) -> None:
        """Bars first; their corporate actions too, each only if new."""
        publisher = self._publisher
        actions = publisher.known_actions_of(answer.bars, answer.actions)
        all_actions = pa.concat_tables([actions, answer.actions])
        bars = new_bars(answer.bars, publisher.known_of(answer.bars), all_actions)
        news = new_actions(answer.actions, actions)
        notes = answer.notes
        if bars.repeated:
            notes += (f"{bars.repeated} bars came twice in one answer; the last of each was taken",)
        self._report = replace(
            self._report,
            notes=self._report.notes + notes,
            missing=self._report.missing + answer.missing,
        )
        for symbol, interval, fetched, new in _summaries(answer.bars, bars.table):
            publisher.tell(Chosen(symbol, interval, fetched, new))
        self.put_news(bars, "bar", answer.bars.num_rows)
        self.put_news(news, "corporate_action", answer.actions.num_rows)

    def put_news(self, news: News, kind: Kind, fetched: int) -> None:
        self.count(fetched, news.unchanged)
        size = 1 if self._every_seconds is not None else _BATCH_RECORDS
        start = 0
        while start < news.table.num_rows and not self.is_over():
            left = self._left()
            piece = news.table.slice(start, size if left is None else min(size, left))
            self._keep_pace()
            if self._stop.is_set():
                return
            self._publisher.put(kind, piece, self._report.sent)
            start += piece.num_rows
            dead = dead_reasons(piece, kind)
            report = self._report
            self._report = replace(
                report,
                sent=report.sent + piece.num_rows,
                actions=report.actions + (piece.num_rows if kind == "corporate_action" else 0),
                dead_letters=report.dead_letters + len(dead) - dead.null_count,
            )

    def _left(self) -> int | None:
        return None if self._limit is None else max(0, self._limit - self._report.sent)

    def _keep_pace(self) -> None:
        """Wait for the next beat; beats are counted from the first, so that none drifts."""
        if self._every_seconds is None:
            return
        now = clock.monotonic_seconds()
        due = now if self._next_at is None else self._next_at
        self._stop.wait(max(0.0, due - now))
        self._next_at = max(due, now) + self._every_seconds


def _summaries(bars: pa.Table, news: pa.Table) -> Iterator[tuple[str, str, int, int]]:
    keys = ["symbol", "interval"]
    new = {
        (row["symbol"], row["interval"]): row["ts_count"]
        for row in news.group_by(keys).aggregate([("ts", "count")]).to_pylist()
    }
    for row in bars.group_by(keys).aggregate([("ts", "count")]).to_pylist():
        key = row["symbol"], row["interval"]
        yield (*key, row["ts_count"], new.get(key, 0))
