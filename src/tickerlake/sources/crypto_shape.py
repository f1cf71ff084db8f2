"""Columns out of the crypto exchanges' JSON: of the shape that they give, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.errors import MalformedError, NotFoundError
from tickerlake.sources.columns import of_one_type

__all__ = [
    "Int64s",
    "Told",
    "columns_of",
    "decoded",
    "floats",
    "instants",
    "malformed",
    "nanoseconds",
    "texts",
    "unknown",
]

_INSTANT: Final = pa.timestamp("us", tz="UTC")
#: A number below the second one counts the first unit since 1970, until the year 2200.
_UNITS: Final = (("s", 10**11, 10**9), ("ms", 10**14, 10**6), ("us", 10**17, 10**3))
_NANOS_MAX: Final = 7_258_118_400 * 10**9

_NEAREST: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder()
_EXACT: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(float_hook=str)

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Told:
    """What is known beside an answer: of whom it is, what was asked for, and when it came.

    `title` is what people call the provider, for messages.
    """

    provider: str
    title: str
    symbol: str | None = None
    interval: str | None = None
    received_at: datetime | None = None

    def require_symbol(self) -> str:
        """The symbol of an answer that does not say whose it is.

        Raises:
            MalformedError: Nobody says.
        """
        if not self.symbol:
            raise MalformedError(
                f"{self.title}'s answer does not say whose bars or trades these are.",
                expected="a symbol told beside it",
                found="none",
                todo="name it: --symbol",
            )
        return self.symbol


def decoded(payload: bytes, provider: str, *, exact: bool = False) -> Any:  # noqa: ANN401
    """The JSON document; decimals become the nearest float64, once, or stay text (`exact`).

    Raises:
        MalformedError: It is none, or was cut.
    """
    try:
        return (_EXACT if exact else _NEAREST).decode(payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise MalformedError(
            f"{provider}'s answer is no JSON, or was cut.",
            expected="JSON",
            found=f"{len(payload):,} bytes: {payload[:60]!r}",
            todo=f"try again; if it stays, {provider} has changed: report it",
        ) from error


def columns_of(rows: object, width: int, provider: str) -> list[list[Any]]:
    """The first columns of a list of rows; rows may be longer, for exchanges add to them.

    Raises:
        MalformedError: No list of rows, or a row is shorter.
    """
    if not isinstance(rows, list) or any(type(row) is not list or len(row) < width for row in rows):
        raise malformed(provider, "its rows", f"a list of rows of {width} or more values", rows)
    return [[row[at] for row in rows] for at in range(width)]


def floats(values: Sequence[Any], provider: str, where: str) -> pa.Array:
    """Numbers, or texts of numbers, as float64, rounded once; null stays null.

    Raises:
        MalformedError: Anything else, or a number that is not finite.
    """
    try:
        numbers = of_one_type(values, pa.float64()).cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeError) as error:
        raise malformed(provider, where, "numbers", error) from error
    if pc.all(pc.is_finite(numbers)).as_py() is False:
        raise malformed(provider, where, "finite numbers", "one that is not")
    return numbers


def texts(values: Sequence[Any], provider: str, where: str) -> pa.Array:
    """Texts, or integers as texts.

    Raises:
        MalformedError: Anything else.
    """
    try:
        return of_one_type(values, pa.int64()).cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeError) as error:
        raise malformed(provider, where, "integers or texts", error) from error


def nanoseconds(values: Sequence[Any] | pa.Array, provider: str, where: str) -> Int64s:
    """Times since 1970 as ns; their size tells whether s, ms, µs or ns were given.

    Raises:
        MalformedError: No integers, or no times of this age.
    """
    try:
        numbers = values if isinstance(values, pa.Array) else of_one_type(values, pa.int64())
        numbers = numbers.cast(pa.int64())
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise malformed(provider, where, "times since 1970, as integers", error) from error
    if numbers.null_count:
        raise malformed(provider, where, "times since 1970", None)
    given: Int64s = numbers.to_numpy()
    if not len(given):
        return given
    largest = int(given.max())
    factor = next((factor for _, top, factor in _UNITS if largest < top), 1)
    if int(given.min()) < 0 or largest * factor > _NANOS_MAX:
        raise malformed(provider, where, "times between 1970 and 2200", largest)
    return given * factor


def instants(nanos: Int64s) -> pa.Array:
    """Nanoseconds since 1970 as UTC with µs, cut, not rounded."""
    return pa.array(nanos // 1000, pa.int64()).cast(_INSTANT)


def malformed(provider: str, where: str, expected: str, found: object) -> MalformedError:
    """The error of an answer of another shape."""
    return MalformedError(
        f"{provider}'s answer has another shape than it should in {where}.",
        expected=expected,
        found=repr(found)[:120],
        todo=f"try again; if it stays, {provider} has changed: report it",
    )


def unknown(provider: str, symbol: str | None, found: str) -> NotFoundError:
    """The error of a symbol that the provider does not know."""
    return NotFoundError(
        f"{provider} does not know {symbol or 'this symbol'}.",
        expected="a symbol as it writes them",
        found=found,
        todo="check the spelling; `tickerlake search` finds symbols",
    )
