"""Exactly once from the stream into the lake."""

from tickerlake.delivery.copying import Copied, copy_stream, copy_topic
from tickerlake.delivery.deliver import deliver
from tickerlake.delivery.report import (
    Assigned,
    Delivered,
    DeliveryReport,
    Event,
    KindReport,
    Refused,
)
from tickerlake.delivery.settings import DeliverySettings
from tickerlake.delivery.tally import (
    PartitionTally,
    Tally,
    WorkerStatus,
    status_file,
    worker_statuses,
)
from tickerlake.delivery.worker import Worker

__all__ = [
    "Assigned",
    "Copied",
    "Delivered",
    "DeliveryReport",
    "DeliverySettings",
    "Event",
    "KindReport",
    "PartitionTally",
    "Refused",
    "Tally",
    "Worker",
    "WorkerStatus",
    "copy_stream",
    "copy_topic",
    "deliver",
    "status_file",
    "worker_statuses",
]
