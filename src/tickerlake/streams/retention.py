"""What an embedded log no longer keeps: the oldest records, by age and by size.

Only what the lake has acknowledged goes, unless the setting says otherwise. Deleted pages are
used again by later batches, so the file stops growing; it does not shrink.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

from tickerlake import clock
from tickerlake.streams.settings import StreamsSettings

__all__ = ["retain"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The end of what is old enough to go, for each partition. Batches in the middle never go alone:
# a clock that was set back does not make a hole.
_BY_AGE = """
    select partition, coalesce(
        (
            select min(first_offset) from batches
            where batches.partition = partitions.partition and published_at >= :cutoff
        ),
        "end"
    )
    from partitions
"""

# The newest batches of all partitions that fit into the size stay.
_BY_SIZE = """
    select partition, max(first_offset + count)
    from (
        select partition, first_offset, count, sum(byte_count) over (order by id desc) as total
        from batches
    )
    where total > :bytes
    group by partition
"""

_LIMITS = (
    'select partition, beginning, case when :all then "end" else acknowledged end from partitions'
)

# A batch goes as a whole or stays: one that is acknowledged in part stays.
_BOUNDARY = """
    select max(first_offset + count) from batches
    where partition = ? and first_offset + count <= ?
"""


def retain(connection: sqlite3.Connection, settings: StreamsSettings) -> None:
    """Drop what may go, inside the caller's transaction; `beginning` moves up."""
    reach: dict[int, int] = {}
    if settings.retention_hours is not None:
        oldest = clock.real_now() - timedelta(hours=settings.retention_hours)
        cutoff = (oldest - _EPOCH) // timedelta(microseconds=1)
        reach.update(connection.execute(_BY_AGE, {"cutoff": cutoff}).fetchall())
    if settings.retention_bytes is not None:
        by_size = connection.execute(_BY_SIZE, {"bytes": settings.retention_bytes}).fetchall()
        for partition, end in by_size:
            reach[partition] = max(end, reach.get(partition, 0))
    if not reach:
        return
    limits = connection.execute(_LIMITS, {"all": settings.retention_drops_undelivered}).fetchall()
    for partition, beginning, limit in limits:
        wanted = min(limit, reach.get(partition, 0))
        boundary = connection.execute(_BOUNDARY, (partition, wanted)).fetchone()[0]
        if boundary is not None and boundary > beginning:
            connection.execute(
                "delete from batches where partition = ? and first_offset < ?",
                (partition, boundary),
            )
            connection.execute(
                "update partitions set beginning = ? where partition = ?", (boundary, partition)
            )
