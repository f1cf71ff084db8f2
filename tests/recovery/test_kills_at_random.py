"""Workers killed with SIGKILL at any moment."""

from __future__ import annotations

import pytest

from recovery.harness import Case

KILLS = 22


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_nothing_is_lost_and_nothing_comes_twice(
    case: Case, seed: int, request: pytest.FixtureRequest
) -> None:
    """Twenty-two workers die at moments that nobody chose, while records keep coming.

    Now and then the broker's own offsets are wiped, which nobody reads to decide, and the tables
    are compacted, expired and swept, which changes nothing.
    """
    case.random.seed(seed)
    faults: list[tuple[str, ...]] = [(), ("landed",), ("refused", "unknown")]
    for attempt in range(4 * KILLS):
        if case.backlog() < 600:
            case.publish(300)
        case.kill_after(case.random.uniform(0.02, 0.35), commits=faults[attempt % 3])
        case.assert_sound()
        if attempt % 5 == 0:
            case.wipe_acknowledged()
        if attempt % 7 == 6:
            case.maintain()
            case.assert_sound()
        if case.kills["killed"] == KILLS:
            break
    assert case.kills["killed"] == KILLS
    case.record_kills(request, "random")
    case.assert_complete()
