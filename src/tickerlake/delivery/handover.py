"""Many writers of one table: one of them commits for the others.

Whoever reads the first partition is the committer. The others write their data files as ever
(step 6) and then hand them over with their ranges, as small files beside the table. The committer
takes all that wait, decides about each of them on one loaded metadata (step 7), and makes one
snapshot of those that stand at their `from`. A worker that handed over looks at the table, and
only there: its `to` says done, anything else says void.

Nobody's word is trusted but the table's. So two committers at once do no harm, nor does one that
died: who has waited too long takes the request back and commits the same files itself.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from tickerlake import clock
from tickerlake.delivery.checkpoint import Decision, Unit, change_of, decide
from tickerlake.delivery.direct import OTHERS_MOVED_ON, PAUSE_SECONDS_MAX, DirectCommits, Heard
from tickerlake.delivery.settings import DeliverySettings
from tickerlake.errors import CommitRefusedError, CommitUnknownError, TickerlakeError
from tickerlake.lake.base import LakeTable, Loaded
from tickerlake.lake.handover import Request
from tickerlake.lake.positions import Range
from tickerlake.observe import log
from tickerlake.records import Position
from tickerlake.streams import StreamIdentity

__all__ = ["Commits"]

#: More workers of a table than this hand over instead of committing themselves.
DIRECT_WORKERS_MAX: Final = 3

#: How often a committer looks for requests: while they come, and when none has come for a while.
_LOOK_SECONDS: Final = 0.03
_LOOK_SECONDS_MAX: Final = 0.5


class Commits:
    """How a worker's units get into the table: directly, through a committer, or as one.

    Promise: that of `DirectCommits`, whoever commits a unit, and however often.
    """

    def __init__(
        self, table: LakeTable, settings: DeliverySettings, direct: DirectCommits, heard: Heard
    ) -> None:
        self._table = table
        self._settings = settings
        self._direct = direct
        self._heard = heard
        self._committer: _Committer | None = None
        self._hands_over = False

    def assigned(self, names: Sequence[str], share: frozenset[str]) -> None:
        """Know our place among the workers: the topic's partitions, and those that are ours."""
        alone = share >= set(names)
        crowded = self._settings.committer == "handover" or (
            self._settings.committer == "auto" and len(names) > DIRECT_WORKERS_MAX * len(share)
        )
        self._hands_over = crowded and not alone
        leads = not alone and self._settings.committer != "direct" and names[0] in share
        if leads and self._committer is None:
            self._committer = self._new_committer()
            self._committer.start()
        elif not leads:
            self.close()
        if alone:
            self._settle_what_was_left()

    def commit(self, unit: Unit) -> int | None:
        """The snapshot in which the unit stands; null: others moved on, it is void."""
        # What depends on more than ranges is rare, and nobody else's to judge.
        lost = any(span.lost for span in unit.ranges.values())
        special = unit.registers or unit.copies or unit.origins or lost
        if not special and self._committer is not None:
            return self._committer.commit(unit)
        if not special and self._hands_over:
            return self._handed(unit)
        return self._direct.commit(unit)

    def _settle_what_was_left(self) -> None:
        """What others handed over before they died or left: no committer comes after us."""
        if requests := self._table.requests.all():
            self._new_committer().settle([_asked(request) for request in requests])

    def _new_committer(self) -> _Committer:
        return _Committer(self._table, self._settings, self._direct, self._heard)

    def close(self) -> None:
        """Commit for nobody any more."""
        if self._committer is not None:
            self._committer.close()
            self._committer = None

    def _handed(self, unit: Unit) -> int | None:
        requests = self._table.requests
        path = requests.put(_words(unit), unit.files)
        # 7a. The request is there: from here on anybody may commit these files.
        self._heard.reached("7a")
        deadline_seconds = clock.monotonic_seconds() + self._settings.handover_seconds
        pause_seconds = self._settings.commit_pause_seconds
        while clock.monotonic_seconds() < deadline_seconds:
            clock.sleep(pause_seconds * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            pause_seconds = min(2 * pause_seconds, 0.1)
            loaded = self._table.load()
            decision = decide(self._table, loaded, unit)
            if decision is Decision.COMMIT:
                continue
            requests.remove([path])
            if decision is Decision.DONE:
                return loaded.snapshot_id
            self._heard.refused(unit, OTHERS_MOVED_ON, fenced=True)
            return None
        # Nobody did it: the committer died, or is busy. Whoever comes first now, it lands once.
        requests.remove([path])
        return self._direct.commit(unit, known_to_others=True)


@dataclass(eq=False, slots=True)
class _Asked:
    """A unit that waits: our own with a future, or another's with its request's path."""

    unit: Unit
    path: str | None = None
    answer: Future[int | None] = field(default_factory=Future)


class _Committer:
    """A thread that commits what this worker and the others of its table hand over."""

    def __init__(
        self, table: LakeTable, settings: DeliverySettings, direct: DirectCommits, heard: Heard
    ) -> None:
        self._table = table
        self._settings = settings
        self._direct = direct
        self._heard = heard
        self._news = threading.Condition()
        self._own: list[_Asked] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"committer of {table.name}")

    def start(self) -> None:
        """Begin to look for what others hand over."""
        self._thread.start()

    def commit(self, unit: Unit) -> int | None:
        """Our own unit, in one snapshot with those of the others."""
        asked = _Asked(unit)
        with self._news:
            self._own.append(asked)
            self._news.notify()
        return asked.answer.result()

    def close(self) -> None:
        """End; requests that still wait are others' to commit."""
        with self._news:
            self._closed = True
            self._news.notify()
        self._thread.join()

    def _run(self) -> None:
        look_seconds = _LOOK_SECONDS
        while (own := self._next(look_seconds)) is not None:
            try:
                others = [_asked(request) for request in self._table.requests.all()]
                idle = not own and not others
                look_seconds = min(2 * look_seconds, _LOOK_SECONDS_MAX) if idle else _LOOK_SECONDS
                self.settle([*own, *others])
            except BaseException as error:
                for each in own:
                    if not each.answer.done():
                        each.answer.set_exception(error)
                if not isinstance(error, TickerlakeError):
                    raise
                # Others wait in vain, commit themselves, and meet the same error or do not.
                log.warning("the committer of %s could not commit: %s", self._table.name, error)
                look_seconds = _LOOK_SECONDS_MAX

    def _next(self, look_seconds: float) -> list[_Asked] | None:
        """Our own units, after a pause that they cut short; null once we are closed."""
        with self._news:
            self._news.wait_for(lambda: self._own or self._closed, look_seconds)
            own, self._own = self._own, []
            return None if self._closed and not own else own

    def settle(self, asked: Sequence[_Asked]) -> None:
        """7 to 9 for all: on one loaded metadata, in as few snapshots as can be."""
        deadline_seconds = clock.monotonic_seconds() + self._settings.commit_seconds_max
        pause_seconds = self._settings.commit_pause_seconds
        while asked:
            # 7. Decide about each on one freshly loaded metadata, on which the commit is built.
            loaded = self._table.load()
            asked = self._ready(asked, loaded)
            together = _together(asked)
            # 7b. What is done or void is answered, what comes into the snapshot is known.
            self._heard.reached("7b")
            if not together:
                return
            merged = _merged([each.unit for each in together])
            try:
                # 2., 3. and 8. One snapshot on exactly `loaded`, through the one commit function.
                snapshot_id = self._table.commit(loaded, change_of(loaded, merged))
            except (CommitRefusedError, CommitUnknownError) as error:
                # 9. It may have landed all the same: only what the table says counts.
                self._heard.refused(merged, error.problem, fenced=False)
                if clock.monotonic_seconds() > deadline_seconds:
                    raise
                clock.sleep(pause_seconds * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                pause_seconds = min(2 * pause_seconds, PAUSE_SECONDS_MAX)
                continue
            # 7c. It has landed; the requests are still there, and done.
            self._heard.reached("7c")
            self._answer(together, snapshot_id)
            asked = [each for each in asked if each not in together]

    def _ready(self, asked: Sequence[_Asked], loaded: Loaded) -> list[_Asked]:
        """Those that stand at their `from`; the others are answered."""
        found: dict[Decision, list[_Asked]] = {decision: [] for decision in Decision}
        for each in asked:
            found[self._direct.decide(loaded, each.unit)].append(each)
        self._answer(found[Decision.DONE], loaded.snapshot_id)
        for each in found[Decision.DISCARD]:
            if each.path is None:
                self._heard.refused(each.unit, OTHERS_MOVED_ON, fenced=True)
        self._answer(found[Decision.DISCARD], None)
        return found[Decision.COMMIT]

    def _answer(self, asked: Iterable[_Asked], snapshot_id: int | None) -> None:
        """Our own learn it here; the others see it in the table, and need their request no more."""
        asked = list(asked)
        for each in asked:
            if each.path is None:
                each.answer.set_result(snapshot_id)
        paths = [each.path for each in asked if each.path is not None]
        if paths:
            self._table.requests.remove(paths)


def _asked(request: Request) -> _Asked:
    return _Asked(_unit(request), request.path)


def _together(asked: Sequence[_Asked]) -> list[_Asked]:
    """Those that can share a snapshot: of one stream, and no partition twice."""
    chosen: list[_Asked] = []
    taken: set[str] = set()
    for each in asked:
        if each.unit.identity == asked[0].unit.identity and taken.isdisjoint(each.unit.ranges):
            chosen.append(each)
            taken |= set(each.unit.ranges)
    return chosen


def _merged(units: Sequence[Unit]) -> Unit:
    return Unit(
        units[0].identity,
        {name: span for unit in units for name, span in unit.ranges.items()},
        tuple(file for unit in units for file in unit.files),
        forgets=tuple({name: None for unit in units for name in unit.forgets}),
    )


def _words(unit: Unit) -> dict[str, Any]:
    return {
        "stream": [unit.identity.id, unit.identity.text],
        "ranges": {
            name: [str(s.start), str(s.end), s.dropped, s.lost, s.gaps, s.shared]
            for name, s in unit.ranges.items()
        },
        "forgets": unit.forgets,
    }


def _unit(request: Request) -> Unit:
    words = request.words
    return Unit(
        StreamIdentity(*words["stream"]),
        {
            name: Range(Position.parse(start), Position.parse(end), *counts)
            for name, (start, end, *counts) in words["ranges"].items()
        },
        request.files,
        forgets=tuple(words["forgets"]),
    )
