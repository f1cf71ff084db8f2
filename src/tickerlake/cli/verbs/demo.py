"""`demo`: the whole chain on the bundled real sample."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import urllib.request
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any

from tickerlake import clock
from tickerlake.cli.arguments import global_settings
from tickerlake.cli.output import Output, counted
from tickerlake.cli.stopping import stopping
from tickerlake.cli.together import Together
from tickerlake.errors import DataLossError, PortInUseError

if TYPE_CHECKING:
    import pyarrow as pa

    from tickerlake.app import Workspace
    from tickerlake.publish import PublishReport

__all__ = ["add_arguments", "run"]

#: From this session on, the sample's bars are replayed as if they came in live.
REPLAY_FROM = date(2012, 12, 3)
#: Whose opens and closes the replay follows.
CALENDAR = "XNYS"
#: Between an open and its close, and between that and the next open.
STEP_SECONDS = 0.8
#: Small commits while somebody watches.
SETTINGS = {"delivery.flush_seconds": 1.0}

COUNTS = """\
select symbol, count(*) as bars, min(session_date) as first, max(session_date) as last
from bars group by symbol order by symbol"""
MOVERS = """\
select symbol, max_by(close, ts) as close,
  round(100 * (max_by(close, ts) / min_by(close, ts) - 1), 1) as percent
from bars where session_date >= '2012-11-01' group by symbol order by percent desc"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """With or without waiting."""
    parser.add_argument(
        "--once", action="store_true", help="do the work without waiting, and end (within 60 s)"
    )
    parser.epilog = "Makes and uses ./tickerlake-demo unless --workspace names another folder."


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Load, replay, deliver, serve and ask; go on where the last run stopped."""
    from tickerlake import app
    from tickerlake.config import make_workspace

    folder, made = make_workspace(Path(arguments.workspace or "tickerlake-demo"))
    flags = SETTINGS | global_settings(arguments)
    with app.open(folder, settings=flags) as workspace, stopping() as stop:
        output.log_as(workspace.config.settings.log)
        sample = _sample(workspace)
        output.result(f"workspace  {folder}{'' if made else ' (it goes on where it stopped)'}")
        output.result(f"sample     {counted(sample.num_rows, 'real daily bar')}, 2000 to 2013")
        _Demo(workspace, sample, output, stop.event, once=arguments.once).run()
    return stop.exit_code(endless=not arguments.once)


def _sample(workspace: Workspace) -> pa.Table:
    import pyarrow as pa

    from tickerlake.sources import BarsRequest

    source = workspace.source("sample")
    return pa.concat_tables([source.bars(BarsRequest(symbol)).bars for symbol in source.symbols()])


class _Demo:
    """One run: delivery and page in threads, the story in the main thread."""

    def __init__(
        self,
        workspace: Workspace,
        sample: pa.Table,
        output: Output,
        stop: threading.Event,
        *,
        once: bool,
    ) -> None:
        self._workspace = workspace
        self._sample = sample
        self._output = output
        self._stop = stop
        self._once = once
        self._began_seconds = clock.monotonic_seconds()
        self._facts: dict[str, Any] = {"workspace": workspace.folder}

    def run(self) -> None:
        """The whole story; a stop ends it after any step, and the next run goes on."""
        self._workspace.ready()
        with Together(self._stop) as together:
            together.start(self._deliver)
            self._serve(together)
            # Who watches gets the answers first, and need not wait for the replay.
            story = (self._replay, self._settle, self._ask)
            live = (self._ask, self._replay, self._settle)
            for step in (self._load, *(story if self._once else live), self._compare):
                step()
                if self._stop.is_set():
                    self._output.note("Stopped. Run it again and it goes on from here.")
                    return
            self._end()

    def _deliver(self) -> None:
        self._workspace.deliver(stop=self._stop)

    def _serve(self, together: Together) -> None:
        """Serve the page, and tell its address; without the extra there is none."""
        if find_spec("starlette") is None or find_spec("uvicorn") is None:
            self._output.note("No page: pip install 'tickerlake[web]' brings it.")
            return
        addresses: Queue[str] = Queue()

        def serve() -> None:
            try:
                port = 0 if self._once else None
                self._workspace.serve(on_address=addresses.put, stop=self._stop, port=port)
            except PortInUseError:
                # Somebody's port is no reason to show no page.
                self._workspace.serve(on_address=addresses.put, stop=self._stop, port=0)

        thread = together.start(serve)
        while not thread.done():
            try:
                address = addresses.get(timeout=0.1)
            except Empty:
                continue
            self._facts["page"] = address
            self._output.result(f"page       {address}")
            if not self._once:
                _open_browser(address)
            return

    def _load(self) -> None:
        """What was long before: published in one go."""
        import pyarrow.compute as pc

        from tickerlake.sources import Answer, empty_answer

        early = self._sample.filter(pc.less(self._sample["session_date"], REPLAY_FROM))
        report = self._workspace.publisher("sample").publish_answer(
            Answer(early, empty_answer().actions), stop=self._stop
        )
        self._tell("history", report)

    def _replay(self) -> None:
        """The last months, as if they came in now."""
        import pyarrow.compute as pc

        recent = self._sample.filter(pc.greater_equal(self._sample["session_date"], REPLAY_FROM))
        if not self._once:
            last = pc.max(recent["session_date"]).as_py()
            self._output.note(f"Replaying {REPLAY_FROM} to {last} as if live: watch the page.")
        with self._output.progress("replaying") as progress:
            total = 2 * recent.num_rows
            publisher = self._workspace.publisher(
                "sample", on_event=lambda event: progress(getattr(event, "sent", 0), total)
            )
            report = publisher.replay(
                recent,
                calendar=CALENDAR,
                seconds_between=0.0 if self._once else STEP_SECONDS,
                stop=self._stop,
            )
        self._tell("replay", report)

    def _tell(self, name: str, report: PublishReport) -> None:
        self._facts[name] = {"records": report.sent, "unchanged": report.unchanged}
        known = f", {report.unchanged:,} known already" if report.unchanged else ""
        self._output.result(f"{name:<9}  {counted(report.sent, 'record')} published{known}")

    def _settle(self) -> None:
        """Wait until the lake has all."""
        with self._output.progress("delivering") as progress:
            while not self._stop.is_set():
                topics = self._workspace.flow.topics()
                published, lag = sum(t.end for t in topics), sum(t.lag for t in topics)
                progress(published - lag, published)
                if lag == 0 and not any(topic.lag_seconds for topic in topics):
                    self._output.result(f"lake       {counted(published, 'record')} delivered")
                    return
                self._stop.wait(0.1)

    def _ask(self) -> None:
        """Two questions, as one would type them."""
        from tickerlake.cli.answers import rows_of

        answers = []
        folder = os.path.relpath(self._workspace.folder)
        for query in (COUNTS, MOVERS):
            table = self._workspace.sql(query).table
            answers.append(table.to_pylist())
            if not self._output.json_mode:
                text = query.replace("\n", "\n    ")
                self._output.result(f'\n$ tickerlake sql --workspace {folder} "\n    {text}"')
                self._output.table(table.column_names, rows_of(table))
        self._facts["answers"] = answers

    def _compare(self) -> None:
        """The demo is a check too: what came out is what went in."""
        wanted = self._sample.group_by("symbol").aggregate([("ts", "count")])
        counts = dict(zip(*(c.to_pylist() for c in wanted.columns), strict=True))
        # Others may have published to this workspace since, under their own names.
        ours = "where provider = 'sample'"
        symbols = self._workspace.sql(
            f"select symbol, count(*) as n from bars {ours} group by 1"
        ).table
        found = dict(zip(*(c.to_pylist() for c in symbols.columns), strict=True))
        states = self._workspace.sql(f"select count(*) as n from bars_history {ours}").table
        self._facts |= {"bars": found, "bars_history": states["n"][0].as_py()}
        if found != counts:
            raise DataLossError(
                "What came out of the chain is not what went in.",
                expected=str(counts),
                found=str(found),
                todo="if nobody else publishes the sample to this workspace, please report it",
            )
        self._output.result(
            f"\n{counted(sum(found.values()), 'bar')} in `bars`, as many as the sample has, in "
            f"{counted(self._facts['bars_history'], 'state')} in `bars_history`."
        )

    def _end(self) -> None:
        """Show that the page is there, or keep it until somebody ends it."""
        page = self._facts.get("page")
        if self._once and page is not None:
            # Our own server on loopback.
            with urllib.request.urlopen(f"{page}healthz", timeout=10) as answer:  # noqa: S310
                self._facts["page_status"] = answer.status
        self._facts["seconds"] = round(clock.monotonic_seconds() - self._began_seconds, 1)
        if self._output.json_mode:
            self._output.document(self._facts)
        self._output.result(f"Done in {self._facts['seconds']} s.")
        if not self._once:
            self._output.note(f"The page stays at {page or 'no address'}; Ctrl-C ends it.")
            self._stop.wait()


def _open_browser(address: str) -> None:
    """Only where a window can open: a text browser would take the terminal away."""
    has_screen = sys.platform in {"darwin", "win32"} or {"DISPLAY", "WAYLAND_DISPLAY"} & set(
        os.environ
    )
    if sys.stdout.isatty() and has_screen:
        import webbrowser

        webbrowser.open(address)
