"""The one place that chooses backends: from a workspace's settings to its open parts."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import date, datetime
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from tickerlake import clock
from tickerlake.config import Config, find_workspace, load
from tickerlake.records import KINDS, TOPICS, Kind

if TYPE_CHECKING:
    from tickerlake.adjust import Adjust
    from tickerlake.cache import CachedSource, Known
    from tickerlake.delivery import Copied, DeliveryReport, Event
    from tickerlake.flow import Flow
    from tickerlake.lake.lake import Lake
    from tickerlake.lake.maintenance import RelocateReport
    from tickerlake.observe import Family
    from tickerlake.publish import Event as PublishEvent
    from tickerlake.publish import Publisher
    from tickerlake.query import Engine, Result
    from tickerlake.query.live import Live
    from tickerlake.search import Found, Symbols
    from tickerlake.sources import Answer, BarsRequest, Frame, Source
    from tickerlake.sources.feed import Feed
    from tickerlake.streams import Stream

__all__ = ["Workspace", "open"]

#: Where processes that deliver say what they do, for others to see.
_WORKERS = "workers"


def open(  # noqa: A001 - `tickerlake.open("folder")` is what readers expect
    path: str | os.PathLike[str] | None = None, *, settings: Mapping[str, Any] | None = None
) -> Workspace:
    """Open a workspace.

    Args:
        path: Its folder; None takes `TICKERLAKE_WORKSPACE`, else the current folder or the
            nearest above that holds `tickerlake.toml`.
        settings: What wins over environment and file, by dotted name, such as
            `{"stream": "embedded:", "query.rows_max": 100}`.

    Raises:
        ConfigError: There is no workspace, or a setting is wrong.
    """
    folder = find_workspace(path)
    return Workspace(folder, load(folder, flags=settings))


class Workspace:
    """A workspace whose parts are opened when they are first asked for.

    Safe to use from several threads once a part is open. Closing it closes what was opened, the
    last first.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder = folder
        self.config = config
        self._settings = config.settings
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def ready(self) -> Self:
        """Open all parts now, in this thread: what follows shares them between threads."""
        for part in ("stream", "lake", "engine", "live", "flow"):
            getattr(self, part)
        return self

    def close(self) -> None:
        """Give back files and connections."""
        self._opened.close()

    @cached_property
    def stream(self) -> Stream:
        """The stream that `stream` names."""
        return self._open_stream()

    def _open_stream(self, url: str | None = None, partitions: int | None = None) -> Stream:
        """The workspace's stream, or another one by its URL."""
        from tickerlake.streams.registry import open_stream
        from tickerlake.streams.settings import TopicSettings

        settings = self._settings.streams
        if url is not None and url != self._settings.stream:
            # What `[streams.bars]` and its like say is said of the workspace's own stream.
            ours: dict[str, Any] = {topic: TopicSettings() for topic in TOPICS.values()}
            settings = dataclasses.replace(settings, **ours)
        if partitions is not None:
            settings = dataclasses.replace(settings, partitions=partitions)
        stream = open_stream(url or self._settings.stream, workspace=self.folder, settings=settings)
        self._opened.callback(stream.close)
        return stream

    @cached_property
    def lake(self) -> Lake:
        """The tables that `lake` and `catalog` name."""
        from tickerlake.lake.registry import open_lake

        settings = self._settings
        lake = open_lake(
            settings.lake, settings.catalog, workspace=self.folder, settings=settings.tables
        )
        self._opened.callback(lake.close)
        return lake

    def reaches(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Catalog and store, where they lie elsewhere, and how to ask each whether it answers."""
        from tickerlake.lake.reach import reaches

        settings = self._settings
        return reaches(
            settings.lake, settings.catalog, workspace=self.folder, settings=settings.tables
        )

    def relocate(self) -> RelocateReport:
        """Mend the lake's absolute paths after the workspace was moved.

        Raises:
            ConfigError: The catalog is still that of the original.
        """
        from tickerlake.lake.maintenance import relocate

        settings = self._settings
        return relocate(
            settings.lake, settings.catalog, workspace=self.folder, settings=settings.tables
        )

    @cached_property
    def engine(self) -> Engine:
        """Who answers SQL, as `engine` names it."""
        from tickerlake.query.registry import open_engine

        engine = open_engine(
            self._settings.engine,
            lake=self.lake,
            stream=self.stream,
            settings=self._settings.query,
            repeat_window=self._settings.delivery.repeat_window,
            sources=self._settings.sources,
        )
        self._opened.callback(engine.close)
        return engine

    @cached_property
    def live(self) -> Live:
        """Records as they arrive on the stream, from now on."""
        from tickerlake.query.live import Live

        live = Live(self.stream, KINDS)
        self._opened.callback(live.close)
        return live

    @cached_property
    def flow(self) -> Flow:
        """How far each hop has come."""
        from tickerlake.delivery import worker_statuses
        from tickerlake.flow import Flow

        # A connection of its own: a look must not move a worker's reader to another place.
        stream = self._open_stream()
        return Flow(stream, self.lake, partial(worker_statuses, self.folder / _WORKERS))

    def figures(self) -> list[Family]:
        """What Prometheus reads: each partition, and each process that delivers."""
        from tickerlake.flow import families

        return families(self.flow.topics(), self.flow.workers())

    def source(
        self,
        name: str,
        *,
        offline: bool = False,
        on_ask: Callable[[BarsRequest], None] = lambda _: None,
    ) -> CachedSource:
        """The source `name`, behind the cache; `offline` answers from the cache alone.

        `on_ask` is told after each request to the provider.

        Raises:
            ConfigError: No source has that name.
            MissingExtraError: Its package is not installed; names the pip command.
        """
        from tickerlake.cache import CachedSource
        from tickerlake.sources.registry import current_name, host_of

        name = current_name(name)
        cached = CachedSource(
            self.provider(name),
            self.folder / self._settings.cache.folder,
            offline=offline,
            host=host_of(name, self._settings.sources.get(name, {}).get("base_url")),
            settings=self._settings.cache,
            on_ask=on_ask,
        )
        self._opened.callback(cached.close)
        return cached

    def provider(self, name: str) -> Source:
        """The source `name` itself, without a cache.

        Raises:
            ConfigError: No source has that name.
            MissingExtraError: Its package is not installed; names the pip command.
        """
        from tickerlake.sources.registry import current_name, open_source
        from tickerlake.sources.vault import with_secrets

        name = current_name(name)
        settings = with_secrets(name, self._settings.sources.get(name, {}))
        if "path" in settings:
            settings["path"] = str(self.folder / settings["path"])
        source = open_source(name, settings=settings)
        close = getattr(source, "close", None)  # those that hold connections have it
        if close is not None:
            self._opened.callback(close)
        return source

    def cached_series(self) -> list[Known]:
        """The bars that the cache holds, of every source."""
        from tickerlake.cache import known_series

        return known_series(self.folder / self._settings.cache.folder)

    @cached_property
    def symbols(self) -> Symbols:
        """What is known of symbols: who finds, follows and remembers them."""
        from tickerlake.search import Symbols

        return Symbols(
            self.folder / self._settings.search.index,
            self._settings.search,
            provider=self.provider,
            settings_of=lambda name: self._settings.sources.get(name, {}),
        )

    def search(
        self,
        text: str,
        *,
        limit: int = 20,
        offline: bool = False,
        sources: Sequence[str] | None = None,
        refresh: bool = False,
        details: bool = False,
    ) -> Found:
        """Symbols that fit a name, a symbol, an ISIN or a SEDOL, best first.

        Providers are asked only for what is not known yet; iterating gives hits.

        Args:
            text: What to look for.
            limit: At most so many.
            offline: Ask nobody.
            sources: Ask only these; None takes what `[search] sources` says.
            refresh: Ask even for what is known.
            details: Ask for currency and first day, too, where a search does not tell them.

        Raises:
            UsageError: An empty text, or an ISIN with a wrong check digit.
            UnreachableError: Nothing is known, and nobody can be reached.
        """
        mode: Literal["ask", "offline"] = "offline" if offline else "ask"
        return self.symbols.search(
            text, limit=limit, mode=mode, names=sources, refresh=refresh, details=details
        )

    def feed(
        self,
        source: str,
        symbols: Sequence[str],
        kinds: Sequence[Kind] = (),
        *,
        record: Callable[[Frame, int], None] | None = None,
        patient: bool = False,
        remember: bool = False,
    ) -> Feed:
        """Live records of a source that has a socket; without `kinds`, its `limits.live_unnamed`.

        Args:
            source: Its name.
            symbols: Whose records.
            kinds: Which.
            record: Is told each frame, in and out, with the number of its connection.
            patient: Try without end, though there never was a connection.
            remember: Tell what a killed process missed that remembered, too. Only for who puts all
                of it on the stream.
        """
        from tickerlake.sources.feed import Feed
        from tickerlake.sources.memory import Memory

        opened, live = self.provider(source), self._settings.live
        memory = Memory(self.folder / live.folder, opened.name) if remember else None
        return Feed(opened, symbols, kinds, live, record=record, patient=patient, memory=memory)

    def read_file(self, path: Path) -> Answer:
        """Bars of a file, as `[sources.files]` says.

        Raises:
            MalformedError: A line cannot be read; names file and line.
        """
        from tickerlake.sources.files import FilesSource
        from tickerlake.sources.settings import settings_from

        settings = self._settings.sources.get("files", {})
        filled = settings_from(FilesSource.settings_type, settings, source="files")
        return FilesSource(filled).read_file(path)

    def publisher(
        self, source: str, *, on_event: Callable[[PublishEvent], None] | None = None
    ) -> Publisher:
        """Who puts bars of `source` on the stream, each new state once."""
        from tickerlake.publish import Chosen, Publisher
        from tickerlake.query.known import known_actions, known_bars

        def told(event: PublishEvent) -> None:
            if isinstance(event, Chosen):
                self.flow.fetched(source, event.fetched)
            if on_event is not None:
                on_event(event)

        return Publisher(
            self.symbols.followed(self.source(source)),
            self.stream,
            known=partial(known_bars, self.lake, self.stream),
            known_actions=partial(known_actions, self.lake, self.stream),
            on_event=told,
            on_answer=partial(self.symbols.note_about, source),
        )

    def deliver(
        self,
        kinds: Sequence[Kind] = KINDS,
        *,
        once: bool = False,
        accept_loss: bool = False,
        stop: threading.Event | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> DeliveryReport:
        """Move records from the stream into the lake until `stop`, or with `once` to its end.

        At the end `deliveries` and `latest` are brought up to date, so that other engines find all
        tables of the lake as our views show them.

        Raises:
            DataLossError: Going on would lose data; says what to do.
        """
        from tickerlake.delivery import Tally, deliver, status_file
        from tickerlake.lake.maintenance import tell_others

        tally = Tally()

        def told(event: Event) -> None:
            tally(event)
            if on_event is not None:
                on_event(event)

        with status_file(self.folder / _WORKERS, tally):
            report = deliver(
                self.stream,
                self.lake,
                kinds,
                once=once,
                accept_loss=accept_loss,
                stop=stop or threading.Event(),
                settings=self._settings.delivery,
                on_event=told,
            )
        tell_others(self.lake)
        return report

    def copy_stream(
        self,
        source: str,
        target: str,
        kinds: Sequence[Kind] = KINDS,
        *,
        stop: threading.Event | None = None,
        on_progress: Callable[[Copied], None] = lambda _: None,
    ) -> list[Copied]:
        """Copy what the stream `source` holds into `target`; the lake knows it in both.

        Run it again and it goes on, whatever ended it; `stop` ends it after a chunk.

        Raises:
            ConfigError: Source and target are one log, or another copy into the target is open.
            DataLossError: As a delivery of the source raises it.
        """
        from tickerlake.delivery import copy_stream
        from tickerlake.lake.maintenance import tell_others

        copied = copy_stream(
            self._open_stream(source),
            partial(self._open_stream, target),
            kinds,
            self.lake,
            settings=self._settings.delivery,
            stop=stop or threading.Event(),
            on_progress=on_progress,
        )
        tell_others(self.lake)
        return copied

    def serve(
        self,
        *,
        on_address: Callable[[str], None],
        stop: threading.Event | None = None,
        port: int | None = None,
    ) -> None:
        """Serve the page until `stop`, or Ctrl-C; tells its address first.

        `port` takes the place of `[web] port`; 0 is any free one.

        Raises:
            PortInUseError: Somebody listens there already.
            MissingExtraError: The server is not installed; names the pip command.
        """
        from tickerlake.web import serve

        web = self._settings.web
        serve(
            self.engine,
            live=self.live,
            pipeline=self.flow.pipeline,
            figures=self.figures,
            search=self.symbols.typed,
            settings=web if port is None else dataclasses.replace(web, port=port),
            on_address=on_address,
            stop=stop,
        )

    def sql(self, query: str, *, as_of: datetime | str | None = None) -> Result:
        """Run one SELECT over the lake and the stream's fresh tail.

        Args:
            query: SQL over the views `bars`, `bars_history`, `trades` and so on.
            as_of: What was known at this instant; as text, with its zone.

        Raises:
            QueryRefusedError: Not a single read-only statement.
            QueryError: The engine could not run it; names the place.
            LimitError: It took longer than the time limit.
        """
        instant = clock.parse_instant(as_of, name="as_of") if isinstance(as_of, str) else as_of
        return self.engine.sql(query, as_of=instant)

    def bars(
        self,
        symbol: str,
        interval: str = "1d",
        start: date | datetime | str | None = None,
        end: date | datetime | str | None = None,
        *,
        adjust: Adjust | None = None,
        provider: str | None = None,
        as_of: datetime | str | None = None,
    ) -> Result:
        """Bars of lake and stream, in order of time; of `provider`, or of all that gave them.

        Symbol, interval and ends (text too) are those of `BarsRequest`, `as_of` of `sql`. `adjust`
        says what prices are adjusted for; None: as they were given. docs/adjust.md tells more.

        Raises:
            AdjustmentError: What is known does not give the prices that were asked for.
        """
        from tickerlake.query.adjusted import bars_query, moment
        from tickerlake.sources import BarsRequest

        request = BarsRequest(symbol, interval, moment(start, "start"), moment(end, "end"))
        return self.sql(bars_query(request, adjust=adjust, provider=provider), as_of=as_of)
