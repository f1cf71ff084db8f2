"""What each run showed: JSON lines that a stopped series goes on from, and the table of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tickerlake.errors import MalformedError

__all__ = ["Evidence", "append", "mend", "read"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One run."""

    seed: int
    fault: str
    group: str
    #: At which steps the fault struck, in their order.
    steps: Sequence[str]
    #: Kinds of stream, lake and catalog: their schemes, without any address.
    stream: str
    lake: str
    catalog: str
    version: str
    commit: str
    published: int
    in_lake: int
    lost: int
    duplicated: int
    dropped: int
    dead: int
    given_up: int
    #: The most that was under way at a strike: in the log beyond the lake, in a worker's hands.
    in_flight_log: int
    in_flight_hand: int
    struck: bool
    seconds: float
    findings: Sequence[str]
    #: When it began, by the machine's clock.
    began_at: str
    #: What the proof itself could not do: judged as far as it came, the run does not count.
    errors: Sequence[str] = ()

    @property
    def sound(self) -> bool:
        """Whether every promise was kept."""
        return not (self.findings or self.lost or self.duplicated or self.errors)


def append(path: Path, evidence: Evidence) -> None:
    """Add one line, in one write: several lanes of a series share a file."""
    line = json.dumps(dataclasses.asdict(evidence), separators=(",", ":")) + "\n"
    with path.open("ab", buffering=0) as file:
        file.write(line.encode())


def mend(path: Path) -> None:
    """Take a last line away that a kill cut off, so that the next one stands alone."""
    text = path.read_bytes() if path.exists() else b""
    if text and not text.endswith(b"\n"):
        path.write_bytes(text[: text.rfind(b"\n") + 1])


def read(path: Path) -> list[Evidence]:
    """All runs of a file; none if there is no file. A last line that a kill cut off is left out.

    Raises:
        MalformedError: Another line is no evidence.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return list(_parsed(path, lines[:-1]))


def _parsed(path: Path, lines: Iterable[str]) -> Iterator[Evidence]:
    names = {field.name for field in dataclasses.fields(Evidence)}
    for number, line in enumerate(lines, 1):
        try:
            values: dict[str, Any] = json.loads(line)
            yield Evidence(**{name: values[name] for name in names & set(values)})
        except (ValueError, KeyError, TypeError) as error:
            raise MalformedError(
                f"Line {number} of {path} is no evidence of a run.",
                expected=f"a JSON object with {', '.join(sorted(names))}",
                found=str(error),
                todo="name another file with --evidence, or take the line out",
            ) from error
