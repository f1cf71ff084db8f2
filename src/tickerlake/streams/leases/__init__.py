"""Leases: who of several workers should read which partition.

They never decide what is right, only who should try: two workers that both believe that a partition
is theirs do no harm, for the lake decides who may commit.
"""

from tickerlake.streams.leases.base import LeaseStore
from tickerlake.streams.leases.membership import AloneMembership, LeasedMembership
from tickerlake.streams.leases.registry import open_store

__all__ = ["AloneMembership", "LeaseStore", "LeasedMembership", "open_store"]
