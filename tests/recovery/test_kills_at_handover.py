"""Workers that hand over, and the committer that they hand over to, die at the steps between."""

from __future__ import annotations

import pytest

from recovery.harness import Case
from tickerlake.testing.faults import HANDOVER_STEPS

KILLS_PER_STEP = 5


@pytest.mark.slow
@pytest.mark.parametrize("step", HANDOVER_STEPS)
def test_killed_at_a_handover_nothing_is_lost_and_nothing_comes_twice(
    case: Case, step: str, request: pytest.FixtureRequest
) -> None:
    """One hands over, one commits for both: now one of them dies, now the other."""
    for attempt in range(3 * KILLS_PER_STEP):
        if case.backlog() < 300:
            case.publish()
        case.kill_at_handover(step, nth=1 + attempt % 2)
        case.assert_sound()
        if case.kills["killed"] == KILLS_PER_STEP:
            break
    assert case.kills["killed"] == KILLS_PER_STEP
    case.record_kills(request, step)
    case.assert_complete()
    assert case.requests() == []
