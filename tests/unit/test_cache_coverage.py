"""Interval sets against plain sets of points."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tickerlake.cache.coverage import Coverage

PARTS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6)


def points(parts: object) -> set[int]:
    return {at for low, high in parts for at in range(low, high)}  # type: ignore[attr-defined]


@given(PARTS, PARTS)
def test_sets_of_intervals_are_sets(
    left: list[tuple[int, int]], right: list[tuple[int, int]]
) -> None:
    """Union, difference and intersection hold the points that sets of points hold."""
    a, b = Coverage.of(left), Coverage.of(right)
    assert points(a | b) == points(left) | points(right)
    assert points(a - b) == points(left) - points(right)
    assert points(a & b) == points(left) & points(right)
    assert a.size == len(points(left))
    assert bool(a) == bool(points(left))


@given(PARTS, PARTS)
def test_the_same_points_are_the_same_set(
    left: list[tuple[int, int]], right: list[tuple[int, int]]
) -> None:
    """Parts are in order, hold something and do not touch: so equal sets are equal values."""
    for made in (
        Coverage.of(left),
        Coverage.of(left) | Coverage.of(right),
        Coverage.of(left) - Coverage.of(right),
        Coverage.of(left) & Coverage.of(right),
    ):
        flat = [edge for part in made for edge in part]
        assert flat == sorted(set(flat))
        assert Coverage.of((at, at + 1) for at in points(made)) == made
        assert Coverage.from_json(made.to_json()) == made


@given(PARTS, st.integers(0, 30), st.integers(0, 30))
def test_questions_are_answered_as_by_points(
    parts: list[tuple[int, int]], low: int, high: int
) -> None:
    """`covers`, `holding`, `within` and `overlapping` agree with the points."""
    held = Coverage.of(parts)
    asked = set(range(low, high))
    assert held.covers(low, high) == (asked <= points(held))
    assert (held.holding(low) is not None) == (low in points(held))
    assert points(held.within(low, high)) == points(held) & asked
    if low < high:
        assert all(points([part]) & asked for part in held.overlapping(low, high))
