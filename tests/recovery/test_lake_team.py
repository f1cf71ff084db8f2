"""Faults of catalogs and stores that teams share: lost answers, killed servers, old tokens."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from lakes import Place, Shaky
from tickerlake.errors import (
    CommitRefusedError,
    CommitUnknownError,
    ConfigError,
    DataLossError,
    MissingExtraError,
    StorageError,
)
from tickerlake.lake import Change
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance import relocate, verify
from tickerlake.lake.registry import open_lake
from tickerlake.query.duckdb import DuckDBEngine
from tickerlake.testing.engine_suite import House, bar
from tickerlake.testing.lake_suite import bars, deliver
from tickerlake.testing.services.http_proxy import (
    Answer,
    Exchange,
    HttpProxy,
    answer,
    cut_request,
    lose_answer,
    send_twice,
)
from tickerlake.testing.services.postgres import Postgres
from tickerlake.testing.services.seaweed import Seaweed
from tickerlake.testing.services.tcp_proxy import TcpProxy

pytestmark = pytest.mark.xdist_group("lakes")

#: Nothing sends a transaction of PostgreSQL again, it knows no tokens, and it compares.
REST_ONLY = pytest.mark.parametrize("shaky", ["rest_s3"], indirect=True)

COMMIT = "POST .*/tables/bars_log"
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your rate.</Message></Error>"


def rows(lake: Lake) -> int:
    """How many the table has now."""
    table = lake.table("bars_log")
    return table.read(table.load()).num_rows


def lose_the_next_answer(lake: Lake, proxy: TcpProxy | HttpProxy) -> None:
    """The catalog commits what it is asked to next, and its answer is lost."""
    if isinstance(proxy, HttpProxy):
        proxy.add(COMMIT, lose_answer)
    else:
        cut: Any = lambda _: proxy.cut("answers", after_bytes=0)  # noqa: E731
        event.listen(lake.catalog.engine, "commit", cut, once=True)  # type: ignore[attr-defined]


def test_a_lost_answer_is_unknown_and_the_commit_stands(shaky: Shaky) -> None:
    """The catalog has committed and nobody hears of it: unknown, and the table has the rows."""
    lake = shaky.place.open()
    table = lake.table("bars_log")
    deliver(table, 10)
    loaded, files = table.load(), table.write(bars(10, 5))
    lose_the_next_answer(lake, shaky.catalog)
    with pytest.raises(CommitUnknownError, match="Nobody knows"):
        table.commit(loaded, Change(append=files))
    assert rows(lake) == 15
    deliver(table, 10)
    assert rows(lake) == 25


@REST_ONLY
def test_a_request_that_is_sent_twice_leaves_a_whole_table(shaky: Shaky) -> None:
    """A proxy or an SDK sends the commit again: refused, but landed, and every file is there."""
    assert isinstance(shaky.catalog, HttpProxy)
    lake = shaky.place.open()
    table = lake.table("bars_log")
    deliver(table, 10)
    loaded, files = table.load(), table.write(bars(10, 5))
    resent = shaky.catalog.add(COMMIT, send_twice)
    with pytest.raises(CommitRefusedError):
        table.commit(loaded, Change(append=files))
    assert resent.struck == 1
    assert rows(lake) == 15
    deliver(table, 10)
    assert rows(lake) == 25


@REST_ONLY
@pytest.mark.parametrize("status", [401, 403, 419])
def test_an_expired_token_is_renewed(shaky: Shaky, status: int) -> None:
    """However the catalog says that the token is too old: one more login, and the commit lands."""
    assert isinstance(shaky.catalog, HttpProxy)
    lake = shaky.place.open()
    table = lake.table("bars_log")
    expired = [shaky.catalog.add(what, answer(status)) for what in ("GET .*/bars_log", COMMIT)]
    logins = sum("oauth" in what for what, _ in shaky.catalog.seen)
    deliver(table, 10)
    assert [fault.struck for fault in expired] == [1, 1]
    assert sum("oauth" in what for what, _ in shaky.catalog.seen) == logins + 2
    assert rows(lake) == 10


def test_a_catalog_that_is_not_well_is_asked_again(shaky: Shaky) -> None:
    """Reads are patient: errors of a server, and connections that break, end no worker."""
    lake = shaky.place.open()
    table = lake.table("bars_log")
    deliver(table, 10)
    if isinstance(shaky.catalog, HttpProxy):
        sick = shaky.catalog.add("GET .*/bars_log", answer(503), times=3)
    else:
        shaky.catalog.reset()
    assert rows(lake) == 10
    if isinstance(shaky.catalog, HttpProxy):
        assert sick.struck == 3


def test_a_commit_that_the_server_could_not_do_is_unknown(shaky: Shaky) -> None:
    """5xx and a connection that breaks before the commit tell nothing; nothing has landed."""
    lake = shaky.place.open()
    table = lake.table("bars_log")
    deliver(table, 10)
    loaded, files = table.load(), table.write(bars(10, 5))
    if isinstance(shaky.catalog, HttpProxy):
        for status in (500, 502, 503, 504):
            shaky.catalog.add(COMMIT, answer(status))
            with pytest.raises(CommitUnknownError):
                table.commit(loaded, Change(append=files))
    else:
        refuse: Any = lambda _: shaky.catalog.reset()  # type: ignore[union-attr]  # noqa: E731
        event.listen(lake.catalog.engine, "commit", refuse, once=True)  # type: ignore[attr-defined]
        with pytest.raises(CommitUnknownError):
            table.commit(loaded, Change(append=files))
    assert rows(lake) == 10
    table.commit(table.load(), Change(append=files))
    assert rows(lake) == 15


def test_a_store_that_is_slow_or_cuts_uploads_loses_nothing(shaky: Shaky) -> None:
    """503 SlowDown, 500 and an upload that breaks off: sent again until each file is whole."""
    lake = shaky.place.open()
    table = lake.table("bars_log")
    deliver(table, 10)
    troubles = [
        shaky.store.add(r"PUT .*\.parquet", answer(503, SLOW_DOWN, content_type="application/xml")),
        shaky.store.add(r"PUT .*\.parquet", cut_request(200)),
        shaky.store.add(r"PUT .*-m0\.avro", answer(500)),
        shaky.store.add(r"PUT .*snap-.*", cut_request(10)),
    ]
    deliver(table, 10)
    assert [trouble.struck for trouble in troubles] == [1, 1, 1, 1]
    report = verify(lake)
    assert report.sound, report.findings
    assert report.rows == 20


@pytest.mark.parametrize("what", [r"PUT .*\.parquet", r"PUT .*\.avro"])
def test_a_store_that_says_no_is_an_error_and_nothing_is_committed(shaky: Shaky, what: str) -> None:
    """Rights were taken away: a storage error, the table is as it was, and goes on later."""
    lake = shaky.place.open()
    table = lake.table("bars_log")
    deliver(table, 10)
    denied = shaky.store.add(what, answer(403), times=None)
    with pytest.raises(StorageError, match="cannot be written"):
        deliver(table, 10)
    assert denied.struck
    shaky.store.heal()
    assert rows(lake) == 10
    deliver(table, 10)
    assert verify(lake).sound


@pytest.mark.slow
def test_servers_that_were_killed_are_waited_for(
    shaky: Shaky, seaweed: Seaweed, postgres: Postgres
) -> None:
    """Catalog and store die between deliveries and come back: it takes longer, that is all."""
    lake = shaky.place.open()
    table = lake.table("bars_log")
    for goal, server in ((10, seaweed), (20, postgres), (30, seaweed)):
        server.kill9()
        server.launch()
        while rows(lake) < goal:
            # What a worker does: look what has landed, and try again what has not.
            with contextlib.suppress(CommitRefusedError, CommitUnknownError):
                deliver(table, 10)
        server.wait()
    report = verify(lake)
    assert report.sound, report.findings
    assert report.rows == 30


def test_a_lost_catalog_is_no_empty_lake(postgres_s3: Place) -> None:
    """Tables that the catalog has forgotten are not quietly begun anew."""
    lake = postgres_s3.open()
    lake.table("trades_log")  # nothing is lost of a table to which nothing was delivered
    deliver(lake.table("bars_log"), 10)
    for name in lake.names():
        lake.catalog.drop_table(lake.catalog.identifier(name))
    with pytest.raises(DataLossError, match="holds bars_log, of which"):
        postgres_s3.open()


def test_a_lake_is_not_opened_with_the_catalog_of_another(place: Place) -> None:
    """Two deployments that share a namespace by mistake: the second is refused, by its address."""
    place.open().table("bars_log")
    settings = place.folder / "tickerlake.toml"
    text = settings.read_text()
    settings.write_text(text.replace('lake = "s3://', 'lake = "s3://another-', 1))
    with pytest.raises(ConfigError, match="belongs to another lake"):
        place.open()


@REST_ONLY
def test_a_catalog_that_does_not_compare_is_refused(shaky: Shaky) -> None:
    """A REST catalog that takes every commit: of two rivals both land, and the lake says no."""
    assert isinstance(shaky.catalog, HttpProxy)

    def compare_nothing(exchange: Exchange) -> Answer:
        request = json.loads(exchange.body)
        exchange.body = json.dumps({**request, "requirements": []}).encode()
        return exchange.forward()

    lake = shaky.place.open()
    shaky.catalog.add("POST .*/tables/probe_", compare_nothing, times=None)
    with pytest.raises(ConfigError, match="stale writer"):
        lake.probe()
    shaky.catalog.heal()
    assert lake.names() == []
    lake.probe()


def test_only_a_folder_is_relocated(place: Place) -> None:
    """Nothing in a bucket has to be moved; asked to, relocate says so and touches nothing."""
    lake = place.open()
    deliver(lake.table("bars_log"), 10)
    with pytest.raises(ConfigError):
        place.opened[-1].relocate()
    with pytest.raises(ConfigError, match="SQLite"):
        relocate("./lake", "postgresql://somewhere/db", workspace=place.folder)
    assert rows(lake) == 10


def test_a_query_says_when_the_store_does_not_answer(shaky: Shaky, tmp_path: Path) -> None:
    """What keeps a query from its files is no mistake in its SQL."""
    house = House(tmp_path, lake=shaky.place.open())
    house.publish(bar())
    house.deliver()
    engine = DuckDBEngine(house.lake, house.stream)
    shaky.store.add(r"GET .*\.parquet", answer(403), times=None)
    with pytest.raises(StorageError, match="parquet cannot be read"):
        engine.sql("select * from bars")
    shaky.store.heal()
    assert len(engine.sql("select * from bars")) == 1
    engine.close()
    house.stream.close()


@pytest.mark.parametrize(
    ("lake", "catalog", "package"),
    [("s3://bucket/lake", "sqlite:", "boto3"), ("./lake", "postgresql://host/db", "psycopg")],
)
def test_a_missing_extra_names_the_command(
    lake: str, catalog: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its package a store or a catalog says how to install it."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match="not installed") as caught:
        open_lake(lake, catalog, workspace=tmp_path)
    assert "pip install 'tickerlake[" in str(caught.value)
