"""The services that other tests stand on: they start, answer, and come back after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from tickerlake.errors import NotFoundError, UnreachableError
from tickerlake.testing.services.installed import VARIABLE, installed
from tickerlake.testing.services.process import Service, answers, free_ports, wait_until

SECONDS_MAX = 30


class Pages(Service):
    """A server that is quick to start: Python's own."""

    name = "a web server"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (self.port,) = free_ports(1, owner=self)

    def command(self) -> list[str]:
        return [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(self.port)]

    def answering(self) -> bool:
        return answers(self.port)


class Broken(Pages):
    """A server that says why it cannot start."""

    def command(self) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit('no disk, no hope')"]


def test_a_service_answers_until_it_is_killed_and_again_after_a_restart(tmp_path: Path) -> None:
    """Start, SIGKILL, restart, orderly stop: it answers exactly while it runs."""
    pages = Pages(tmp_path / "pages").start()
    assert answers(pages.port)
    pages.kill9()
    assert not pages.running
    assert not answers(pages.port)
    pages.restart()
    assert answers(pages.port)
    pages.stop()
    assert not answers(pages.port)
    pages.destroy()
    assert not pages.folder.exists()


def test_a_port_is_nobody_elses_while_its_owner_lives(tmp_path: Path) -> None:
    """Neither another call nor another process gets it before its server has begun to listen."""
    among = range(8_210, 8_216)
    chooses = "from tickerlake.testing.services.process import free_ports as free"
    elsewhere = [sys.executable, "-c", f"{chooses}; print(*free(1, among=range(8_210, 8_216)))"]
    owner = Pages(tmp_path / "pages")
    ports = free_ports(5, owner=owner, among=among)
    (last,) = set(among) - set(ports)
    told = subprocess.run(elsewhere, capture_output=True, text=True, check=True).stdout
    assert told.split() == [str(last)]
    assert free_ports(1, among=among) == [last]
    del owner
    assert set(free_ports(6, among=among)) == set(among)


def test_a_service_is_healed_whatever_was_done_to_it(tmp_path: Path) -> None:
    """Paused or killed: it answers again."""
    with Pages(tmp_path / "pages") as pages:
        pages.pause()
        pages.heal()
        with urlopen(f"http://127.0.0.1:{pages.port}", timeout=30) as answer:
            assert answer.status == 200
        pages.kill9()
        pages.heal()
        assert answers(pages.port)


def test_a_service_that_cannot_start_says_what_it_printed(tmp_path: Path) -> None:
    """The end of the log is in the error: nobody has to look for it."""
    with pytest.raises(UnreachableError, match="no hope"):
        Broken(tmp_path / "broken").start()


def test_a_service_outlives_the_thread_that_started_it_but_not_the_process(tmp_path: Path) -> None:
    """A storm in a thread may restart it; whoever kills the test run leaves nothing behind."""
    story = f"""
import threading
from pathlib import Path
from test_services import Pages
pages = Pages(Path({str(tmp_path)!r}) / "pages")
thread = threading.Thread(target=pages.start)
thread.start()
thread.join()
print(pages.pid, pages.port, flush=True)
input()
"""
    places = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    path = os.pathsep.join([*places, os.environ.get("PYTHONPATH", ""), *sys.path])
    parent = subprocess.Popen(
        [sys.executable, "-c", story],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    with parent:
        assert parent.stdout is not None
        pid, port = map(int, parent.stdout.readline().split())
        os.kill(pid, 0)
        assert answers(port)
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not answers(port), seconds_max=SECONDS_MAX)


def test_what_is_not_installed_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fresh checkout is told about `make services`."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(NotFoundError, match="make services"):
        installed("kafka")
