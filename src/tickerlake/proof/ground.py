"""Where the logs and lakes of a series stand, and what may be done to them.

A power is something that faults need and that not everybody may do: kill a broker, make it forget
records, cut its network. What a ground does not offer, faults ask for in vain, and are left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from tickerlake.testing.invariants import DiskEyes, Eyes

__all__ = ["DiskLakes", "Lakes", "Logs", "Place", "UserLogs"]


@dataclass(frozen=True, slots=True)
class Place:
    """One run's own log and lake: addresses, and further settings by dotted name."""

    folder: Path
    stream: str
    lake: str
    catalog: str
    settings: Mapping[str, Any]

    @property
    def flags(self) -> dict[str, Any]:
        """All of it, as `tickerlake.open` takes it."""
        here = {"stream": self.stream, "lake": self.lake, "catalog": self.catalog}
        return {**self.settings, **here}


class Logs(Protocol):
    """Makes room for one log after the other."""

    @property
    def kind(self) -> str:
        """The kind of stream, for the evidence."""
        ...

    @property
    def powers(self) -> Mapping[str, Any]:
        """By name: objects that faults which need such a power know how to use."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What a worker over these logs must be told, by dotted name."""
        ...

    def url(self, name: str) -> str:
        """The address of a namespace of that name, in which nothing is yet."""
        ...

    def acknowledged(self, place: Place, group: str) -> Mapping[str, int] | None:
        """What the broker believes to be delivered; null where nobody can ask it."""
        ...

    def heal(self) -> None:
        """Take back whatever a run did to the broker, and wait until all of it answers."""
        ...


class Lakes(Protocol):
    """Makes room for one lake after the other."""

    @property
    def kind(self) -> str:
        """The kind of store, for the evidence."""
        ...

    @property
    def catalog_kind(self) -> str:
        """The kind of catalog, for the evidence."""
        ...

    @property
    def powers(self) -> Mapping[str, Any]:
        """By name: objects that faults which need such a power know how to use."""
        ...

    def settings(self, name: str) -> Mapping[str, Any]:
        """What a worker over the lake of that name must be told, by dotted name."""
        ...

    def urls(self, name: str) -> tuple[str, str]:
        """The addresses of a lake and of its catalog, in which nothing is yet."""
        ...

    def eyes(self, place: Place) -> Eyes:
        """How the judge sees that lake."""
        ...

    def remove(self, name: str) -> None:
        """Remove the lake of that name."""
        ...

    def heal(self) -> None:
        """Take back whatever a run did to catalog and store."""
        ...


@dataclass(frozen=True, slots=True)
class UserLogs:
    """A stream of somebody's own, over which we have no power: namespaces beside the given one."""

    address: str
    powers: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The scheme."""
        return urlsplit(self.address).scheme

    def url(self, name: str) -> str:
        """The same host, a namespace of our own; a log without a host lies in the workspace."""
        parts = urlsplit(self.address)
        return parts._replace(path=f"/{name}").geturl() if parts.netloc else self.address

    def acknowledged(self, place: Place, group: str) -> Mapping[str, int] | None:  # noqa: ARG002
        """Nobody asks other people's brokers."""
        return None

    def heal(self) -> None:
        """Nothing was done to it."""


@dataclass(frozen=True, slots=True)
class DiskLakes:
    """Lakes on local disk, each in its run's folder, with a SQLite catalog beside it."""

    folder: Path
    kind: str = "disk"
    catalog_kind: str = "sqlite"
    powers: Mapping[str, Any] = field(default_factory=lambda: {"local disk": None})

    def settings(self, name: str) -> Mapping[str, Any]:  # noqa: ARG002
        """Nothing that is not the default."""
        return {}

    def urls(self, name: str) -> tuple[str, str]:
        """Beside each other."""
        return str(self.folder / name / "lake"), f"sqlite:{self.folder / name / 'catalog.db'}"

    def eyes(self, place: Place) -> Eyes:
        """Nobody's code between."""
        return DiskEyes(Path(place.catalog.removeprefix("sqlite:")))

    def remove(self, name: str) -> None:
        """Remove its folder."""
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def heal(self) -> None:
        """Nothing was done to the disk."""
