"""The Iceberg tables, their one commit function, and their maintenance."""

from tickerlake.lake.base import Change, LakeTable, Loaded, SnapshotInfo, WrittenFile

__all__ = ["Change", "LakeTable", "Loaded", "SnapshotInfo", "WrittenFile"]
