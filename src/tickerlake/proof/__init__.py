"""The shipped proof: load, faults, and a judge that asks for every single record."""

from tickerlake.proof.base import Fault, Strike
from tickerlake.proof.evidence import Evidence
from tickerlake.proof.ground import DiskLakes, Lakes, Logs, Place, UserLogs
from tickerlake.proof.run import Run
from tickerlake.proof.series import LeftOut, Series, choose

__all__ = [
    "DiskLakes",
    "Evidence",
    "Fault",
    "Lakes",
    "LeftOut",
    "Logs",
    "Place",
    "Run",
    "Series",
    "Strike",
    "UserLogs",
    "choose",
]
