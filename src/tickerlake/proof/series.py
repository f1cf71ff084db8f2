"""A series of runs: which fault with which seed, what each showed, and where it stopped."""

from __future__ import annotations

import random
import shutil
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tickerlake
from tickerlake import clock
from tickerlake.errors import TickerlakeError
from tickerlake.proof import evidence
from tickerlake.proof.base import Fault, MissedError
from tickerlake.proof.evidence import Evidence
from tickerlake.proof.ground import Lakes, Logs, Place
from tickerlake.proof.ledger import Counts
from tickerlake.proof.run import Run
from tickerlake.testing.faults import Nursery

__all__ = ["LeftOut", "Series", "choose"]

#: A worker that says nothing for so long hangs.
PATIENCE_SECONDS = 60.0
#: Of a fault that keeps missing, so many runs beyond those that were asked for.
_MISSES_MAX = 3


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A fault that cannot be run here, and the powers that are missing for it."""

    fault: type[Fault]
    missing: Sequence[str]


def choose(
    faults: Sequence[type[Fault]], logs: Logs, lakes: Lakes
) -> tuple[list[type[Fault]], list[LeftOut]]:
    """Which faults can happen over these logs and lakes, and which cannot."""
    here = {*logs.powers, *lakes.powers}
    possible = [fault for fault in faults if fault.needs <= here]
    left_out = [LeftOut(f, sorted(f.needs - here)) for f in faults if not f.needs <= here]
    return possible, left_out


class Series:
    """Runs until so many have counted.

    Args:
        faults: In turns, each as often as the others.
        logs: Where the runs' logs stand.
        lakes: Where the runs' lakes stand.
        folder: A scratch folder; runs that keep their promises leave nothing in it.
        seed: Of the first run; each run's seed is one more than that of the run before.
        path: The file of evidence; what it holds of these faults is not run again.
        keep: Where the folder of a failing run is kept.
        lane: Which of so many lanes this is, if others go on in the same file of evidence.
        lanes: How many there are.
    """

    def __init__(
        self,
        faults: Sequence[type[Fault]],
        *,
        logs: Logs,
        lakes: Lakes,
        folder: Path,
        seed: int,
        path: Path | None,
        keep: Path,
        lane: int = 0,
        lanes: int = 1,
    ) -> None:
        # Each lane begins elsewhere: two that choose at one moment shall not choose the same.
        first = lane * len(faults) // lanes
        self._faults = [*faults[first:], *faults[:first]]
        self._lane = lane
        self._lanes = lanes
        self._logs = logs
        self._lakes = lakes
        self._folder = folder
        self._seed = seed
        self._path = path
        self._keep = keep

    def before(self) -> list[Evidence]:
        """What the file holds of runs like these."""
        if self._path is None:
            return []
        names = {fault.name for fault in self._faults}
        known = evidence.read(self._path)
        kinds = self._logs.kind, self._lakes.kind, self._lakes.catalog_kind
        return [e for e in known if e.fault in names and (e.stream, e.lake, e.catalog) == kinds]

    def run(
        self, count: int, on_run: Callable[[Evidence], None], stop: Callable[[], bool]
    ) -> list[Evidence]:
        """Go on until `count` runs have counted, those of the file among them.

        Raises:
            TickerlakeError: The stream, the lake or the evidence cannot be used at all.
        """
        if self._path is not None:
            evidence.mend(self._path)
        done = self.before()
        with Nursery(patience_seconds=PATIENCE_SECONDS) as nursery:
            self._try_out(nursery)
            while not stop() and (fault := self._next(done, count)) is not None:
                shown = self.run_once(self._next_seed(done), fault, nursery)
                if self._path is None:
                    done = [*done, shown]
                else:
                    evidence.append(self._path, shown)
                    done = self.before()
                on_run(shown)
        return done

    def _next_seed(self, done: Sequence[Evidence]) -> int:
        """The first that is this lane's own, and behind all that were used."""
        first = max((e.seed for e in done), default=self._seed - 1) + 1
        return first + (self._lane - first) % self._lanes

    def _try_out(self, nursery: Nursery) -> None:
        """Make and remove a topic and a lake: what is wrong with them is no run's finding."""
        name = f"prove-{clock.real_now():%m%d%H%M%S}-first-{self._lane}"
        run = self._new_run(name, self._seed, nursery)
        try:
            run.lake.probe()
            run.topic.identity()
            self._clean(run, name, sound=True)
        finally:
            run.close()

    def _new_run(
        self, name: str, seed: int, nursery: Nursery, fault: type[Fault] | None = None
    ) -> Run:
        lake, catalog = self._lakes.urls(name)
        drawn = random.Random(f"place {seed}")  # noqa: S311 - a seed that can be repeated
        partitions, wire = drawn.choice([2, 3, 4, 6]), drawn.choice(["json", "json", "arrow"])
        settings = {
            "streams.partitions": (fault and fault.partitions) or partitions,
            "streams.wire": (fault and fault.wire) or wire,
            **self._logs.settings,
            **self._lakes.settings(name),
        }
        place = Place(self._folder / name, self._logs.url(name), lake, catalog, settings)
        return Run(seed, place=place, logs=self._logs, lakes=self._lakes, nursery=nursery)

    def _next(self, done: Sequence[Evidence], count: int) -> type[Fault] | None:
        """The fault that has counted least; one that keeps missing is given up."""
        struck = Counter(e.fault for e in done if e.struck)
        missed = Counter(e.fault for e in done if not e.struck)
        due = [f for f in self._faults if missed[f.name] <= _MISSES_MAX + struck[f.name]]
        if not due or struck.total() >= count:
            return None
        return min(due, key=lambda f: (struck[f.name] / f.turns, missed[f.name]))

    def run_once(self, seed: int, fault: type[Fault], nursery: Nursery) -> Evidence:
        """One run, from an empty log and an empty lake."""
        began = clock.real_now()
        began_seconds = clock.monotonic_seconds()
        name = f"prove-{began:%m%d%H%M%S}-{seed}"
        run = self._new_run(name, seed, nursery, fault)
        counts, dropped, errors = Counts(0, 0, 0, 0, 0), 0, []
        try:
            try:
                fault().strike(run)
            except MissedError:
                run.strikes.clear()
            finally:
                self._logs.heal()
                self._lakes.heal()
            run.finish()
            counts, dropped = run.counts(), run.dropped()
        except Exception:  # noqa: BLE001 - whatever a run meets is told, a bug above all
            errors.append(traceback.format_exc(limit=-6)[-2000:])
        shown = Evidence(
            seed=seed,
            fault=fault.name,
            group=fault.group,
            steps=[strike.step for strike in run.strikes],
            stream=self._logs.kind,
            lake=self._lakes.kind,
            catalog=self._lakes.catalog_kind,
            version=tickerlake.__version__,
            commit=commit(),
            published=counts.published,
            in_lake=counts.lake,
            lost=counts.lost,
            duplicated=counts.duplicated,
            dropped=dropped,
            dead=counts.dead,
            given_up=len(run.ledger.given_up),
            in_flight_log=max((strike.in_log for strike in run.strikes), default=0),
            in_flight_hand=max((strike.in_hand or 0 for strike in run.strikes), default=0),
            struck=any(strike.counts for strike in run.strikes) and not errors,
            seconds=round(clock.monotonic_seconds() - began_seconds, 3),
            findings=run.findings[:20],
            began_at=f"{began:%Y-%m-%dT%H:%M:%SZ}",
            errors=errors,
        )
        self._clean(run, name, sound=shown.sound)
        return shown

    def _clean(self, run: Run, name: str, *, sound: bool) -> None:
        """Remove what the run made; of a failing one, keep lake and log for whoever looks."""
        if not sound:
            keep(run, self._keep / name)
        try:
            with suppress(TickerlakeError):  # somebody may have been faster
                run.stream.remove(run.kind)
        finally:
            run.close()
        self._lakes.remove(name)
        shutil.rmtree(run.place.folder, ignore_errors=True)


def keep(run: Run, folder: Path) -> None:
    """Copy the run's folder (on disk its lake too), and all that its log still holds."""
    shutil.copytree(run.place.folder, folder, ignore_dangling_symlinks=True, dirs_exist_ok=True)
    with suppress(TickerlakeError):
        for partition in run.topic.partitions():
            at, at_end = run.topic.bounds(partition).beginning, False
            with (folder / f"log-{partition}.bin").open("wb") as file:
                while not at_end:
                    batch = run.topic.read(partition, at, records_max=10_000, wait_seconds=0.1)
                    for message in batch.messages:
                        parts = message.parts or [message.payload]
                        file.write(f"# {message.first_position} {message.count}\n".encode())
                        file.writelines(part or b"" for part in parts)
                        file.write(b"\n")
                    at, at_end = batch.next_position, batch.at_end


@cache
def commit() -> str:
    """The commit that is checked out, where this is a checkout; else the version says it all."""
    head = Path(tickerlake.__file__).parents[2] / ".git"
    folder = head if head.is_dir() else None
    if head.is_file():  # a worktree
        folder = Path(head.read_text().removeprefix("gitdir:").strip())
    if folder is None or not (folder / "HEAD").exists():
        return ""
    text = (folder / "HEAD").read_text().strip()
    if not text.startswith("ref:"):
        return text[:12]
    name = text.removeprefix("ref:").strip()
    for base in (folder, folder.parent.parent):
        if (base / name).exists():
            return (base / name).read_text().strip()[:12]
    return ""
