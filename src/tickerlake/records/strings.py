"""Columns of strings, most of which repeat: seen and kept without looking at each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

__all__ = ["CODED", "is_constant", "united"]

#: Strings as numbers of their different words; no word is null, and none stands there twice.
CODED: Final = pa.dictionary(pa.int32(), pa.string())


def united(tables: Sequence[pa.Table]) -> pa.Table:
    """All rows, in order, of tables with the same columns: strings coded where any table's are."""
    if all(table.schema == tables[0].schema for table in tables):
        return pa.concat_tables(tables)
    types = [
        next((type_ for type_ in found if pa.types.is_dictionary(type_)), found[0])
        for found in zip(*(table.schema.types for table in tables), strict=True)
    ]
    return pa.concat_tables(
        pa.table(
            [
                column.dictionary_encode() if column.type != type_ else column
                for column, type_ in zip(table.columns, types, strict=True)
            ],
            names=table.column_names,
        )
        for table in tables
    )


def is_constant(array: pa.Array) -> bool:
    """Whether all strings are the same: most columns of a batch are (provider, currency, state).

    Compares memory with memory, which costs a tenth of finding all different values.

    Args:
        array: Of type string. With a null in it, or with no value at all, it is not constant.
    """
    import numpy as np

    if array.null_count or not len(array) or not array[0].equals(array[-1]):
        return False
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
    first, length = int(ends[0]), int(ends[1] - ends[0])
    if length == 0 or np.any(np.diff(ends) != length):
        return False
    # Each string is the one before it: the memory is the same as itself, one string further on.
    text = data.slice(first, length * len(array))
    return bool(text.slice(0, text.size - length).equals(text.slice(length)))
