"""Workers killed with SIGKILL after each numbered step of the protocol."""

from __future__ import annotations

import pytest

from recovery.harness import Case
from tickerlake.testing.faults import STEPS

KILLS_PER_STEP = 10


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_killed_after_a_step_nothing_is_lost_and_nothing_comes_twice(
    case: Case, step: str, request: pytest.FixtureRequest
) -> None:
    """Ten workers die after the same step, now at its first time, now at a later one.

    After each death the table is sound as it is; the last worker finds all the rest.
    """
    # Step 9 is only reached after a commit that was refused, or whose answer was lost.
    answers = [("refused",), ("unknown",), ("landed",)] if step == "9" else [()]
    for attempt in range(3 * KILLS_PER_STEP):
        if case.backlog() < 300:
            case.publish()
        once_only = step in {"1", "4"}
        case.kill_at(
            step,
            nth=1 if once_only else 1 + attempt % 3,
            commits=answers[attempt % len(answers)] * 3,
        )
        case.assert_sound()
        if case.kills["killed"] == KILLS_PER_STEP:
            break
    assert case.kills["killed"] == KILLS_PER_STEP
    case.record_kills(request, step)
    case.assert_complete()
