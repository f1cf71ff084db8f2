"""Steps 7 to 9: see one transaction through, on our own."""

from __future__ import annotations

import random
from typing import Protocol

from tickerlake import clock
from tickerlake.delivery.checkpoint import Decision, Unit, change_of, decide
from tickerlake.delivery.repeats import origins_in_lake
from tickerlake.delivery.settings import DeliverySettings
from tickerlake.errors import CommitRefusedError, CommitUnknownError, StorageError
from tickerlake.lake.base import LakeTable, Loaded

__all__ = ["OTHERS_MOVED_ON", "PAUSE_SECONDS_MAX", "DirectCommits", "Heard"]

#: The longest pause between two tries of one commit.
PAUSE_SECONDS_MAX = 1.0

OTHERS_MOVED_ON = "others moved on, or our files grew old: reading again"


class Heard(Protocol):
    """Who is told what happens on the way to a commit."""

    def reached(self, step: str) -> None:
        """A numbered step is done."""
        ...

    def refused(self, unit: Unit, why: str, *, fenced: bool) -> None:
        """A commit was refused or its outcome is unknown; with `fenced` the unit is void."""
        ...


class DirectCommits:
    """Commits each unit by itself, against whoever else does.

    Promise: a unit lands whole and once, or not at all. Not promised: that a unit whose commit
    raised did not land; but then its ranges stand in the table, and nobody can land them twice.
    """

    def __init__(
        self, table: LakeTable, settings: DeliverySettings, file_hours_max: float, heard: Heard
    ) -> None:
        self._table = table
        self._settings = settings
        self._file_hours_max = file_hours_max
        self._heard = heard

    def commit(self, unit: Unit, *, known_to_others: bool = False) -> int | None:
        """7 to 9: the snapshot in which the unit stands; null: begin again where the table is.

        So it is if others moved on, and after an unknown outcome that no offset would tell.
        Files that are `known_to_others` are never removed: they may be committed at any moment.

        Raises:
            RolledBackError: Somebody turned the table back.
            StorageError: The disk is full.
            CommitRefusedError: Others kept winning for `commit_seconds_max`.
            CommitUnknownError: No commit was answered for `commit_seconds_max`.
        """
        deadline_seconds = clock.monotonic_seconds() + self._settings.commit_seconds_max
        pause_seconds = self._settings.commit_pause_seconds
        asked = known_to_others
        while True:
            # 7. Decide on one freshly loaded metadata, on which alone the commit is then built.
            loaded = self._table.load()
            decision = self.decide(loaded, unit)
            self._heard.reached("7")
            if decision is Decision.DONE:
                # By an earlier try of ours, or by another: then our files are the sweep's.
                return loaded.snapshot_id
            if decision is Decision.DISCARD:
                if not asked:
                    self._table.discard(unit.files)
                self._heard.refused(unit, OTHERS_MOVED_ON, fenced=True)
                return None
            # 2. Every change of an offset is a new snapshot, with no files if there are no rows.
            change = change_of(loaded, unit)
            self._heard.reached("2")
            try:
                # 3. and 8. Through the one commit function, on exactly `loaded`.
                self._heard.reached("3")
                snapshot_id = self._table.commit(loaded, change)
            except (CommitRefusedError, CommitUnknownError) as error:
                # 9. It may have landed all the same: only what the table says counts.
                asked = True
                self._heard.refused(unit, error.problem, fenced=False)
                self._heard.reached("9")
                if not unit.shows:
                    return None
                if clock.monotonic_seconds() > deadline_seconds:
                    raise
                clock.sleep(pause_seconds * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                pause_seconds = min(2 * pause_seconds, PAUSE_SECONDS_MAX)
            except StorageError:
                if not asked:  # The catalog never heard of these files.
                    self._table.discard(unit.files)
                raise
            else:
                self._heard.reached("8")
                return snapshot_id

    def decide(self, loaded: Loaded, unit: Unit) -> Decision:
        """Step 7, on `loaded` and nothing else; `checkpoint.decide` says what it compares."""
        decision = decide(self._table, loaded, unit)
        if decision is not Decision.COMMIT:
            return decision
        oldest = min((file.written_at_seconds for file in unit.files), default=float("inf"))
        age_seconds = clock.real_now().timestamp() - oldest
        there = all(file.is_there for file in unit.files)
        if age_seconds > self._file_hours_max * 3600 or not there:
            return Decision.DISCARD  # The sweep may be after them: read and write them again.
        if unit.origins:
            known = set(origins_in_lake(self._table, loaded).to_pylist())
            if not known.isdisjoint(unit.origins):
                return Decision.DISCARD  # Another worker delivered the same mended record.
        return decision
