"""What happens to catalogs and stores that are servers of their own."""

from __future__ import annotations

import signal
from abc import abstractmethod
from contextlib import ExitStack
from typing import TYPE_CHECKING, ClassVar

from tickerlake import clock
from tickerlake.proof.faults.catalog import CatalogFault
from tickerlake.testing.services.http_proxy import (
    answer,
    cut_answer,
    cut_request,
    lose_answer,
    send_twice,
)

if TYPE_CHECKING:
    from tickerlake.proof.lakes import TeamLakes
    from tickerlake.proof.run import Run
    from tickerlake.testing.services.http_proxy import Action

__all__ = [
    "CatalogAnswers",
    "CatalogCut",
    "ServersKilled",
    "StoreErrors",
    "StoreFull",
    "TokensExpired",
]

#: How a worker may end whose catalog or store is away; the next one goes on.
AWAY = (
    "StorageError",
    "UnreachableError",
    "LakeUnreachableError",
    "CommitUnknownError",
    "CommitRefusedError",
)
_COMMIT = r"POST .*/tables/bars_log"
_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>by a fault proxy</Message></Error>"


class TeamFault(CatalogFault):
    """A worker stands still with records in its hands; then the servers begin to fail."""

    power: ClassVar[str]
    #: Which requests fail, with what.
    requests: ClassVar[tuple[tuple[str, Action], ...]] = ()

    def strike(self, run: Run) -> None:
        """It goes on among failing requests, beside a rival or alone."""
        run.publish()
        step = run.random.choice(["5", "6", "7", "3", "8a"])
        worker = run.paused(step, nth=run.some_time(step))
        run.struck(f"{self.name} after {step}", worker)
        lakes: TeamLakes = run.power(self.power)
        self.misbehave(run, lakes)
        worker.signal(signal.SIGCONT)
        self.meanwhile(run, lakes)
        run.expect_end(worker, *AWAY)
        lakes.heal()
        run.judge()

    @abstractmethod
    def misbehave(self, run: Run, lakes: TeamLakes) -> None:
        """Arm what shall fail."""

    def meanwhile(self, run: Run, lakes: TeamLakes) -> None:
        """What happens while the worker goes on."""


class StoreErrors(TeamFault):
    """The object store answers with errors, cuts uploads, loses answers."""

    name = "store-errors"
    what = "the object store answers 409, 412, 500, 503 SlowDown, cuts uploads, loses answers"
    needs = frozenset({"object store"})
    power = "object store"
    kinds: ClassVar[tuple[Action, ...]] = (
        answer(503, _SLOW_DOWN, content_type="application/xml"),
        answer(409),
        answer(412),
        answer(500),
        cut_request(200),
        cut_answer(100),
        lose_answer,
        send_twice,
    )

    def misbehave(self, run: Run, lakes: TeamLakes) -> None:
        """Some uploads and some downloads, of data and of metadata."""
        for _ in range(run.random.randint(2, 5)):
            what = run.random.choice([r"PUT .*\.parquet", r"PUT .*\.avro", r"PUT .*\.json", "GET "])
            action = run.random.choice(self.kinds)
            lakes.store.add(what, action, times=run.random.randint(1, 4))


class StoreFull(TeamFault):
    """The object store's own disk is full."""

    name = "store-server-full"
    what = "the object store's own disk is full for a while"
    needs = frozenset({"object store"})
    power = "object store"

    def misbehave(self, run: Run, lakes: TeamLakes) -> None:  # noqa: ARG002 - always the same
        """From now on no file of it grows."""
        self._full = ExitStack()
        self._full.enter_context(lakes.servers[0].full_disk())

    def meanwhile(self, run: Run, lakes: TeamLakes) -> None:
        """With room again it has to be started anew: it takes its volumes for read-only."""
        clock.sleep(run.random.uniform(0.2, 1.5))
        self._full.close()
        lakes.servers[0].restart()


class CatalogAnswers(TeamFault):
    """A REST catalog that answers commits with anything but the truth."""

    name = "catalog-rest-answers"
    what = "a REST catalog loses answers of commits, gets them twice, answers 409, 412, 500, 503"
    needs = frozenset({"rest catalog"})
    power = "rest catalog"
    kinds: ClassVar[tuple[Action, ...]] = (
        lose_answer,
        lose_answer,
        send_twice,
        cut_answer(20),
        answer(409),
        answer(412),
        answer(500),
        answer(503),
    )

    def misbehave(self, run: Run, lakes: TeamLakes) -> None:
        """The next few commits."""
        for _ in range(run.random.randint(1, 4)):
            lakes.catalog.add(_COMMIT, run.random.choice(self.kinds))  # type: ignore[union-attr]


class TokensExpired(TeamFault):
    """The catalog's token and the store's keys run out in mid-run."""

    name = "catalog-token-expired"
    what = "tokens of catalog and store expire in mid-run"
    needs = frozenset({"rest catalog"})
    power = "rest catalog"

    def misbehave(self, run: Run, lakes: TeamLakes) -> None:
        """401 and 419 from the catalog, 403 from the store, now and then."""
        for what in ("GET .*/bars_log", _COMMIT):
            status = run.random.choice([401, 419])
            lakes.catalog.add(what, answer(status), times=run.random.randint(1, 2))  # type: ignore[union-attr]
        lakes.store.add("PUT ", answer(403), after=run.random.randint(0, 3))


class CatalogCut(TeamFault):
    """The connection to a PostgreSQL catalog breaks, also between a commit and its answer."""

    name = "catalog-connection-cut"
    what = "connections to a PostgreSQL catalog are reset, also between a commit and its answer"
    needs = frozenset({"catalog connection"})
    power = "catalog connection"

    def misbehave(self, run: Run, lakes: TeamLakes) -> None:
        """The next answer does not come, or only in part."""
        lakes.catalog.cut("answers", after_bytes=run.random.choice([0, 0, 30, 200, 1000]))  # type: ignore[union-attr]

    def meanwhile(self, run: Run, lakes: TeamLakes) -> None:
        """And again, at moments that nobody chose."""
        for _ in range(run.random.randint(1, 5)):
            clock.sleep(run.random.uniform(0.01, 0.1))
            if run.random.random() < 0.5:
                lakes.catalog.reset()  # type: ignore[union-attr]
            else:
                lakes.catalog.cut("answers", after_bytes=run.random.choice([0, 0, 100]))  # type: ignore[union-attr]


class ServersKilled(TeamFault):
    """Store or catalog die by SIGKILL and come back on their data."""

    name = "catalog-servers-killed"
    what = "the server of the store or of the catalog dies by SIGKILL and comes back"
    needs = frozenset({"object store"})
    power = "object store"

    def misbehave(self, run: Run, lakes: TeamLakes) -> None:
        """It dies now."""
        run.random.choice(lakes.servers).kill9()

    def meanwhile(self, run: Run, lakes: TeamLakes) -> None:
        """It comes back after a moment."""
        clock.sleep(run.random.uniform(0.0, 0.5))
        for server in lakes.servers:
            if not server.running:
                server.start()
