"""Settings of the lake room."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["LakeSettings"]


@dataclass(frozen=True, slots=True)
class LakeSettings:
    """`[tables]`: how files look, and how much of the past the tables keep."""

    #: Rows of one Parquet row group; small enough that one symbol's day reads little.
    row_group_rows: int = 120_000
    #: Compression of data files: zstd at this level.
    zstd_level: int = field(default=1, metadata={"least": 0})
    #: Compaction starts another file beyond this many rows.
    compacted_file_rows_max: int = 8_000_000
    #: Rows that compaction sorts in memory at once.
    compaction_rows_max: int = 500_000
    #: Files of closed days in one month at which a delivering worker compacts it.
    compact_at_files: int = 32
    #: Live snapshots that expiry leaves: without expiry each commit gets slower.
    snapshots_max: int = 100
    #: Commits between two expiries while a worker delivers.
    expire_every_commits: int = 50
    #: Old metadata files kept, so that a slow reader finds the one it started with. At least 100.
    metadata_versions_max: int = 100
    #: Manifests of about the same size that are merged into one.
    manifests_merge_at: int = 20
    #: The sweep deletes only files that were older than this before its fence.
    sweep_age_hours: float = field(default=24.0, metadata={"least": 1})
    #: How long rival processes wait for the SQLite catalog before giving up.
    busy_timeout_seconds: float = 30.0
    #: Wait for the disk before each commit. Off: a power cut may damage the newest commits.
    fsync: bool = True
