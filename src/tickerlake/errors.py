"""The one tree of errors.

    TickerlakeError                     exit code 1: failed
    ├── UsageError                      2: wrong use; the caller can mend the call
    │   ├── AdjustmentError                 prices that what is known cannot give
    │   ├── ConfigError                     a key or value of the configuration
    │   ├── RangeError                      a date range, interval or time without a zone
    │   └── QueryRefusedError               SQL that the sandbox does not run
    ├── NotFoundError                   1: an unknown symbol, column, table or file
    ├── MalformedError                  1: a file or an answer that is not what it says it is
    ├── QueryError                      1: SQL that the engine could not run
    ├── LimitError                      1: a time, row or size limit was reached
    ├── MissingExtraError               1: an optional package is missing; names the command
    ├── PartlyDoneError                 3: some of the work was done; says which part was not
    ├── UnreachableError                4: an outside service cannot be reached
    │   ├── RateLimitedError                it answers, and says: later
    │   └── PortInUseError                  an address that we wanted is taken
    ├── StorageError                    1: the disk is full, or a file cannot be written
    │   └── LakeUnreachableError        4: its store or catalog does not answer; also unreachable
    ├── NewerVersionError               1: written by a later tickerlake
    ├── WorkspaceMovedError             1: the lake's paths point elsewhere; see `lake relocate`
    ├── CommitRefusedError              1: the catalog certainly has another parent snapshot now
    ├── CommitUnknownError              1: nobody knows whether the commit landed; read again
    ├── CopyOpenError                   1: a copy fills the stream; run `stream copy` to its end
    └── DataLossError                   5: going on would lose data
        ├── CorruptLogError                 a damaged stream file
        ├── RetentionPassedError            the stream no longer holds what the lake has not yet
        └── RolledBackError                 somebody turned the table back; `lake rewind` mends it

Every message says what was expected, what was found, and what to do. None shows what `hide` was
told, nor passwords of addresses: `without_secrets` takes them out, whoever wrote them in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar, Final

__all__ = [
    "AdjustmentError",
    "CommitRefusedError",
    "CommitUnknownError",
    "ConfigError",
    "CopyOpenError",
    "CorruptLogError",
    "DataLossError",
    "LakeUnreachableError",
    "LimitError",
    "MalformedError",
    "MissingExtraError",
    "NewerVersionError",
    "NotFoundError",
    "PartlyDoneError",
    "PortInUseError",
    "QueryError",
    "QueryRefusedError",
    "RangeError",
    "RateLimitedError",
    "RetentionPassedError",
    "RolledBackError",
    "StorageError",
    "TickerlakeError",
    "UnreachableError",
    "UsageError",
    "WorkspaceMovedError",
    "hide",
    "without_secrets",
]

_MASK: Final = "••••"
_PASSWORD: Final = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")
#: Shorter ones would take ordinary words out of the texts, and guard nothing.
_SECRET_CHARACTERS_MIN: Final = 6

_hidden: set[str] = set()


def hide(secrets: Iterable[str]) -> None:
    """From now on no message and no log line of this process shows these texts."""
    _hidden.update(secret for secret in secrets if len(secret) >= _SECRET_CHARACTERS_MIN)


def without_secrets(text: str) -> str:
    """The text as a message or a line may show it: both end in logs and bug reports."""
    for secret in sorted(_hidden, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return _PASSWORD.sub(rf"\1:{_MASK}@", text)


def _shown(text: str | None) -> str | None:
    return text if text is None else without_secrets(text)


class TickerlakeError(Exception):
    """Root of every error that tickerlake raises on purpose.

    Secrets are masked, whoever writes them into a message; a provider may say our key itself.

    Args:
        problem: One sentence that names the thing and what is wrong with it.
        expected: What would have been right, when that helps.
        found: What was there instead, when that helps.
        todo: What the reader should do next.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        problem: str,
        *,
        expected: str | None = None,
        found: str | None = None,
        todo: str | None = None,
    ) -> None:
        self.problem = _shown(problem) or ""
        self.expected = _shown(expected)
        self.found = _shown(found)
        self.todo = _shown(todo)
        super().__init__(self.problem)

    def __str__(self) -> str:
        parts = [self.problem]
        if self.expected is not None:
            parts.append(f"expected: {self.expected}")
        if self.found is not None:
            parts.append(f"found: {self.found}")
        if self.todo is not None:
            parts.append(f"what to do: {self.todo}")
        return "\n  ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive pickling between processes otherwise.
        return (_rebuild, (type(self), self.problem, self.expected, self.found, self.todo))


def _rebuild(
    cls: type[TickerlakeError],
    problem: str,
    expected: str | None,
    found: str | None,
    todo: str | None,
) -> TickerlakeError:
    return cls(problem, expected=expected, found=found, todo=todo)


class UsageError(TickerlakeError):
    """The call is wrong and the caller can mend it."""

    exit_code = 2


class AdjustmentError(UsageError):
    """Prices cannot be adjusted as asked from the bars and events that are known."""


class ConfigError(UsageError):
    """A key or a value of the configuration is wrong."""


class RangeError(UsageError):
    """A date range, an interval, or a time without a zone is wrong."""


class QueryRefusedError(UsageError):
    """The sandbox does not run this SQL."""


class NotFoundError(TickerlakeError):
    """A symbol, column, table or file is not known."""


class MalformedError(TickerlakeError):
    """A file or an answer is not what it says it is."""


class QueryError(TickerlakeError):
    """The engine could not run this SQL."""


class LimitError(TickerlakeError):
    """A limit of time, rows or bytes was reached."""


class MissingExtraError(TickerlakeError):
    """An optional package is not installed; the message names the pip command."""


class PartlyDoneError(TickerlakeError):
    """Some of the work was done; the message says which part was not."""

    exit_code = 3


class UnreachableError(TickerlakeError):
    """An outside service cannot be reached."""

    exit_code = 4


class RateLimitedError(UnreachableError):
    """An outside service asks us to come back later."""


class PortInUseError(UnreachableError):
    """An address that we wanted to listen on is taken."""


class StorageError(TickerlakeError):
    """A file cannot be written or read: the disk is full, or rights are missing."""


class LakeUnreachableError(StorageError, UnreachableError):
    """The lake's store or catalog does not answer, or cannot at the moment: it may pass."""


class NewerVersionError(TickerlakeError):
    """What lies on disk was written by a later tickerlake."""


class WorkspaceMovedError(TickerlakeError):
    """The folder was moved; the lake's absolute paths point elsewhere."""


class CommitRefusedError(TickerlakeError):
    """The catalog has another parent snapshot by now; it may still have landed: read again."""


class CommitUnknownError(TickerlakeError):
    """Nobody knows whether the commit landed. Unknown is not failed: read again."""


class CopyOpenError(TickerlakeError):
    """A copy fills the stream that somebody wants to deliver from."""


class DataLossError(TickerlakeError):
    """Going on would lose data."""

    exit_code = 5


class CorruptLogError(DataLossError):
    """A file of the stream is damaged."""


class RetentionPassedError(DataLossError):
    """The stream no longer holds records that the lake does not have yet."""


class RolledBackError(DataLossError):
    """Offsets and newest checkpoint disagree: somebody turned the table back."""
