"""All faults, by the place where they strike."""

from __future__ import annotations

from tickerlake.proof.base import Fault
from tickerlake.proof.faults import broker, catalog, data, kinesis, people, team, worker

__all__ = ["FAULTS"]

#: In the order of the table.
FAULTS: tuple[type[Fault], ...] = (
    worker.KilledAtAStep,
    worker.KilledAtHandover,
    worker.KilledAtRandom,
    worker.PausedTooLong,
    worker.Zombies,
    worker.JoinAndLeave,
    worker.CommittersLost,
    worker.OutOfMemory,
    worker.ClockJumps,
    broker.Killed,
    broker.LogDiskFull,
    broker.NetworkSlow,
    broker.NetworkCut,
    broker.TopicRemade,
    broker.RetentionPassed,
    broker.PartitionsAdded,
    broker.TransactionsAborted,
    broker.NodesKilled,
    broker.LeadersChange,
    broker.NotEnoughReplicas,
    kinesis.Throttled,
    kinesis.PartlyPut,
    kinesis.Expired,
    kinesis.ServerErrors,
    kinesis.AcknowledgementsLost,
    kinesis.Resharded,
    catalog.AnswerLost,
    catalog.Resent,
    catalog.AnsweredWithErrors,
    catalog.UploadCut,
    catalog.DiskFull,
    team.StoreErrors,
    team.StoreFull,
    team.CatalogAnswers,
    team.TokensExpired,
    team.CatalogCut,
    team.ServersKilled,
    data.Undecodable,
    data.Oversized,
    data.SchemaBreaking,
    data.FutureVersion,
    data.OneKey,
    data.MillionOfOneKey,
    data.ManyPartitions,
    people.Maintenance,
    people.RolledBack,
    people.TwoDeployments,
    people.PreviousVersion,
    broker.OffsetsWiped,
)
