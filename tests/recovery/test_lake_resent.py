"""Unclear outcomes: a request that is sent twice, an answer that is lost."""

from __future__ import annotations

import sqlite3
from typing import Any
from unittest.mock import Mock

import pytest
from sqlalchemy.exc import OperationalError

from lakes import PAIRS, Place
from tickerlake.errors import CommitRefusedError, CommitUnknownError
from tickerlake.lake import Change
from tickerlake.lake.lake import Lake
from tickerlake.lake.maintenance import verify
from tickerlake.testing.lake_suite import bars, deliver

pytestmark = pytest.mark.xdist_group("lakes")


@pytest.fixture(params=["sqlite_local", *PAIRS])
def lake(request: pytest.FixtureRequest) -> Lake:
    """A fresh lake, of each pair of catalog and store."""
    place: Place = request.getfixturevalue(request.param)
    return place.open()


def test_a_resent_request_leaves_the_table_readable(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit is applied and the request sent again: refused, but landed, and whole."""
    table = lake.table("bars_log")
    deliver(table, 10)
    send = lake.catalog.commit_table

    def send_twice(*request: Any) -> Any:
        send(*request)
        return send(*request)

    loaded, files = table.load(), table.write(bars(10, 5))
    with monkeypatch.context() as patch:
        patch.setattr(lake.catalog, "commit_table", send_twice)
        with pytest.raises(CommitRefusedError):
            table.commit(loaded, Change(append=files))
    fresh = table.load()
    assert fresh.snapshot_id != loaded.snapshot_id
    assert table.read(fresh).num_rows == 15
    deliver(table, 10)
    assert table.read(table.load()).num_rows == 25


@pytest.mark.parametrize("lands", [True, False])
def test_a_lost_answer_is_unknown_and_harms_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, lands: bool
) -> None:
    """Whether the commit landed or not: the error says unknown, and the table can be read."""
    table = lake.table("bars_log")
    deliver(table, 10)
    send = lake.catalog.commit_table

    def lose_the_answer(*request: Any) -> Any:
        if lands:
            send(*request)
        raise ConnectionResetError("the answer was lost")

    files = table.write(bars(10, 5))
    with monkeypatch.context() as patch:
        patch.setattr(lake.catalog, "commit_table", lose_the_answer)
        with pytest.raises(CommitUnknownError, match="Nobody knows"):
            table.commit(table.load(), Change(append=files))
    assert table.read(table.load()).num_rows == (15 if lands else 10)
    deliver(table, 10)
    assert not verify(lake).findings or lands


def test_each_commit_asks_the_catalog_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused commit is not tried again by any library below us, and deletes nothing."""
    table = lake.table("bars_log")
    deliver(table, 10)
    stale = table.load()
    deliver(table, 10)
    files = table.write(bars(20, 5))
    send, calls = lake.catalog.commit_table, []

    def count(*request: Any) -> Any:
        calls.append(request)
        return send(*request)

    monkeypatch.setattr(lake.catalog, "commit_table", count)
    before = set(table.store.files(table.folder))
    with pytest.raises(CommitRefusedError):
        table.commit(stale, Change(append=files))
    assert len(calls) == 1
    assert before <= set(table.store.files(table.folder))


def test_an_error_after_a_commit_is_not_one_of_the_commit(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalog is locked when the version hint asks it: what landed is said to have landed."""
    table = lake.table("bars_log")
    deliver(table, 10)
    send = lake.catalog.commit_table

    def lock_after_it(*request: Any) -> Any:
        answer = send(*request)
        locked = OperationalError("select", {}, sqlite3.OperationalError("database is locked"))
        patch.setattr(lake.catalog, "pointer", Mock(side_effect=locked))
        return answer

    loaded, files = table.load(), table.write(bars(10, 5))
    with monkeypatch.context() as patch:
        patch.setattr(lake.catalog, "commit_table", lock_after_it)
        snapshot_id = table.commit(loaded, Change(append=files))
    fresh = table.load()
    assert fresh.snapshot_id == snapshot_id
    assert table.read(fresh).num_rows == 15
