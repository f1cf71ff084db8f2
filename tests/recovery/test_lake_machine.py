"""A state machine: whatever maintenance and foreign tools do, the table holds the model's rows."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tickerlake.lake.maintenance import compact, expire, rewind, sweep, verify
from tickerlake.lake.positions import offset_property
from tickerlake.lake.registry import open_lake
from tickerlake.lake.settings import LakeSettings
from tickerlake.testing.lake_suite import STREAM, deliver


class LakeMachine(RuleBasedStateMachine):
    """The model: how many positions of each partition are rows."""

    def __init__(self) -> None:
        super().__init__()
        self.workspace = Path(tempfile.mkdtemp())
        self.lake = open_lake(
            "./lake",
            "sqlite:",
            workspace=self.workspace,
            settings=LakeSettings(snapshots_max=6, manifests_merge_at=3, fsync=False),
        )
        self.table = self.lake.table("bars_log")
        self.model = {"0": 0, "1": 0}
        #: Snapshots to which a foreign tool may turn back, with the model as it was.
        self.past: dict[int, dict[str, int]] = {}

    def teardown(self) -> None:
        self.verify()
        self.lake.close()
        shutil.rmtree(self.workspace)

    @rule(partition=st.sampled_from(["0", "1"]), count=st.integers(0, 4))
    def append(self, partition: str, count: int) -> None:
        self.model[partition] = deliver(self.table, count, partition=partition)
        snapshot = self.table.load().snapshot_id
        assert snapshot is not None
        self.past[snapshot] = dict(self.model)

    @rule()
    def compact(self) -> None:
        compact(self.lake, ["bars_log", "deliveries"])

    @rule()
    def expire(self) -> None:
        expire(self.lake)

    @rule()
    def sweep(self) -> None:
        sweep(self.lake, age_hours=0)

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def turn_back_and_rewind(self, data: st.DataObject) -> None:
        foreign = self.lake.catalog.load_table(("tickerlake", "bars_log"))
        kept = {snapshot.id for snapshot in self.table.snapshots(self.table.load())}
        choices = [snapshot for snapshot in self.past if snapshot in kept]
        if not choices:
            return
        chosen = data.draw(st.sampled_from(choices))
        with foreign.manage_snapshots() as snapshots:
            snapshots.set_current_snapshot(chosen)
        rewind(self.lake)
        # Registered later than that snapshot: the offset begins at the beginning again.
        self.model = {name: self.past[chosen].get(name, 0) for name in self.model}

    @invariant()
    def the_table_holds_the_model(self) -> None:
        loaded = self.table.load()
        rows = self.table.read(loaded, columns=["_partition", "_offset"]).to_pylist()
        found = sorted((row["_partition"], row["_offset"]) for row in rows)
        assert found == [(p, n) for p in sorted(self.model) for n in range(self.model[p])]
        for partition, position in self.model.items():
            assert loaded.properties.get(offset_property(STREAM, partition), "0") == str(position)

    @rule()
    def verify(self) -> None:
        report = verify(self.lake)
        assert report.sound, report.findings


@pytest.mark.slow
def test_the_table_agrees_with_the_model() -> None:
    """Appends, compaction, expiry, sweep, rollback and rewind, in any order."""
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        LakeMachine, settings=settings(max_examples=12, stateful_step_count=12, deadline=None)
    )
