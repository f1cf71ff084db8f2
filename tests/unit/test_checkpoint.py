"""Step 7: what one loaded state says about a transaction over several partitions."""

from __future__ import annotations

import pytest

from tickerlake.delivery.checkpoint import Decision, Unit, change_of, decide
from tickerlake.lake.lake import Lake
from tickerlake.lake.positions import Range, offsets_of, partitions_property
from tickerlake.streams import StreamIdentity

STREAM = StreamIdentity("00000000000000aa", "a log of the tests")


def unit(registers: bool = False, **ranges: tuple[int, int]) -> Unit:
    spans = {name.removeprefix("p"): Range(*span) for name, span in ranges.items()}
    return Unit(STREAM, spans, registers=registers)


def committed(lake: Lake, *units: Unit) -> None:
    table = lake.table("bars_log")
    for each in units:
        loaded = table.load()
        table.commit(loaded, change_of(loaded, each))


@pytest.fixture
def registered(lake: Lake) -> Lake:
    committed(lake, unit(registers=True, p0=(0, 0), p1=(0, 0)))
    return lake


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ((), Decision.COMMIT),
        ((unit(p0=(0, 10), p1=(0, 20)),), Decision.DONE),
        ((unit(p0=(0, 10)), unit(p1=(0, 20))), Decision.DONE),
        ((unit(p0=(0, 10)),), Decision.DISCARD),
        ((unit(p1=(0, 5)),), Decision.DISCARD),
        ((unit(p0=(0, 10), p1=(0, 20)), unit(p1=(20, 30))), Decision.DISCARD),
    ],
)
def test_all_partitions_decide_together(
    registered: Lake, others: tuple[Unit, ...], expected: Decision
) -> None:
    """All at `from`: commit. All at `to`: done. One elsewhere: the whole transaction is void."""
    committed(registered, *others)
    table = registered.table("bars_log")
    assert decide(table, table.load(), unit(p0=(0, 10), p1=(0, 20))) is expected


def test_a_first_offset_is_written_only_where_there_is_none(lake: Lake) -> None:
    """Two workers register the same partitions: the second finds it done, and starts no other."""
    table = lake.table("bars_log")
    first = unit(registers=True, p0=(3, 3), p1=(0, 0))
    assert decide(table, table.load(), first) is Decision.COMMIT
    committed(lake, first)
    assert decide(table, table.load(), first) is Decision.DONE
    elsewhere = unit(registers=True, p0=(4, 4), p1=(0, 0))
    assert decide(table, table.load(), elsewhere) is Decision.DISCARD


def test_a_change_of_offsets_always_makes_a_snapshot(registered: Lake) -> None:
    """Nothing to append: an empty snapshot on exactly the loaded state, offsets with it."""
    table = registered.table("bars_log")
    before = table.load()
    committed(registered, unit(p0=(0, 7)))
    after = table.load()
    assert after.snapshot_id != before.snapshot_id
    assert offsets_of(after.properties, STREAM.id) == {"0": 7, "1": 0}
    assert after.properties[partitions_property(STREAM.id)] == "2"
