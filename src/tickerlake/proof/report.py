"""The table of a series: of each fault its runs, and what was lost or duplicated in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tickerlake.proof.base import Fault
from tickerlake.proof.evidence import Evidence

__all__ = ["COLUMNS", "Row", "markdown", "table"]

COLUMNS = (
    "fault",
    "group",
    "runs",
    "struck",
    "records",
    "in flight",
    "lost",
    "duplicated",
    "wrong",
)


@dataclass(frozen=True, slots=True)
class Row:
    """All runs of one fault."""

    fault: str
    group: str
    runs: int
    #: Runs in which the fault struck while records were in flight: only these count.
    struck: int
    published: int
    #: Records that no commit covered when the fault struck, over all runs.
    in_flight: int
    lost: int
    duplicated: int
    #: Runs with any finding at all.
    wrong: int

    def cells(self) -> tuple[str | int, ...]:
        """In the order of `COLUMNS`."""
        counts = (self.runs, self.struck, self.published, self.in_flight)
        return self.fault, self.group, *counts, self.lost, self.duplicated, self.wrong


def table(shown: Iterable[Evidence], faults: Sequence[type[Fault]]) -> list[Row]:
    """One row for each fault that was run, in their order, and the sum of them."""
    by_name: dict[str, list[Evidence]] = {}
    for evidence in shown:
        by_name.setdefault(evidence.fault, []).append(evidence)
    order = [fault.name for fault in faults if fault.name in by_name]
    order += sorted(set(by_name) - set(order))  # of a version that knew more
    rows = [_row(name, by_name[name][0].group, by_name[name]) for name in order]
    everything = [evidence for runs in by_name.values() for evidence in runs]
    return [*rows, _row("all", "", everything)]


def _row(name: str, group: str, runs: Sequence[Evidence]) -> Row:
    return Row(
        name,
        group,
        runs=len(runs),
        struck=sum(e.struck for e in runs),
        published=sum(e.published for e in runs),
        in_flight=sum(max(e.in_flight_log, e.in_flight_hand) for e in runs),
        lost=sum(e.lost for e in runs),
        duplicated=sum(e.duplicated for e in runs),
        wrong=sum(not e.sound for e in runs),
    )


def markdown(rows: Sequence[Row]) -> str:
    """The table as a page shows it."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|---|---|{'---:|' * (len(COLUMNS) - 2)}"]
    for row in rows:
        cells = [f"{cell:,}" if isinstance(cell, int) else cell for cell in row.cells()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
