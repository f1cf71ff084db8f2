"""Locks between processes: whoever waits for one that does not end is told so."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tickerlake.errors import StorageError
from tickerlake.locks import file_lock, use_write_ahead_log
from tickerlake.streams import StreamsSettings, open_stream
from tickerlake.testing.sample_records import sample_bars

HOLDS = """
import sys
from pathlib import Path
from tickerlake.locks import file_lock, use_write_ahead_log
with file_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


class Holder:
    """Another process that holds a lock."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDS, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == b"held\n"

    def let_go(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.lock"


@pytest.fixture
def holder(path: Path) -> Iterator[Holder]:
    held = Holder(path)
    yield held
    held.let_go()


def test_a_holder_that_does_not_end_is_named(path: Path, holder: Holder) -> None:
    """The message names the process, so that somebody can do something about it."""
    os.kill(holder.process.pid, signal.SIGSTOP)
    named = f"process {holder.process.pid} held .*some.lock"
    with pytest.raises(TimeoutError, match=named), file_lock(path, seconds_max=0.2):
        pass


def test_who_gave_up_does_not_keep_the_lock(path: Path, holder: Holder) -> None:
    """What still waits in the background gives it back: others get it when the holder ends."""
    for _ in range(3):
        with pytest.raises(TimeoutError), file_lock(path, seconds_max=0.05):
            pass
    holder.let_go()
    with file_lock(path, seconds_max=60):
        pass
    with file_lock(path, seconds_max=60):
        pass


@pytest.mark.parametrize("seconds_max", [60.0, None])
def test_who_waits_gets_it_when_it_is_free(
    path: Path, holder: Holder, seconds_max: float | None
) -> None:
    """Within the limit, or without one."""
    held = threading.Event()

    def wait() -> None:
        with file_lock(path, seconds_max=seconds_max):
            held.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not held.wait(0.1)
    holder.let_go()
    waiting.join()
    assert held.is_set()


def test_one_at_a_time(path: Path) -> None:
    """Many threads, each with the limit: never two within."""
    inside: list[int] = []
    most = 0

    def work() -> None:
        nonlocal most
        for _ in range(50):
            with file_lock(path):
                inside.append(1)
                most = max(most, len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_suspended_process_holds_up_no_publisher_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The publisher says who holds the log and what to do; then it goes on, with nothing twice."""
    stream = open_stream("embedded:", workspace=tmp_path, settings=StreamsSettings())
    with contextlib.closing(stream):
        topic = stream.topic("bar")
        topic.publish(sample_bars(10))
        (bell,) = tmp_path.rglob("*.lock")
        held = Holder(bell)
        os.kill(held.process.pid, signal.SIGSTOP)
        monkeypatch.setattr("tickerlake.streams.log_file.SECONDS_MAX", 0.2)
        with pytest.raises(StorageError) as raised:
            topic.publish(sample_bars(10))
        assert f"process {held.process.pid}" in str(raised.value)
        assert "kill -CONT" in str(raised.value)
        held.let_go()
        topic.publish(sample_bars(10))
        assert sum(topic.tip(partition) for partition in topic.partitions()) == 20


def test_the_journal_changes_once_others_let_go(tmp_path: Path) -> None:
    """SQLite refuses that at once while another connection reads; here it is waited for."""
    path = tmp_path / "index.sqlite"
    with contextlib.closing(sqlite3.connect(path, check_same_thread=False)) as other:
        other.execute("create table t (a)")
        other.execute("insert into t values (1)")
        other.commit()
        other.execute("begin")
        other.execute("select * from t").fetchall()
        with contextlib.closing(sqlite3.connect(path)) as mine:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                use_write_ahead_log(mine, 0.05)
            timer = threading.Timer(0.2, other.rollback)
            timer.start()
            use_write_ahead_log(mine, 20)
            assert mine.execute("pragma journal_mode").fetchone() == ("wal",)
            timer.join()
