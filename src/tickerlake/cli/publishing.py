"""What `publish`, `run` and `demo` share: how publishing is told."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tickerlake.cli.output import Output, Progress, counted
from tickerlake.errors import UnreachableError

if TYPE_CHECKING:
    from tickerlake.publish import Event, Publisher, PublishReport, Put
    from tickerlake.sources import BarsRequest
    from tickerlake.sources.feed import Feed, Said

__all__ = ["follow", "listen", "on_event", "tell_report", "tell_said"]

#: A file may hold hundreds of symbols: nobody reads a line for each.
LINES_MAX = 20


def on_event(output: Output, progress: Progress, *, each: bool) -> Callable[[Event], None]:
    """A listener that tells each put (`each`), else one line a symbol and a bar's progress."""
    lines = itertools.count(1)

    def told(event: Event) -> None:
        from tickerlake.publish import Chosen
        from tickerlake.records import TOPICS

        if isinstance(event, Chosen):
            line = next(lines)
            if not each and line > LINES_MAX:
                if line == LINES_MAX + 1:
                    output.note("… and more symbols; only the sum is told from here on.")
            elif not each:
                text = f"{event.symbol} {event.interval}: {counted(event.fetched, 'bar')}"
                known = "all known already" if event.new == 0 else f"{event.new:,} new"
                output.result(f"{text}, {known}")
            return
        progress(event.sent)
        topic = TOPICS[event.kind]
        if each or output.json_mode:
            output.event(_put_as_object(event, topic), _put_as_text(event, topic))

    return told


def _put_as_text(put: Put, topic: str) -> str:
    where = f"{topic} partition {put.partition} position {put.last_position}  {put.status}"
    if put.ts is None:
        return f"{counted(put.records, 'record')}  {where}"
    return f"{put.symbol}  {put.ts:%Y-%m-%d %H:%M}Z  {put.state or put.kind}  {where}"


def _put_as_object(put: Put, topic: str) -> dict[str, Any]:
    return {
        "event": "put",
        "topic": topic,
        "symbol": put.symbol,
        "ts": put.ts,
        "state": put.state,
        "partition": put.partition,
        "first_position": put.first_position,
        "position": put.last_position,
        "records": put.records,
        "status": put.status,
    }


def tell_report(report: PublishReport, output: Output, *, event: str = "done") -> None:
    """The sum of one run."""
    text = f"Published {counted(report.sent, 'record')}"
    if report.unchanged:
        text += f"; {report.unchanged:,} known already and not sent again"
    output.event(
        {
            "event": event,
            "records": report.sent,
            "corporate_actions": report.actions,
            "unchanged": report.unchanged,
            "dead_letters": report.dead_letters,
            "fetched": report.fetched,
            "failed": {symbol: error.problem for symbol, error in report.failures.items()},
            "missing": report.missing,
            "stale": report.stale,
            "stopped": report.stopped,
        },
        f"{text}.",
    )
    if not report.fetched and not report.failures:
        output.note("The source has no bars in that range.")
    for note in report.notes:
        output.note(note)
    if report.dead_letters:
        output.note(
            f"{counted(report.dead_letters, 'record')} with impossible values: in the lake each "
            "is a dead letter; `tickerlake dead-letters list` says why, once delivered."
        )


def _tell_stale(before: set[str], now: set[str], output: Output) -> None:
    """Whose source can no longer be asked, or can again: once, not in every round."""
    for names, text in ((now - before, "stale: the source cannot be asked"),
                        (before - now, "no longer stale")):  # fmt: skip
        if names:
            some = ", ".join(sorted(names)[:LINES_MAX])
            more = f" and {len(names) - LINES_MAX} more" if len(names) > LINES_MAX else ""
            output.warning(f"{some}{more}: {text}")


def follow(
    publisher: Publisher,
    requests: Sequence[BarsRequest],
    output: Output,
    *,
    poll_seconds: float,
    stop: threading.Event,
    every_seconds: float | None = None,
    limit: int | None = None,
) -> None:
    """Ask again and again until stopped, or until so many records were sent.

    What cannot be had in one round is asked for again in the next. Only where every symbol fails,
    and none for want of an answer, is there nothing to follow.
    """
    sent, told_missing = 0, False
    stale: set[str] = set()
    symbols = {request.symbol for request in requests}
    while not stop.is_set() and (limit is None or sent < limit):
        left = None if limit is None else limit - sent
        report = publisher.publish(requests, every_seconds=every_seconds, limit=left, stop=stop)
        sent += report.sent
        for symbol, error in report.failures.items():
            output.warning(f"{symbol}: {error.problem}")
        for part in () if told_missing else report.missing:  # the same in every round
            output.warning(f"missing: {part}")
        told_missing = True
        _tell_stale(stale, {*report.stale}, output)
        stale = {*report.stale}
        if report.failures.keys() >= symbols and not any(
            isinstance(error, UnreachableError) for error in report.failures.values()
        ):
            report.raise_if_incomplete()
        if report.sent or stop.is_set():
            tell_report(report, output, event="published")
        stop.wait(poll_seconds)


def listen(
    publisher: Publisher,
    feed: Feed,
    output: Output,
    *,
    stop: threading.Event,
    limit: int | None = None,
) -> None:
    """Publish what a socket sends, until stopped, or so many records were sent, or its end."""
    from tickerlake.publish import LiveReport, publish_feed

    report = LiveReport()

    def on_outage(error: UnreachableError) -> None:
        output.warning(f"{error.problem} What comes waits: {error.found}")

    for report in publish_feed(feed, publisher, stop=stop, limit=limit, on_outage=on_outage):
        for said in report.said:
            tell_said(said, output)
    sent = dict(report.sent)
    parts = ", ".join(f"{count:,} {kind}" for kind, count in sent.items())
    left_out = dict(report.left_out)
    for what, count in left_out.items():
        output.note(f"Left out, for we have no such record: {count:,} {what}.")
    output.event(
        {
            "event": "done",
            "records": report.records,
            "by_kind": sent,
            "left_out": left_out,
            "stopped": stop.is_set(),
        },
        f"Published {counted(report.records, 'record')}{f' ({parts})' if parts else ''}.",
    )


def tell_said(said: Said, output: Output) -> None:
    """One line of what happened to a connection."""
    if output.json_mode:
        output.event({"event": said.event, "text": said.text}, said.text)
    elif said.event in ("lost", "gap"):
        output.warning(f"{said.event}: {said.text}")
    else:
        output.note(f"{said.event}: {said.text}" if said.event != "note" else said.text)
