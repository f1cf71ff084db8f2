"""From arguments to an exit code: the one place that turns errors into words."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from tickerlake import clock
from tickerlake.cli.arguments import log_asked_for
from tickerlake.cli.output import Output
from tickerlake.cli.parser import build_parser
from tickerlake.cli.registry import VERBS
from tickerlake.cli.stopping import INTERRUPTED
from tickerlake.errors import StorageError, TickerlakeError, UsageError

__all__ = ["main"]

#: Asked before any setting is read: the first line may be a mistake in the settings.
_LOG_VARIABLES = {"TICKERLAKE_LOG_FORMAT", "TICKERLAKE_LOG_LEVEL"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code.

    0 done, 1 failed, 2 wrong use, 3 partly done, 4 an outside service cannot be reached,
    5 going on would lose data, 130 Ctrl-C. A traceback only with `--debug`.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    output = Output(json_mode="--json" in words)
    if any(word.startswith("--log-") for word in words) or _LOG_VARIABLES & set(os.environ):
        output.log_as(log_asked_for(words))
    # A polite end (SIGTERM) takes the same way out as Ctrl-C: what was begun is finished.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = _run(words, output)
        sys.stdout.flush()
    except KeyboardInterrupt:
        output.note("Stopped.")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough; a second complaint at exit helps nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # the last line of defence: words, no traceback
        if "--debug" in words:
            raise
        return _explain(error, output)
    return code


def _run(words: list[str], output: Output) -> int:
    if words[:1] == ["--print-completion"]:  # as other programs call it
        words = ["completion", *words[1:]]
    if clock.pinned_now() is not None:
        clock.now()  # refuses what is no instant, before anything is done at a wrong time
    wanted = {verb.name for verb in VERBS} & set(words)
    parser = build_parser(wanted)
    if not words:
        parser.print_help()
        return 0
    arguments, unknown = parser.parse_known_args(words)
    if unknown:
        raise UsageError(
            f"`tickerlake {arguments.verb}` does not understand {unknown[0]!r}.",
            todo=f"see `tickerlake {arguments.verb} --help`",
        )
    verb = next(verb for verb in VERBS if verb.name == arguments.verb)
    code: int = importlib.import_module(verb.module).run(arguments, output)
    return code


def _explain(error: Exception, output: Output) -> int:
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
        error = StorageError(
            f"A file could not be written: {error.strerror}.",
            found=str(error.filename or "no space left"),
            todo="make room, then run the same command again: it goes on where it stopped",
        )
    if isinstance(error, TickerlakeError):
        output.error(str(error), {"error": type(error).__name__, "exit_code": error.exit_code})
        return error.exit_code
    if isinstance(error, PermissionError | FileNotFoundError | IsADirectoryError):
        output.error(f"{error.strerror}: {error.filename}")
        return 1
    output.error(
        f"This is a bug in tickerlake: {type(error).__name__}: {error}\n"
        "  what to do: run it again with --debug and report what it prints"
    )
    return 1
