"""Eight stable bytes that tell one event from another of the same key.

The id of a record is a hash over its kind, key, state, `fetched_at` and values, so a producer's
retry has the id of the first try, and a value that returns later (A → B → A) has another.
It is compared together with the key: 64 bits need only tell events of one key apart.

The numbers are stored in lakes and compared years later, so this file may never change what it
answers. Therefore: no hash of an engine or of Python; every column's term depends on its name and
value alone, and a null column has no term, so a column that a later version adds (null in old
records) changes no old id, nor does the order of columns.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake.records.schemas import KEYS, SCHEMAS, Kind
from tickerlake.records.strings import is_constant

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Words = npt.NDArray[np.uint64]

__all__ = ["key_hashes", "with_event_ids"]

#: Columns whose texts are all different: their hashes are not remembered.
_NEVER_TWICE: Final = ("trade_id",)

# The finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
# 2014): bijective, so two values of one number column never meet.
_STEPS: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def key_hashes(table: pa.Table, kind: Kind) -> Words:
    """Eight bytes over each record's key (`KEYS[kind]`), to compare beside its event id.

    Args:
        table: Holds at least the key's columns.
        kind: What the records are.
    """
    import numpy as np

    total = np.full(table.num_rows, _word(f"kind={kind}"), dtype=np.uint64)
    for name in KEYS[kind]:
        values = table.column(name).combine_chunks()
        if values.null_count < len(values):
            total += _terms(values, name)
    return _mixed(total)


def with_event_ids(table: pa.Table, kind: Kind) -> pa.Table:
    """Fill nulls in `event_id`; ids that are there stay.

    A record with an `origin` (it mends a dead letter) takes its id from that position alone:
    requeueing the same letter twice gives the same event, which is dropped as a repeat.

    Args:
        table: Columns of `SCHEMAS[kind]`, in any order; further columns pass through.
        kind: What the records are.
    """
    column = table.schema.get_field_index("event_id")
    given = pc.cast(table.column("event_id"), pa.int64()) if column >= 0 else None
    if given is not None and given.null_count == 0:
        return table
    ids = _ids(table, kind)
    filled = ids if given is None else pc.coalesce(given, ids)
    field = SCHEMAS[kind].field("event_id")
    if column < 0:
        return table.append_column(field, filled)
    return table.set_column(column, field, filled)


def _ids(table: pa.Table, kind: Kind) -> pa.Array:
    import numpy as np

    total = np.full(table.num_rows, _word(f"kind={kind}"), dtype=np.uint64)
    from_origin = None
    for field in SCHEMAS[kind]:
        if field.name in {"kind", "event_id"} or field.name not in table.column_names:
            continue
        values = pc.cast(table.column(field.name), field.type)
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        if values.null_count == len(values):
            continue
        terms = _terms(values, field.name)
        total += terms
        if field.name == "origin":
            all_terms = np.broadcast_to(terms, total.shape)
            from_origin = (values.is_valid().to_numpy(zero_copy_only=False), all_terms)
    if from_origin is not None:
        mended, terms = from_origin
        total[mended] = terms[mended]
    return pa.array(_mixed(total).view(np.int64))


def _terms(values: pa.Array, name: str) -> Words:
    """One word a row for this column, or a single one for all; 0 where the value is null."""
    import numpy as np

    words = _words(values, meet_again=name not in _NEVER_TWICE)
    if len(words) == 1:
        return _mixed(words ^ np.uint64(_word(name)))
    if not values.null_count and len(words) and bool((words == words[0]).all()):
        words = words[:1]  # most columns of a batch hold one value: it is mixed once
    terms = _mixed(words ^ np.uint64(_word(name)))
    if values.null_count:
        terms[values.is_null().to_numpy(zero_copy_only=False)] = 0
    return terms


def _words(values: pa.Array, *, meet_again: bool = True) -> Words:
    """The value itself as 64 bits, or eight bytes of BLAKE2b for a string; one where all agree."""
    import numpy as np

    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_dictionary(kind):
        if _is_one_word(values):
            word = values if pa.types.is_string(kind) else values.dictionary
            return np.array([_word(word[0].as_py())], np.uint64)
        encoded = values.dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        hashed = np.array([_word(text) for text in texts], np.uint64) if meet_again else _all(texts)
        codes = pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)
        return hashed[codes]
    if pa.types.is_floating(kind):
        numbers = pc.fill_null(values, 0.0).to_numpy(zero_copy_only=False)
        # One zero, and one NaN: their bits differ between machines and roads.
        numbers = np.where(np.isnan(numbers), np.nan, numbers + 0.0)
        return numbers.view(np.uint64)
    if pa.types.is_date32(kind):
        values = values.cast(pa.int32())
    whole = pc.fill_null(values.cast(pa.int64()), 0)
    return whole.to_numpy(zero_copy_only=False).view(np.uint64)


def _is_one_word(values: pa.Array) -> bool:
    if pa.types.is_string(values.type):
        return is_constant(values)
    return len(values.dictionary) == 1 and not values.null_count


@functools.lru_cache(maxsize=1 << 16)
def _word(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _all(texts: list[str]) -> Words:
    """As `_word` of each; remembering what never comes again would cost more than it saves."""
    import numpy as np

    digests = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def _mixed(words: Words) -> Words:
    import numpy as np

    for shift, factor in _STEPS:
        words = (words ^ (words >> np.uint64(shift))) * np.uint64(factor)
    return words ^ (words >> np.uint64(31))
