"""Workers killed with SIGKILL over catalogs and stores that are servers of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lakes import Place
from recovery.harness import Case
from tickerlake.testing.faults import HANDOVER_STEPS, Nursery

pytestmark = pytest.mark.xdist_group("lakes")

#: Where a file, a manifest or a commit may be left half done.
STEPS = ("6a", "6", "2", "8a", "8b", "9", "8")


@pytest.fixture
def team_case(place: Place) -> Iterator[Case]:
    """A log on this machine, a lake elsewhere."""
    # Its own nursery: one that was started before would not know this store's keys.
    with Nursery() as nursery:
        case = Case(place.folder, nursery, eyes=place.eyes())
        yield case
        case.stream.close()


@pytest.mark.slow
def test_killed_over_shared_catalogs_nothing_is_lost_and_nothing_comes_twice(
    team_case: Case, request: pytest.FixtureRequest
) -> None:
    """A worker dies after each step, and the judge finds the lake sound, maintained or not."""
    for attempt, step in enumerate(STEPS):
        if team_case.backlog() < 300:
            team_case.publish()
        # Step 9 is only reached after a commit that was refused, or whose answer was lost.
        answers = ("landed", "refused") if step == "9" else ()
        team_case.kill_at(step, nth=1 + attempt % 2, commits=answers)
        team_case.assert_sound()
        if step == "8a":
            team_case.maintain()
            team_case.assert_sound()
    assert team_case.kills["killed"] == len(STEPS)
    team_case.record_kills(request, "over S3")
    team_case.assert_complete()


@pytest.mark.slow
def test_handed_over_through_a_bucket_nothing_is_lost_and_nothing_comes_twice(
    team_case: Case, request: pytest.FixtureRequest
) -> None:
    """Files are handed over beside a table in a bucket; each of the two dies at each step."""
    for step in HANDOVER_STEPS:
        team_case.publish(300)
        for _ in range(3):
            if team_case.kill_at_handover(step, nth=1):
                break
        team_case.assert_sound()
    assert team_case.kills["killed"] == len(HANDOVER_STEPS)
    team_case.record_kills(request, "handed over through S3")
    team_case.assert_complete()
    assert team_case.requests() == []
