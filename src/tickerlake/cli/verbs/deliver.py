"""`deliver`: stream → lake, exactly once."""

from __future__ import annotations

import argparse
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from tickerlake.cli.arguments import open_workspace, port_number, positive
from tickerlake.cli.lag import lag_told
from tickerlake.cli.output import Output, counted
from tickerlake.cli.stopping import stopping

if TYPE_CHECKING:
    from tickerlake.app import Workspace
    from tickerlake.delivery import DeliveryReport, Event

__all__ = ["add_arguments", "run", "tell_event", "tell_report"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Once or for ever, by how many, and what to do about a hole."""
    parser.add_argument(
        "--once", action="store_true", help="end at the streams' end as seen at the start"
    )
    parser.add_argument("--workers", metavar="N", type=positive, help="workers of each table")
    parser.add_argument(
        "--metrics-port",
        metavar="N",
        type=port_number,
        help="serve /metrics and /healthz there; 0 takes any free one",
    )
    parser.add_argument(
        "--metrics-host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="address that --metrics-port listens on (default: loopback)",
    )
    parser.add_argument(
        "--accept-loss",
        action="store_true",
        help="go on behind records that the stream no longer holds; the hole is recorded",
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Deliver until stopped, or to the end with `--once`."""
    flags = {"delivery.workers": arguments.workers}
    with open_workspace(arguments, output, flags) as workspace, stopping() as stop:
        if not arguments.once:
            output.note("Delivering; Ctrl-C ends it once what was read is committed.")
        with _metrics(arguments, workspace, output), lag_told(workspace, output):
            report = _deliver(arguments, workspace, output, stop.event)
    tell_report(report, output)
    return stop.exit_code(endless=not arguments.once)


def _deliver(
    arguments: argparse.Namespace, workspace: Workspace, output: Output, stop: threading.Event
) -> DeliveryReport:
    def tell(event: Event) -> None:
        tell_event(event, output)

    workers, accept_loss = workspace.config.settings.delivery.workers, arguments.accept_loss
    if workers > 1 and not arguments.once:
        from tickerlake.crew import deliver_in_processes

        return deliver_in_processes(
            workspace, workers, accept_loss=accept_loss, stop=stop, on_event=tell
        )
    return workspace.deliver(once=arguments.once, accept_loss=accept_loss, stop=stop, on_event=tell)


def _metrics(
    arguments: argparse.Namespace, workspace: Workspace, output: Output
) -> AbstractContextManager[object]:
    """The figures of this process and its workspace over HTTP, if they are asked for."""
    if arguments.metrics_port is None:
        return nullcontext()
    from tickerlake.observe import prometheus_text
    from tickerlake.observe.server import MetricsServer

    server = MetricsServer(
        arguments.metrics_host,
        arguments.metrics_port,
        lambda: prometheus_text(workspace.figures()),
    )
    url = f"{server.address}metrics"
    output.event({"event": "metrics", "url": url}, f"Figures for Prometheus at {url}")
    return server


def tell_event(event: Event, output: Output) -> None:
    """One line for each commit, and for each that was refused."""
    from tickerlake.delivery import Assigned, Delivered, Refused
    from tickerlake.records import TABLES

    if isinstance(event, Delivered):
        table = TABLES[event.kind]
        text = f"{table}: {counted(event.rows, 'row')} committed in {event.seconds:.2f} s"
        text += f" (cause: {event.cause})"
        if event.dead_letters:
            text += f", {counted(event.dead_letters, 'dead letter')} among them"
        if event.dropped:
            text += f", {counted(event.dropped, 'repeat')} dropped"
        output.event(
            {
                "event": "delivered",
                "table": table,
                "rows": event.rows,
                "dead_letters": event.dead_letters,
                "dropped": event.dropped,
                "snapshot_id": event.snapshot_id,
                "cause": event.cause,
                "seconds": round(event.seconds, 3),
                "ranges": {name: [span.start, span.end] for name, span in event.ranges.items()},
            },
            text,
        )
    elif isinstance(event, Refused):
        then = "reading again" if event.fenced else "trying again"
        output.tell(
            "info",
            "fenced" if event.fenced else "refused",
            f"{TABLES[event.kind]}: a commit was refused ({event.why}); {then}",
            {"table": TABLES[event.kind], "why": event.why, "partitions": event.partitions},
        )
    elif isinstance(event, Assigned):
        output.tell(
            "debug",
            "assigned",
            f"{TABLES[event.kind]}: reading partitions {', '.join(event.positions)}",
            {
                "table": TABLES[event.kind],
                "positions": {name: int(at) for name, at in event.positions.items()},
                "lost": event.lost,
            },
        )


def tell_report(report: DeliveryReport, output: Output) -> None:
    """The sum, at the end."""
    total = report.total
    text = f"Delivered {counted(total.rows, 'row')} in {counted(total.commits, 'commit')}"
    text += f", {report.seconds:.1f} s"
    if total.rows == 0 and total.dropped == 0:
        text = "Nothing to deliver: the lake has all that the stream holds"
    if total.dropped:
        text += f"; {counted(total.dropped, 'repeat')} dropped"
    output.event(
        {
            "event": "done",
            "rows": total.rows,
            "dead_letters": total.dead_letters,
            "dropped": total.dropped,
            "lost": total.lost,
            "commits": total.commits,
            "seconds": round(report.seconds, 3),
        },
        f"{text}.",
    )
    if total.dead_letters:
        output.note(
            f"{counted(total.dead_letters, 'record')} became dead; "
            "`tickerlake dead-letters list` says why."
        )
    if total.lost:
        output.warning(f"{counted(total.lost, 'record')} lost before they could be delivered")
