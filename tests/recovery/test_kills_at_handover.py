"""Workers that hand over, and the committer that they hand over to, die at the steps between."""

from __future__ import annotations

import signal

import pytest

from recovery.harness import SETTINGS, Case
from tickerlake.testing.faults import HANDOVER_STEPS

KILLS_PER_STEP = 5
HANDING = {**SETTINGS, "committer": "handover", "handover_seconds": 0.4}


@pytest.mark.slow
@pytest.mark.parametrize("step", HANDOVER_STEPS)
def test_killed_at_a_handover_nothing_is_lost_and_nothing_comes_twice(
    case: Case, step: str, request: pytest.FixtureRequest
) -> None:
    """One reads half of the partitions and commits for both; now one dies, now the other.

    What a dead worker had handed over is committed once, or void; who hands over to a dead
    committer commits itself.
    """
    for attempt in range(3 * KILLS_PER_STEP):
        if case.backlog() < 300:
            case.publish()
        fault = {"step": step, "nth": 1 + attempt % 2}
        of_committer = {} if step == "7a" else fault
        committer = case.start(share="0 1 2", once=False, settings=HANDING, **of_committer)
        other = case.start(share="3 4 5", settings=HANDING, **(fault if step == "7a" else {}))
        if step == "7a":
            case.killed(other, step=step)
            committer.signal(signal.SIGTERM)
            assert "error" not in committer.report()
        else:
            assert "error" not in other.report()
            committer.signal(signal.SIGTERM)
            case.killed(committer, step="random")
        case.assert_sound()
        if case.kills["killed"] == KILLS_PER_STEP:
            break
    assert case.kills["killed"] == KILLS_PER_STEP
    case.record_kills(request, step)
    case.assert_complete()
    assert case.requests() == []
