"""What tests of several rooms share, and what a run sums up at its end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tickerlake.lake.lake import Lake
from tickerlake.lake.registry import open_lake

pytest_plugins = [
    "services",
    "lakes",
    "kinesis_double",
    "pretended_time",
]  # brokers, stores, catalogs; what is over them
COLUMNS = ("killed", "with uncommitted records", "with rows in its hands")


@pytest.fixture(scope="session", autouse=True)
def _state_of_the_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What processes share of the hosts that they ask, away from that of the machine's user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TICKERLAKE_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _state_of_the_test(_state_of_the_run: None, request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test meets hosts that nobody has asked before: ports of this machine come again."""
    with pytest.MonkeyPatch.context() as patch:
        number = f"{abs(hash(request.node.nodeid)):x}"
        patch.setenv("TICKERLAKE_STATE", str(Path(os.environ["TICKERLAKE_STATE"]) / number))
        yield


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """A fresh lake on local disk."""
    fresh = open_lake("./lake", "sqlite:", workspace=tmp_path)
    yield fresh
    fresh.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table kills by step; tests give their lines as the property `kills`."""
    rows: dict[str, Counter[str]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "kills" and getattr(report, "when", "") == "call":
                    step, counts = value
                    rows.setdefault(step, Counter()).update(counts)
    if not rows:
        return
    terminalreporter.section("workers killed with SIGKILL")
    terminalreporter.write_line(f"{'step':>10}" + "".join(f"{name:>28}" for name in COLUMNS))
    totals: Counter[str] = Counter()
    for step, counts in sorted(rows.items(), key=lambda item: (len(item[0]) > 3, _order(item[0]))):
        totals.update(counts)
        terminalreporter.write_line(f"{step:>10}" + "".join(f"{counts[n]:>28}" for n in COLUMNS))
    terminalreporter.write_line(f"{'total':>10}" + "".join(f"{totals[n]:>28}" for n in COLUMNS))


def _order(step: str) -> tuple[int, str]:
    digits = "".join(letter for letter in step if letter.isdigit())
    return int(digits or 99), step
