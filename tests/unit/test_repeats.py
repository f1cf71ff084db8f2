"""Which records repeat one that is already there."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tickerlake.records import RepeatWindow
from tickerlake.testing.sample_records import sample_bars


def rows(events: list[int | None], first: int = 0) -> pa.Table:
    """One row an event: its number stands for both event id and key; null has no event id."""
    count = len(events)
    keys = sample_bars(100).take(pa.array([event or 0 for event in events], pa.int64()))
    place = keys.schema.get_field_index("event_id")
    table = keys.set_column(place, "event_id", pa.array(events, pa.int64()))
    return table.append_column("_offset", pa.array(range(first, first + count), pa.int64()))


def plainly(events: list[int | None], size: int) -> list[bool]:
    """The rule word by word: kept unless an equal one was kept at most `size` positions before."""
    kept: dict[int, int] = {}
    answers = []
    for position, event in enumerate(events):
        fresh = event is None or event not in kept or position - kept[event] > size
        answers.append(fresh)
        if fresh and event is not None:
            kept[event] = position
    return answers


@settings(max_examples=150, deadline=None)
@given(
    events=st.lists(st.none() | st.integers(0, 12), max_size=60),
    cuts=st.lists(st.integers(1, 20), max_size=8),
    size=st.integers(1, 40),
)
def test_the_window_keeps_what_the_rule_keeps_however_the_log_is_cut(
    events: list[int | None], cuts: list[int], size: int
) -> None:
    """Batches of any length, and a window that is rebuilt from what was kept, change nothing."""
    window = RepeatWindow("bar", size)
    answers: list[bool] = []
    kept = rows([])
    for length in [*cuts, len(events)]:
        first = len(answers)
        batch = rows(events[first : first + length], first)
        mask = window.admit(batch)
        answers += mask.tolist()
        kept = pa.concat_tables([kept, batch.filter(pa.array(mask, pa.bool_()))])
        if length % 2:  # a crash: the next worker reads the window from the lake
            window = RepeatWindow("bar", size)
            in_reach = [offset >= len(answers) - size for offset in kept["_offset"].to_pylist()]
            window.remember(kept.filter(pa.array(in_reach, pa.bool_())))
    assert answers == plainly(events, size)


@settings(max_examples=150, deadline=None)
@given(
    messages=st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=9), max_size=12),
    cuts=st.lists(st.integers(1, 3), max_size=5),
    size=st.integers(1, 20),
)
def test_the_window_holds_no_more_records_than_positions(
    messages: list[list[int]], cuts: list[int], size: int
) -> None:
    """Records that share positions: of equal ones the last `size` kept count, however it is cut."""
    window = RepeatWindow("bar", size)
    events = [(at, event) for at, each in enumerate(messages) for event in each]
    kept: dict[int, tuple[int, int]] = {}
    expected: list[bool] = []
    for at, event in events:
        last_at, last_number = kept.get(event, (at - size - 1, 0))
        fresh = at - last_at > size or sum(expected) - last_number > size
        if fresh:
            kept[event] = at, sum(expected)
        expected.append(fresh)
    answers: list[bool] = []
    for length in [*cuts, len(events)]:
        part = events[len(answers) : len(answers) + length]
        batch = rows([event for _, event in part])
        offsets = pa.array([at for at, _ in part], pa.int64())
        place = batch.column_names.index("_offset")
        answers += window.admit(batch.set_column(place, "_offset", offsets)).tolist()
    assert answers == expected


def test_the_same_event_id_under_another_key_is_another_event() -> None:
    """An id tells events of one key apart: two symbols may share it (foreign producers do)."""
    bars = rows([1, 2])
    same = bars.set_column(
        bars.schema.get_field_index("event_id"), "event_id", pa.array([7, 7], pa.int64())
    )
    assert RepeatWindow("bar", 10).admit(same).tolist() == [True, True]
