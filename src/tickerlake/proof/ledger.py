"""What was published, record by record, so that a judge can ask for each of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Counts", "Ledger", "mark", "numbers_of"]

_MARK = re.compile(rb"#(\d+)#")


def mark(number: int) -> str:
    """The text by which a record that may be undecodable is known again."""
    return f"#{number}#"


@dataclass(frozen=True, slots=True)
class Counts:
    """One comparison of what was published with what is in the lake."""

    #: Different records whose publish was acknowledged, and rows of the lake.
    published: int
    lake: int
    #: Acknowledged records that are no row; rows of a record beyond its first.
    lost: int
    duplicated: int
    dead: int


@dataclass(slots=True)
class Ledger:
    """Numbers of records: a bar's is its volume, a raw record's is its mark."""

    #: Acknowledged, and not allowed to be lost.
    acked: set[int] = field(default_factory=set)
    #: Sent, with an outcome that nobody knows: they may be there once, or not at all.
    unsure: set[int] = field(default_factory=set)
    #: Raw records whose outcome is not known have no event id that tells a repeat: not counted.
    unsure_raw: set[int] = field(default_factory=set)
    #: Of what was acknowledged, given up on purpose: retention had passed, the topic was deleted.
    given_up: set[int] = field(default_factory=set)

    def counts(self, rows: pa.Table) -> Counts:
        """Compare with the lake's rows: columns `provider`, `volume`, `dead_reason`, `payload`."""
        plain = _is_plain(rows)
        seen = Counter(rows.filter(plain).column("volume").cast(pa.int64()).to_pylist())
        seen.update(numbers_of(rows.filter(pc.invert(plain))))
        lost = [number for number in self.acked - self.given_up if not seen[number]]
        twice = {n: times for n, times in seen.items() if times > 1 and n not in self.unsure_raw}
        return Counts(
            published=len(self.acked),
            lake=rows.num_rows,
            lost=len(lost),
            duplicated=sum(times - 1 for times in twice.values()),
            dead=rows.num_rows - rows.column("dead_reason").null_count,
        )


def _is_plain(rows: pa.Table) -> pa.ChunkedArray:
    """Rows whose number is their volume, for sure."""
    provider, volume = rows.column("provider"), rows.column("volume")
    unmarked = pc.invert(pc.match_substring(provider.cast(pa.string()), "#"))
    sound = pc.and_(rows.column("dead_reason").is_null(), rows.column("payload").is_null())
    return pc.fill_null(pc.and_(pc.and_(unmarked, sound), volume.is_valid()), False)


def numbers_of(rows: pa.Table) -> Iterable[int]:
    """The numbers of records, from rows that were decoded."""
    for row in rows.to_pylist():
        text = row["provider"] or ""
        found = _MARK.search(text.encode()) or _MARK.search(row["payload"] or b"")
        if found:
            yield int(found[1])
        elif row["dead_reason"] is None and row["volume"] is not None:
            yield int(row["volume"])
