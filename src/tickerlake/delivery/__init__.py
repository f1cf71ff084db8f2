"""Exactly once from the stream into the lake."""

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
from tickerlake.delivery.worker import Worker

__all__ = [
    "Assigned",
    "Delivered",
    "DeliveryReport",
    "DeliverySettings",
    "Event",
    "KindReport",
    "Refused",
    "Worker",
    "deliver",
]
