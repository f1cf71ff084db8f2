"""Where other people's errors become ours: nothing that reads the lake lets one through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyiceberg.exceptions import NoSuchTableError
from sqlalchemy.exc import SQLAlchemyError

from tickerlake.errors import NotFoundError, StorageError, TickerlakeError

__all__ = ["reading"]


@contextmanager
def reading(table: str, what: str) -> Iterator[None]:
    """Translate what goes wrong while `what` of a table is read.

    Raises:
        NotFoundError: The catalog does not have the table.
        StorageError: The catalog or a file cannot be read.
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
    except SQLAlchemyError as error:
        raise StorageError(
            "The lake's catalog cannot be used.",
            found=str(error.__cause__ or error),
            todo="see that the disk is not full and that no other program locks the catalog",
        ) from error
    except Exception as error:
        # Decoders of damaged files raise whatever they stumble over.
        raise StorageError(
            f"The {what} of the table {table} cannot be read.",
            found=f"{type(error).__name__}: {error}",
            todo="run `tickerlake lake verify`; restore what is missing from a backup",
        ) from error
