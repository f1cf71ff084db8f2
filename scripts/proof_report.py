"""Put the table of a series into docs/proof.md, between its markers, from the evidence."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from tickerlake.proof.evidence import Evidence, read
from tickerlake.proof.faults import FAULTS
from tickerlake.proof.report import markdown, table

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "proof.md"
BEGIN, END = "<!-- the table begins -->\n", "<!-- the table ends -->"


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
        f"{markdown(table(runs, FAULTS))}\n"
    )


def main(path: Path) -> None:
    """Write the page."""
    runs = sorted(read(path), key=place)
    sections = [section(where, list(group)) for where, group in groupby(runs, key=place)]
    before, rest = PAGE.read_text().split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{''.join(sections)}{END}{after}")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}: {len(runs)} runs\n")


if __name__ == "__main__":
    main(ROOT / (sys.argv[1] if len(sys.argv) > 1 else "docs/proof-evidence.jsonl"))
