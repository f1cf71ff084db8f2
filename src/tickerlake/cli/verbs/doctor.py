"""`doctor`: check what can go wrong before it does."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tickerlake import clock
from tickerlake.cli.arguments import open_workspace
from tickerlake.cli.output import Output
from tickerlake.errors import TickerlakeError

if TYPE_CHECKING:
    from tickerlake.app import Workspace

__all__ = ["Check", "add_arguments", "run"]

#: Less than this is a warning; less than a tenth of it a failure.
FREE_BYTES_MIN = 1024**3
PYTHON_MIN = (3, 11, 0)
_EXTRAS = {
    "kafka": ("confluent_kafka",),
    "kinesis": ("boto3",),
    "otel": ("opentelemetry",),
    "postgres": ("psycopg",),
    "s3": ("boto3",),
    "sample": ("bokeh_sampledata",),
    "web": ("starlette", "uvicorn"),
}


class Check(NamedTuple):
    """One thing that was looked at: `ok`, `warning` or `failed`, and what to do about it."""

    name: str
    state: str
    found: str
    todo: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing but the workspace."""
    parser.epilog = "Exits 1 if anything failed."


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Look at everything, and say what to do about each thing that is wrong."""
    checks = [_python(), *_extras(), _page(), _clock()]
    try:
        with open_workspace(arguments, output) as workspace:
            checks += _workspace(workspace)
    except TickerlakeError as error:
        checks.append(_failed("workspace", error))
    if output.json_mode:
        output.document([check._asdict() for check in checks])
    else:
        output.table(("check", "state", "found"), [check[:3] for check in checks])
        for check in checks:
            if check.todo:
                output.note(f"{check.name}: {check.todo}")
    return 1 if any(check.state == "failed" for check in checks) else 0


def _python() -> Check:
    # Compared as data: a checker that knows our lower bound would call the else part dead.
    version = tuple(sys.version_info[:3])
    found = ".".join(str(part) for part in version)
    if version >= PYTHON_MIN:
        return Check("python", "ok", found)
    return Check("python", "failed", found, "install Python 3.11 or newer")


def _extras() -> Iterator[Check]:
    for extra, packages in _EXTRAS.items():
        missing = [name for name in packages if find_spec(name) is None]
        if missing:
            todo = f"pip install 'tickerlake[{extra}]' if you want it"
            yield Check(f"extra {extra}", "warning", f"no {', '.join(missing)}", todo)
        else:
            yield Check(f"extra {extra}", "ok", "installed")


def _page() -> Check:
    if files("tickerlake").joinpath("web/static/index.html").is_file():
        return Check("page", "ok", "built")
    return Check("page", "warning", "not built", "pip install . in the checkout builds it")


def _clock() -> Check:
    pinned = clock.pinned_now()
    if pinned is None:
        return Check("clock", "ok", f"{clock.now():%Y-%m-%d %H:%M:%S}Z")
    return Check(
        "clock", "warning", f"starts at {pinned}", "unset TICKERLAKE_NOW for the real time"
    )


def _workspace(workspace: Workspace) -> Iterator[Check]:
    folder = workspace.folder
    yield Check("workspace", "ok", str(folder))
    yield _writable(folder)
    yield _space(folder)
    yield _tried("stream", lambda: _opened(workspace))
    yield from _lake(workspace)


def _lake(workspace: Workspace) -> Iterator[Check]:
    """What the lake stands on, and then itself: it would wait long for what does not answer."""
    try:
        looks = list(workspace.reaches())
    except TickerlakeError as error:
        yield _failed("lake", error)
        return
    checks = [_tried(name, look) for name, look in looks]
    yield from checks
    if all(check.state == "ok" for check in checks):
        yield _tried("lake", lambda: _probed(workspace))


def _writable(folder: Path) -> Check:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Check("writable", "ok", "yes")
    except OSError as error:
        todo = "give this user the right to write there"
        return Check("writable", "failed", error.strerror or str(error), todo)


def _space(folder: Path) -> Check:
    free_bytes = shutil.disk_usage(folder).free
    found = f"{free_bytes / 1024**3:.1f} GiB free"
    if free_bytes >= FREE_BYTES_MIN:
        return Check("disk", "ok", found)
    state = "warning" if free_bytes >= FREE_BYTES_MIN / 10 else "failed"
    return Check("disk", state, found, "make room: a full disk stops publishing and delivery")


def _opened(workspace: Workspace) -> str:
    stream = workspace.stream
    topics = [stream.topic(kind) for kind in stream.kinds()]  # opening one finds damage
    return f"{stream.url} {len(topics)} topics"


def _probed(workspace: Workspace) -> str:
    workspace.lake.probe(again=True)
    names = workspace.lake.names()
    return f"{len(names)} tables; of two rival commits one loses, as it must"


def _tried(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", look())
    except TickerlakeError as error:
        return _failed(name, error)


def _failed(name: str, error: TickerlakeError) -> Check:
    found = f"{error.problem} ({error.found})" if error.found else error.problem
    return Check(name, "failed", found, error.todo or "")
