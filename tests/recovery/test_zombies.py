"""Workers that believe they own partitions which others have long delivered."""

from __future__ import annotations

import signal

import pytest

from recovery.harness import SETTINGS, Case


@pytest.mark.slow
@pytest.mark.parametrize("step", ["4", "5", "6", "7", "2", "3", "8a"])
def test_a_paused_worker_comes_back_as_a_zombie(case: Case, step: str) -> None:
    """A worker sleeps after a step, another delivers all it held and more; awake it harms nothing.

    That is a laptop's lid, a long garbage collection, a virtual machine that was moved.
    """
    case.publish()
    zombie = case.start(step=step, nth=3 if step in {"7", "2", "3", "8a"} else 1, action="pause")
    zombie.wait_paused()
    assert "error" not in case.deliver()
    case.publish()
    assert "error" not in case.deliver()
    zombie.signal(signal.SIGCONT)
    assert "error" not in zombie.report()
    case.assert_sound()
    case.assert_complete()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_two_workers_that_both_believe_they_own_everything(
    case: Case, seed: int, request: pytest.FixtureRequest
) -> None:
    """Both race for every commit over the same log, and one of them dies on the way."""
    case.random.seed(seed)
    for _ in range(6):
        case.publish(240)
        # Different flushes, so that their ranges overlap in all ways.
        rival = case.start(settings={**SETTINGS, "flush_rows": case.random.choice([25, 70, 110])})
        step, nth = case.random.choice(["6", "7", "3", "8b"]), case.random.choice([2, 3, 4])
        case.kill_at(step, nth)
        assert "error" not in rival.report()
        case.assert_sound()
    case.record_kills(request, "rivals")
    case.assert_complete()


@pytest.mark.slow
def test_a_crowd_over_one_table(case: Case) -> None:
    """Five workers that all believe they own everything deliver each record once."""
    case.publish(600)
    crowd = [case.start(settings={**SETTINGS, "flush_rows": 30 + 17 * n}) for n in range(5)]
    reports = [worker.report() for worker in crowd]
    assert not [report for report in reports if "error" in report]
    assert case.backlog() == 0
    case.assert_sound()
