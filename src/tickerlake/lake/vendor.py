"""Where other people's errors become ours: nothing that reads the lake lets one through."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from pyiceberg.exceptions import NoSuchTableError, RESTError
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from tickerlake import clock
from tickerlake.errors import (
    LakeUnreachableError,
    NotFoundError,
    StorageError,
    TickerlakeError,
)
from tickerlake.lake.catalog import LakeCatalog
from tickerlake.lake.store_errors import is_outage

__all__ = ["patiently", "reading"]

_T = TypeVar("_T")
_PATIENCE_SECONDS: Final = 30.0
_PAUSE_SECONDS_MAX: Final = 2.0
_TODO_CATALOG: Final = (
    "see that it runs and answers, that its disk is not full and that no other program locks it; "
    "`tickerlake doctor` tells more"
)
_MISSING: Final = "run `tickerlake lake verify`; restore what is missing from a backup"


def patiently(catalog: LakeCatalog, ask: Callable[[LakeCatalog], _T]) -> _T:
    """What the catalog answers; asked again for a while if it does not.

    Only for what reads: a catalog that is started anew is no error.

    Raises:
        LakeUnreachableError: It has not answered all that while.
    """
    deadline_seconds = clock.monotonic_seconds() + _PATIENCE_SECONDS
    pause_seconds = 0.05
    while True:
        try:
            return ask(catalog)
        except Exception as error:
            if not catalog.is_transient(error):
                raise
            if clock.monotonic_seconds() + pause_seconds > deadline_seconds:
                raise LakeUnreachableError(
                    "The lake's catalog does not answer.", found=_said(error), todo=_TODO_CATALOG
                ) from error
        clock.sleep(pause_seconds * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        pause_seconds = min(2 * pause_seconds, _PAUSE_SECONDS_MAX)


def _said(error: Exception) -> str:
    return str(error.__cause__ or error).strip()


@contextmanager
def reading(table: str, what: str) -> Iterator[None]:
    """Translate what goes wrong while `what` of a table is read.

    Raises:
        NotFoundError: The catalog does not have the table.
        StorageError: The catalog or a file cannot be read; a `LakeUnreachableError` may pass.
    """
    try:
        yield
    except TickerlakeError:
        raise
    except NoSuchTableError as error:
        raise NotFoundError(
            f"The catalog no longer has the table {table}.",
            todo="restore the catalog's file from a backup",
        ) from error
    except (SQLAlchemyError, RESTError, RequestException) as error:
        raise StorageError(
            "The lake's catalog cannot be used.",
            found=_said(error),
            todo=_TODO_CATALOG,
        ) from error
    except OSError as error:
        lost = isinstance(error, FileNotFoundError)
        raise (LakeUnreachableError if is_outage(error) else StorageError)(
            f"The {what} of the table {table} cannot be read.",
            found=f"{type(error).__name__}: {error}",
            todo=_MISSING
            if lost
            else "see that the lake's store answers and lets this process "
            "read; `tickerlake doctor` tells more",
        ) from error
    except Exception as error:
        # Decoders of damaged files raise whatever they stumble over.
        raise StorageError(
            f"The {what} of the table {table} cannot be read.",
            found=f"{type(error).__name__}: {error}",
            todo=_MISSING,
        ) from error
