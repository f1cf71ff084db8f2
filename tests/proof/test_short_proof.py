"""A short proof over the embedded log, and what a series promises about its evidence."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from command import tickerlake
from tickerlake.proof import DiskLakes, Evidence, Fault, Run, Series, UserLogs, choose
from tickerlake.proof.evidence import read
from tickerlake.proof.faults import FAULTS
from tickerlake.proof.report import markdown, table

EMBEDDED = UserLogs("embedded:")


def series(folder: Path, faults: list[type[Fault]], *, seed: int, path: Path | None) -> Series:
    keep = folder / "kept"
    lakes = DiskLakes(folder)
    return Series(
        faults, logs=EMBEDDED, lakes=lakes, folder=folder, seed=seed, path=path, keep=keep
    )


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_comes_twice(tmp_path: Path) -> None:
    """Every fault that needs no broker strikes, and each run keeps every promise."""
    faults, _ = choose(FAULTS, EMBEDDED, DiskLakes(tmp_path))
    told: list[Evidence] = []
    done = series(tmp_path, faults, seed=1, path=None).run(len(faults), told.append, lambda: False)
    assert [(e.fault, e.seed, e.findings) for e in done if not e.sound] == []
    assert {e.fault for e in done} == {fault.name for fault in faults}
    assert sum(e.struck for e in done) == len(faults)
    assert done == told
    assert not [path for path in tmp_path.iterdir() if path.name != "kept"]


@pytest.mark.slow
def test_a_stopped_series_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """What the file holds is not run again; a line that a kill cut off is forgotten."""
    path = tmp_path / "proof.jsonl"
    faults = [f for f in FAULTS if f.name in {"worker-killed-at-step", "catalog-resent"}]
    first = series(tmp_path, faults, seed=7, path=path)
    stopped: list[Evidence] = []
    first.run(9, stopped.append, lambda: len(stopped) == 2)
    with path.open("a") as file:
        file.write('{"seed": 9, "fau')
    told: list[Evidence] = []
    done = series(tmp_path, faults, seed=7, path=path).run(4, told.append, lambda: False)
    assert done[:2] == stopped
    assert [e.seed for e in read(path)] == list(range(7, 7 + len(done)))
    assert sum(e.struck for e in done) == 4
    assert markdown(table(done, faults)).count("\n") == 2 + 2 + 1


def test_a_fault_that_needs_more_than_there_is_is_left_out(tmp_path: Path) -> None:
    """Without power over the broker its faults are named, and not run."""

    class NeedsABroker(Fault):
        name, group, what, needs = "needs", "broker", "", frozenset({"broker"})

    possible, left_out = choose([NeedsABroker, FAULTS[0]], EMBEDDED, DiskLakes(tmp_path))
    assert possible == [FAULTS[0]]
    assert [(entry.fault, entry.missing) for entry in left_out] == [(NeedsABroker, ["broker"])]


@pytest.mark.slow
def test_the_verb_tells_each_run_and_the_sum(tmp_path: Path) -> None:
    """`tickerlake prove` writes evidence, prints the table, and ends with 0 if all is sound."""
    evidence = tmp_path / "proof.jsonl"
    words = ["prove", "--runs", "1", "--faults", "catalog-resent", "--evidence", str(evidence)]
    assert "catalog-resent" in tickerlake(*words, cwd=tmp_path).out
    (line,) = evidence.read_text().splitlines()
    assert json.loads(line) == dataclasses.asdict(read(evidence)[0])
    assert tickerlake(*words, "--json", cwd=tmp_path).out == ""
    tickerlake("prove", "--faults", "catalog-resnet", cwd=tmp_path, expect=2)


@pytest.mark.slow
def test_lanes_share_a_file_of_evidence(tmp_path: Path) -> None:
    """Two lanes run different seeds into one file, and end when both together have enough."""
    evidence = tmp_path / "proof.jsonl"
    words = ["prove", "--lanes", "2", "--runs", "4", "--faults", "worker-killed-at-step"]
    tickerlake(*words, cwd=tmp_path, expect=2)
    tickerlake(*words, "--evidence", str(evidence), cwd=tmp_path)
    done = read(evidence)
    assert 4 <= sum(e.struck for e in done) <= 5
    assert {e.seed % 2 for e in done} == {0, 1}
    assert len({e.seed for e in done}) == len(done)


@pytest.mark.slow
def test_what_the_proof_itself_cannot_do_is_no_success(tmp_path: Path) -> None:
    """A run that the proof broke off does not count, and stands in a column of its own."""

    class Broken(Fault):
        name, group, what = "broken", "people", ""

        def strike(self, run: Run) -> None:
            run.publish()
            run.struck("about to break")
            raise ZeroDivisionError

    (done,) = series(tmp_path, [Broken], seed=1, path=None).run(1, lambda _: None, lambda: False)[
        :1
    ]
    assert (done.struck, done.sound, done.findings) == (False, False, [])
    assert "ZeroDivisionError" in done.errors[0]
    (row, _) = table([done], [Broken])
    assert (row.runs, row.struck, row.missed, row.broken, row.errors) == (1, 0, 0, 0, 1)
