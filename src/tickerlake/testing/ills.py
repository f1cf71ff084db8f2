"""What can be made to go wrong inside one worker's process, by name.

Each is a context manager that a plan names with a value of plain JSON. They touch only what stands
at the edge of our code: the catalog's answers, the machine's clock, the process's limits, the
operating system's answer to a write.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tickerlake import clock
from tickerlake.lake.lake import Lake

__all__ = ["ANSWERS", "STRIKE", "Reached", "finer_steps", "ills"]

#: Beside the steps: the moment at which the plan's own step is reached, before it acts.
STRIKE = "strike"

#: Called with a step's number, and what the worker holds where it tells.
Reached = Callable[..., None]

#: What a commit may be answered with. Those that begin with `landed` are given after it landed.
ANSWERS = (
    "refused",  # 409: another parent by now
    "unknown",  # the connection broke before the request arrived
    "412",
    "500",
    "503",
    "landed",  # it landed, the connection broke before the answer came
    "landed 409",
    "landed 412",
    "landed 500",
    "landed 503",
    "resent",  # it landed, and an SDK sent the same request again, whose answer is what we see
)


@contextlib.contextmanager
def finer_steps(reached: Reached, lake: Lake, answered: Callable[[], str | None]) -> Iterator[None]:
    """The steps inside a write and a commit, and commits that go wrong.

    Args:
        reached: Told of each step.
        lake: Whose catalog is asked.
        answered: The next try's answer: one of `ANSWERS`, or null for the truth.
    """
    from tickerlake.lake.writer import MonthWriter

    finish, commit_table = MonthWriter.finish, lake.catalog.commit_table

    def finish_and_tell(writer: MonthWriter) -> Any:  # noqa: ANN401 - whatever it returns
        file = finish(writer)
        reached("6a")
        return file

    def commit_and_tell(*request: Any) -> Any:  # noqa: ANN401
        reached("8a")
        answer = answered()
        if answer is not None and not answer.startswith(("landed", "resent")):
            raise _error(answer)
        response = commit_table(*request)
        reached("8b")
        if answer == "resent":
            return commit_table(*request)
        if answer is not None:
            raise _error(answer.removeprefix("landed").strip() or "unknown")
        return response

    with (
        patched(MonthWriter, "finish", finish_and_tell),
        patched(lake.catalog, "commit_table", commit_and_tell),
    ):
        yield


def _error(answer: str) -> Exception:
    from pyiceberg.exceptions import (
        CommitFailedException,
        CommitStateUnknownException,
        RESTError,
        ServiceUnavailableError,
    )

    errors: dict[str, Exception] = {
        "refused": CommitFailedException("refused by the fault suite"),
        "409": CommitFailedException("409 Conflict, by the fault suite"),
        "412": RESTError("412 Precondition Failed, by the fault suite"),
        "500": CommitStateUnknownException("500 Internal Server Error, by the fault suite"),
        "503": ServiceUnavailableError("503 SlowDown, by the fault suite"),
        "unknown": ConnectionResetError(errno.ECONNRESET, "reset by the fault suite"),
    }
    return errors[answer]


@contextlib.contextmanager
def ills(wanted: Mapping[str, Any], told: Callable[[str, Reached], None]) -> Iterator[None]:
    """All that `wanted` names.

    Args:
        wanted: Values by name, as the functions of this module take them.
        told: Registers a function that is to be called at a step.
    """
    with contextlib.ExitStack() as stack:
        for name, value in wanted.items():
            stack.enter_context(_ILLS[name](value, told))
        yield


@contextlib.contextmanager
def _clock_jump(value: Mapping[str, Any], told: Callable[[str, Reached], None]) -> Iterator[None]:
    """At a step the machine's and the story's clock jump by so many seconds."""
    shift = timedelta(0)
    now, real_now = clock.now, clock.real_now

    def jump() -> None:
        nonlocal shift
        shift = timedelta(seconds=value["seconds"])

    def shifted(read: Callable[[], datetime]) -> Callable[[], datetime]:
        return lambda: read() + shift

    told(value["step"], jump)
    with patched(clock, "now", shifted(now)), patched(clock, "real_now", shifted(real_now)):
        yield


@contextlib.contextmanager
def _memory(value: int, told: Callable[[str, Reached], None]) -> Iterator[None]:
    """From the strike on the process may grow by so many bytes, and not further."""

    def limit() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + value
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    told(STRIKE, limit)
    yield  # for the rest of its life: a process that met its limit is not to be trusted


@contextlib.contextmanager
def _file_bytes(value: int, told: Callable[[str, Reached], None]) -> Iterator[None]:
    """From the strike on each file is cut off at so many bytes, in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    told(STRIKE, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (value, before[1])))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def _full_disk(value: str, told: Callable[[str, Reached], None]) -> Iterator[None]:
    """From the strike on there is no room: for `data` files, or for `metadata`."""
    import pyarrow.parquet as pq

    from tickerlake.lake import local_io

    full = False
    write_table, make_folder = pq.ParquetWriter.write_table, local_io.make_folder

    def fill() -> None:
        nonlocal full
        full = True

    def no_room(real: Callable[..., Any]) -> Callable[..., Any]:
        def write(*args: Any, **options: Any) -> Any:  # noqa: ANN401
            if full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*args, **options)

        return write

    told(STRIKE, fill)
    with contextlib.ExitStack() as stack:
        if value == "data":
            stack.enter_context(patched(pq.ParquetWriter, "write_table", no_room(write_table)))
        else:
            stack.enter_context(patched(local_io, "make_folder", no_room(make_folder)))
        yield


@contextlib.contextmanager
def patched(owner: Any, name: str, value: object) -> Iterator[None]:  # noqa: ANN401
    """Another value for an attribute, for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


_ILLS: dict[str, Callable[..., contextlib.AbstractContextManager[None]]] = {
    "clock_jump": _clock_jump,
    "file_bytes": _file_bytes,
    "full_disk": _full_disk,
    "memory": _memory,
}
