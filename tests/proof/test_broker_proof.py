"""The short proof: a hundred faults over a real Kafka, thirty over a Kinesis emulator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from services import Kafka
from tickerlake.proof import DiskLakes, Fault, Lakes, Logs, Series, UserLogs, choose
from tickerlake.proof.faults import FAULTS
from tickerlake.proof.lakes import start_lakes
from tickerlake.proof.services import start

#: Of these each run takes many seconds: the long proof has them.
SLOW = {"broker-disk-full", "broker-killed", "kinesis-throttled"}


def proven(
    folder: Path,
    logs: Logs,
    faults: Sequence[type[Fault]],
    *,
    runs: int,
    seed: int,
    lakes: Lakes | None = None,
) -> None:
    """Run a series; every fault strikes, every run that counts kept every promise."""
    folder.mkdir()
    lakes = lakes or DiskLakes(folder)
    possible, _ = choose(faults, logs, lakes)
    keep = folder / "kept"
    series = Series(
        possible, logs=logs, lakes=lakes, folder=folder, seed=seed, path=None, keep=keep
    )
    done = series.run(runs, lambda _: None, lambda: False)
    unsound = [
        (e.fault, e.seed, e.lost, e.duplicated, e.findings, e.errors) for e in done if not e.sound
    ]
    assert unsound == []
    assert sum(e.struck for e in done) == runs
    assert {e.fault for e in done if e.struck} == {fault.name for fault in possible}


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    "half", [pytest.param(n, marks=pytest.mark.xdist_group(f"proof-kafka-{n}")) for n in (0, 1)]
)
def test_a_hundred_faults_over_kafka(tmp_path: Path, half: int) -> None:
    """Nothing lost, nothing twice, whatever happens to workers, broker, catalog and people."""
    faults = [fault for fault in FAULTS if fault.name not in SLOW][half::2]
    with start("kafka", tmp_path / "broker") as logs:
        proven(tmp_path / "runs", logs, faults, runs=51, seed=1000 * (half + 1))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("proof-kinesis")
def test_thirty_faults_over_kinesis(tmp_path: Path) -> None:
    """The same over shards that are throttled, split and merged."""
    with start("kinesis", tmp_path / "emulator") as logs:
        theirs = [fault for fault in FAULTS if fault.group == "kinesis"]
        cheap = [fault for fault in FAULTS if fault.group in {"worker", "catalog"}]
        faults = [fault for fault in (*theirs, *cheap) if fault.name not in SLOW]
        proven(tmp_path / "runs", logs, faults, runs=32, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.xdist_group("lakes")
@pytest.mark.parametrize("name", ["postgres-s3", "rest-s3"])
def test_faults_of_shared_catalogs_and_stores(tmp_path: Path, name: str) -> None:
    """Catalogs and stores that are servers: errors, cut uploads, lost answers, SIGKILL."""
    with start_lakes(name, tmp_path / "servers") as lakes:
        faults = [fault for fault in FAULTS if fault.needs & (set(lakes.powers) - {"local disk"})]
        proven(
            tmp_path / "runs", UserLogs("embedded:"), faults, runs=len(faults), seed=1, lakes=lakes
        )


@pytest.mark.slow
@pytest.mark.xdist_group("kafka")
def test_a_broker_of_the_users_own_is_left_as_it_was(tmp_path: Path, kafka: Kafka) -> None:
    """Without power over the broker: topics of the proof's own, which are gone afterwards."""
    logs = UserLogs(f"kafka://{kafka.bootstrap}/market")
    faults = [f for f in FAULTS if f.name in {"worker-killed-at-step", "catalog-answer-lost"}]
    proven(tmp_path / "runs", logs, faults, runs=2, seed=1)
    from confluent_kafka.admin import AdminClient

    topics = AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=30).topics
    assert not [name for name in topics if name.startswith("prove-")]
