"""Put the table of a series into docs/proof.md, between its markers, from the evidence."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from tickerlake.proof.evidence import Evidence, read
from tickerlake.proof.faults import FAULTS
from tickerlake.proof.report import markdown, table
from tickerlake.testing.faults import HANDOVER_STEPS, STEPS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "proof.md"
PEERS = ROOT / "docs" / "proof-peers.jsonl"


def place(evidence: Evidence) -> tuple[str, str, str]:
    """Over what it was run."""
    return evidence.stream, evidence.lake, evidence.catalog


def section(where: tuple[str, str, str], runs: list[Evidence]) -> str:
    """One table, and when it was made."""
    stream, lake, catalog = where
    commits = sorted({e.commit for e in runs if e.commit})
    hours = sum(e.seconds for e in runs) / 3600
    days = sorted({e.began_at[:10] for e in runs})
    return (
        f"### {stream}, lake on {lake}, catalog {catalog}\n\n"
        f"{days[0]} to {days[-1]}, {hours:.1f} hours of runs, commits {', '.join(commits)}.\n\n"
        f"{markdown(table(runs, FAULTS))}\n{steps(runs)}{failed(runs)}"
    )


def steps(runs: list[Evidence]) -> str:
    """How many workers died after each numbered step, over all that died after one."""
    dead = Counter(
        step.removeprefix("killed after ")
        for e in runs
        if e.fault.startswith("worker-killed-at-") and e.struck
        for step in e.steps
        if step.startswith("killed after ")
    )
    shown = [f"{step}: {dead[step]}" for step in (*STEPS, *HANDOVER_STEPS)]
    return f"Workers killed after step {', '.join(shown)}.\n\n" if dead else ""


def failed(runs: list[Evidence]) -> str:
    """Every run that broke a promise, or that the proof itself did not bring to its end."""
    lines = [
        f"- seed {e.seed}, {e.fault}, {e.lost} lost, {e.duplicated} duplicated, commit {e.commit}: "
        f"{'; '.join([*e.findings, *(error.splitlines()[-1] for error in e.errors)][:3])}"
        for e in runs
        if not e.sound
    ]
    return "\n".join(["Runs that failed:\n", *lines, "\n"]) if lines else ""


def peers(runs: list[Evidence]) -> str:
    """What others lost and doubled under kills that we have in the evidence, too."""
    lines = PEERS.read_text().splitlines() if PEERS.exists() else []
    rows = sorted(map(json.loads, lines), key=lambda row: (row["fault"], row["peer"]))
    shown = ["| | kill | runs | records | lost | duplicated |", "|---|---|---:|---:|---:|---:|"]
    for fault, by_fault in groupby(rows, key=lambda row: row["fault"]):
        for peer, group in groupby(by_fault, key=lambda row: row["peer"]):
            found = list(group)
            counts = [sum(row[name] for row in found) for name in ("records", "lost", "duplicated")]
            cells = " | ".join(f"{number:,}" for number in (len(found), *counts))
            shown.append(f"| {peer} | {fault} | {cells} |")
        ours = [e for e in runs if (e.fault, e.stream) == (fault, "kafka") and e.struck]
        counts = [sum(getattr(e, n) for e in ours) for n in ("published", "lost", "duplicated")]
        cells = " | ".join(f"{number:,}" for number in (len(ours), *counts))
        shown.append(f"| **tickerlake** | {fault} | {cells} |")
    return "\n".join(shown) + "\n"


def between(text: str, what: str, new: str) -> str:
    """The page with something new between two of its markers."""
    begin, end = (
        f"<!-- the {what} begin{'s' if what == 'table' else ''} -->\n",
        f"<!-- the {what} end",
    )
    before, rest = text.split(begin)
    return f"{before}{begin}\n{new}{end}{rest.split(end)[1]}"


def main(paths: Sequence[Path]) -> None:
    """Write the page."""
    runs = sorted((evidence for path in paths for evidence in read(path)), key=place)
    sections = [section(where, list(group)) for where, group in groupby(runs, key=place)]
    text = between(PAGE.read_text(), "table", "".join(sections))
    PAGE.write_text(between(text, "peers", peers(runs)))
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}: {len(runs)} runs\n")


if __name__ == "__main__":
    main([ROOT / name for name in sys.argv[1:]] or sorted(ROOT.glob("docs/proof-evidence*.jsonl")))
