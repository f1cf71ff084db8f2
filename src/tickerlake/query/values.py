"""Values of an answer for which JSON and CSV have no word of their own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

__all__ = ["plain"]


def plain(value: Any) -> Any:  # noqa: ANN401 - whatever a cell holds
    """Decimals as numbers, spans of time as ISO 8601 writes them; all else as it is.

    The engine sums whole numbers into a decimal: such a sum stays whole, and exact. A span keeps
    months, days and seconds apart (`P0M1DT2.5S`), for none has a fixed number of the next.
    """
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if hasattr(value, "months") and hasattr(value, "nanoseconds"):  # pyarrow's type has no name
        seconds = Decimal(value.nanoseconds).scaleb(-9).normalize()
        return f"P{value.months}M{value.days}DT{seconds:f}S"
    return value
