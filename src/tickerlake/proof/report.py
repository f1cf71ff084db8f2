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
    "missed",
    "records",
    "in flight",
    "in hand",
    "lost",
    "duplicated",
    "broken",
    "errors",
)


@dataclass(frozen=True, slots=True)
class Row:
    """All runs of one fault."""

    fault: str
    group: str
    runs: int
    #: Runs in which the fault struck while records were in flight: only these count.
    struck: int
    #: Runs in which it did not strike: judged all the same.
    missed: int
    published: int
    #: Records that no commit covered when the fault struck, over all runs.
    in_flight: int
    #: Of these, so many as were in a worker's hands.
    in_hand: int
    lost: int
    duplicated: int
    #: Runs in which any promise was broken.
    broken: int
    #: Runs that the proof itself could not bring to their end.
    errors: int

    def cells(self) -> tuple[str | int, ...]:
        """In the order of `COLUMNS`."""
        flight = (self.published, self.in_flight, self.in_hand)
        verdict = (self.lost, self.duplicated, self.broken, self.errors)
        return self.fault, self.group, self.runs, self.struck, self.missed, *flight, *verdict


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
        missed=sum(not e.struck and not e.errors for e in runs),
        published=sum(e.published for e in runs),
        in_flight=sum(max(e.in_flight_log, e.in_flight_hand) for e in runs),
        in_hand=sum(e.in_flight_hand for e in runs),
        lost=sum(e.lost for e in runs),
        duplicated=sum(e.duplicated for e in runs),
        broken=sum(bool(e.findings or e.lost or e.duplicated) for e in runs),
        errors=sum(bool(e.errors) for e in runs),
    )


def markdown(rows: Sequence[Row]) -> str:
    """The table as a page shows it."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|---|---|{'---:|' * (len(COLUMNS) - 2)}"]
    for row in rows:
        cells = [f"{cell:,}" if isinstance(cell, int) else cell for cell in row.cells()]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
