"""`prove`: kill anything, at any moment, and look whether the lake holds every record once."""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tickerlake.cli.arguments import positive, read_config
from tickerlake.cli.output import Output, counted
from tickerlake.cli.stopping import Stop, stopping
from tickerlake.errors import TickerlakeError, UsageError

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from tickerlake.config import Config
    from tickerlake.proof import Evidence, Fault, Lakes, LeftOut, Logs

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How many runs, of which faults, and where their evidence goes."""
    parser.add_argument(
        "--runs", metavar="N", type=positive, default=100, help="runs that count (default: 100)"
    )
    parser.add_argument(
        "--seed", metavar="S", type=int, default=1, help="of the first run (default: 1)"
    )
    parser.add_argument(
        "--start",
        metavar="NAME",
        help="in place of --stream: start a broker for the proof, with power over it: kafka, "
        "kafka3 (three nodes) or kinesis; see `make services`",
    )
    parser.add_argument(
        "--start-lake",
        metavar="NAME",
        help="start a catalog and a store, too: postgres-s3 or rest-s3; without it each lake lies "
        "in a scratch folder",
    )
    parser.add_argument("--faults", metavar="NAMES", help="only these, commas between")
    parser.add_argument(
        "--lanes",
        metavar="N",
        type=positive,
        default=1,
        help="so many runs at a time, each over a broker of its own if --start says so; they share "
        "the file of --evidence (default: 1)",
    )
    parser.add_argument("--list", action="store_true", help="list the faults and run nothing")
    parser.add_argument(
        "--evidence", metavar="FILE", type=Path, help="JSON lines; a stopped series goes on there"
    )
    parser.add_argument(
        "--keep",
        metavar="DIR",
        type=Path,
        default=Path("proof-failed"),
        help="where a failing run's lake and log are kept (default: proof-failed)",
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Run the series; 1 if any run broke a promise."""
    from tickerlake.proof.evidence import read

    wanted = _wanted(arguments.faults)
    if arguments.list:
        rows = [(f.name, f.group, ", ".join(sorted(f.needs)), f.what) for f in wanted]
        if output.json_mode:
            names = ("fault", "group", "needs", "what")
            output.document([dict(zip(names, row, strict=True)) for row in rows])
        else:
            output.table(("fault", "group", "needs", "what"), rows)
        return 0
    if arguments.lanes > 1 and arguments.evidence is None:
        raise UsageError(
            "Several lanes need a file to share.",
            expected="--evidence FILE",
            found=f"--lanes {arguments.lanes} alone",
            todo="name a file for the evidence",
        )
    with stopping() as stop:
        with _further_lanes(arguments, output, stop) as others:
            done = _prove(arguments, output, stop.event.is_set, 0)
        if others:
            here = {(e.stream, e.lake, e.catalog, e.fault) for e in done}
            known = read(arguments.evidence)
            done = [e for e in known if (e.stream, e.lake, e.catalog, e.fault) in here]
    failed = max((other.exitcode or 0 for other in others), default=0)
    return failed or _tell_end(done, wanted, arguments, output) or stop.exit_code(endless=False)


@contextmanager
def _further_lanes(
    arguments: argparse.Namespace, output: Output, stop: Stop
) -> Iterator[list[BaseProcess]]:
    """All but the first, each in a process of its own; waits until they have ended."""
    from multiprocessing import get_context

    fork = get_context("fork")
    lanes: list[BaseProcess] = [
        fork.Process(target=_lane, args=(arguments, output, stop, number))
        for number in range(1, arguments.lanes)
    ]
    for lane in lanes:
        lane.start()
    went_well = False
    try:
        yield lanes
        went_well = stop.asked_by is not signal.SIGTERM
    finally:
        for lane in lanes:
            if not went_well:
                lane.terminate()
            lane.join()


def _lane(arguments: argparse.Namespace, output: Output, stop: Stop, number: int) -> None:
    """A further lane, in a process of its own, which ends with the first."""
    first = os.getppid()
    try:
        _prove(arguments, output, lambda: stop.event.is_set() or os.getppid() != first, number)
    except TickerlakeError as error:
        output.error(str(error))
        raise SystemExit(error.exit_code) from error


def _prove(
    arguments: argparse.Namespace, output: Output, stop: Callable[[], bool], lane: int
) -> list[Evidence]:
    """One lane of the series."""
    from tickerlake.proof import DiskLakes, Series, UserLogs, choose
    from tickerlake.proof.lakes import start_lakes
    from tickerlake.proof.services import start

    with (
        tempfile.TemporaryDirectory(prefix="tickerlake-prove-") as scratch,
        ExitStack() as opened,
    ):
        folder = Path(scratch)
        logs: Logs
        if arguments.start is None:
            config = read_config(arguments, output)
            logs = UserLogs(config.settings.stream, settings=_written(config))
        else:
            logs = opened.enter_context(start(arguments.start, folder / "broker"))
        lakes: Lakes = DiskLakes(folder)
        if arguments.start_lake is not None:
            lakes = opened.enter_context(start_lakes(arguments.start_lake, folder / "lakes"))
        possible, left_out = choose(_wanted(arguments.faults), logs, lakes)
        if lane == 0:
            _tell_left_out(left_out, output)
        series = Series(
            possible,
            logs=logs,
            lakes=lakes,
            folder=folder,
            seed=arguments.seed,
            path=arguments.evidence,
            keep=arguments.keep,
            lane=lane,
            lanes=arguments.lanes,
        )
        if lane == 0 and (before := series.before()):
            output.note(f"{counted(len(before), 'run')} stand in {arguments.evidence} already.")
        return series.run(arguments.runs, lambda shown: tell(shown, output), stop)


def _wanted(names: str | None) -> list[type[Fault]]:
    from tickerlake.proof.faults import FAULTS

    known = {fault.name: fault for fault in FAULTS}
    if names is None:
        return list(FAULTS)
    chosen = [name.strip() for name in names.split(",")]
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise UsageError(
            f"There is no fault {unknown[0]!r}.",
            expected=", ".join(known),
            todo="see `tickerlake prove --list`",
        )
    return [known[name] for name in chosen]


def _written(config: Config) -> dict[str, object]:
    """What the file says about streams: workers of a proof need it too, to reach the broker."""
    from functools import reduce

    return {
        name: reduce(getattr, name.split("."), config.settings)
        for name, origin in config.origins.items()
        if name.startswith("streams.") and origin.endswith(".toml")
    }


def _tell_left_out(left_out: list[LeftOut], output: Output) -> None:
    for entry in left_out:
        missing = " and ".join(entry.missing)
        output.note(f"left out: {entry.fault.name} (it needs {missing}, which nobody offers here)")


def tell(shown: Evidence, output: Output) -> None:
    """One line for a run; what is wrong with it, in full."""
    import dataclasses

    text = f"{shown.seed} {shown.fault}: {counted(shown.published, 'record')}"
    text += f", {shown.in_flight_log} in the log and {shown.in_flight_hand} in hand when it struck"
    if not shown.struck:
        text = f"{shown.seed} {shown.fault}: did not strike with records in flight; not counted"
    text += f", {shown.lost} lost, {shown.duplicated} duplicated ({shown.seconds:.1f} s)"
    output.event(dataclasses.asdict(shown), text)
    for finding in (*shown.findings, *shown.errors):
        output.error(finding)


def _tell_end(
    done: list[Evidence],
    wanted: list[type[Fault]],
    arguments: argparse.Namespace,
    output: Output,
) -> int:
    from tickerlake.proof.report import COLUMNS, table

    rows = table(done, wanted)
    if not output.json_mode:
        output.table(COLUMNS, [row.cells() for row in rows])
    wrong = [shown for shown in done if not shown.sound]
    for shown in wrong[:5]:
        output.error(
            f"The run with seed {shown.seed} broke a promise. Its lake and log are in "
            f"{arguments.keep}; repeat it with --faults {shown.fault} --seed {shown.seed} --runs 1."
        )
    short = arguments.runs - rows[-1].struck
    if short > 0:
        output.warning(f"{counted(short, 'run')} of {arguments.runs:,} are missing")
    return 1 if wrong else 0
