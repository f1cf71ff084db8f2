"""The contract of a query engine: SQL in, Arrow out, read-only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import pyarrow as pa

from tickerlake.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas
    import polars

__all__ = ["VIEWS", "Engine", "Result"]

#: What every engine must answer, in the order that help shows.
VIEWS = (
    "bars",
    "bars_history",
    "trades",
    "quotes",
    "price_bands",
    "corporate_actions",
    "gaps",
    "latest",
    "deliveries",
    "dead_letters",
)


@dataclass(frozen=True, slots=True)
class Result:
    """An Arrow table at heart, with what the reader should know about it."""

    table: pa.Table
    warnings: tuple[str, ...] = ()
    #: The row limit cut the answer.
    truncated: bool = False

    def to_arrow(self) -> pa.Table:
        """The Arrow table itself."""
        return self.table

    def to_pandas(self) -> pandas.DataFrame:
        """A pandas DataFrame.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        _require("pandas")
        return self.table.to_pandas()

    def to_polars(self) -> polars.DataFrame:
        """A polars DataFrame.

        Raises:
            MissingExtraError: polars is not installed.
        """
        _require("polars")
        import polars

        frame = polars.from_arrow(self.table)
        assert isinstance(frame, polars.DataFrame)  # noqa: S101 - a table never becomes a Series
        return frame

    def __len__(self) -> int:
        return self.table.num_rows


def _require(package: str) -> None:
    if find_spec(package) is None:
        raise MissingExtraError(
            f"The answer cannot become a {package} DataFrame: {package} is not installed.",
            todo=f"run `pip install {package}`, or use the Arrow table itself (`.table`)",
        )


@runtime_checkable
class Engine(Protocol):
    """A query engine over the lake and the stream's fresh tail."""

    def sql(self, query: str, *, as_of: datetime | None = None) -> Result:
        """Run one SELECT, or EXPLAIN of one.

        Raises:
            QueryRefusedError: Not a single read-only statement, or it reaches outside the lake.
            QueryError: The engine could not run it; names the place.
            LimitError: It took longer than the time limit.
            RetentionPassedError: The stream starts past the lake's offset.
        """
        ...

    def close(self) -> None:
        """Give back connections."""
        ...
