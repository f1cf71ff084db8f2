"""Maintenance of the tables: one verb a file.

None of these verbs changes what a reader sees, but `rewind`, which says so. All of them commit
through the lake's one commit function and may run beside workers and queries.
"""

from tickerlake.lake.maintenance.compact import CompactReport, compact
from tickerlake.lake.maintenance.expire import ExpireReport, expire
from tickerlake.lake.maintenance.relocate import RelocateReport, relocate
from tickerlake.lake.maintenance.rewind import RewindReport, Rewound, rewind
from tickerlake.lake.maintenance.status import StreamStatus, TableStatus, status
from tickerlake.lake.maintenance.sweep import SweepReport, sweep
from tickerlake.lake.maintenance.tend import tell_others, tend
from tickerlake.lake.maintenance.verify import Finding, VerifyReport, verify

__all__ = [
    "CompactReport",
    "ExpireReport",
    "Finding",
    "RelocateReport",
    "RewindReport",
    "Rewound",
    "StreamStatus",
    "SweepReport",
    "TableStatus",
    "VerifyReport",
    "compact",
    "expire",
    "relocate",
    "rewind",
    "status",
    "sweep",
    "tell_others",
    "tend",
    "verify",
]
