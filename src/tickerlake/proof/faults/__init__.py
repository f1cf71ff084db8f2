"""All faults, by the place where they strike."""

from __future__ import annotations

from tickerlake.proof.base import Fault
from tickerlake.proof.faults import catalog, data, people, worker

__all__ = ["FAULTS"]

#: In the order of the table.
FAULTS: tuple[type[Fault], ...] = (
    worker.KilledAtAStep,
    worker.KilledAtRandom,
    worker.PausedTooLong,
    worker.Zombies,
    worker.JoinAndLeave,
    worker.OutOfMemory,
    worker.ClockJumps,
    catalog.AnswerLost,
    catalog.Resent,
    catalog.AnsweredWithErrors,
    catalog.UploadCut,
    catalog.DiskFull,
    data.Undecodable,
    data.Oversized,
    data.SchemaBreaking,
    data.FutureVersion,
    data.OneKey,
    data.ManyPartitions,
    people.Maintenance,
    people.RolledBack,
)
