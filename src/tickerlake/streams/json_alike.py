"""The fastest way through a block of JSON lines: those that differ in nothing but their values.

A publisher writes the same fields in the same order. Such lines need no parser: the first is taken
apart by a grammar that is narrower than JSON's, all others are cut where their commas stand, and
what lies between their values must be, byte for byte, what lies there in the first.

The proof. Each line is the text of the first with other values in its gaps, and every value is
looked at: a text holds no quote, backslash or control character and is UTF-8, a number is of JSON's
own grammar, without an exponent. So a line can mean nothing else. Values that are the same in all
lines are part of the text between the others. Any doubt, and `read_alike` has no answer; then
`json_block.py` reads the lines, which asks only that they have the same fields.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pyarrow as pa

from tickerlake.streams.fields import Aside, Layout, Shape

if TYPE_CHECKING:
    import numpy.typing as npt

    Places = npt.NDArray[np.int32]

__all__ = ["read_alike"]

_BLANK: Final = rb"[ \t\r]*"
_OPENING: Final = re.compile(_BLANK + rb"\{")
_FIELD: Final = re.compile(
    _BLANK + rb'"(?P<name>[^"\\\x00-\x1f]*)"' + _BLANK + b":" + _BLANK + b"(?:"
    rb'"(?P<text>[^"\\\x00-\x1f]*)"|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?)'
    rb"|(?P<word>null|true|false))" + _BLANK + rb"(?P<after>[,}])"
)
_ENDING: Final = re.compile(_BLANK + rb"\n?")
_FIELDS_MAX: Final = 64
#: A longer number goes the other way: it may be none that a double can hold.
_DIGITS_MAX: Final = 64

_COMMA, _LINE_FEED, _QUOTE, _BACKSLASH = b',\n"\\'
_ASCII_MAX: Final = 0x7F
_SPACE, _MINUS, _POINT, _ZERO, _ONE, _NINE = b" -.019"

#: Small enough for the processor's nearest cache.
_SCAN_BYTES: Final = 1 << 16
#: So many lines are looked at to guess which values are the same in all.
_SAMPLES: Final = 16


@dataclass(frozen=True, slots=True)
class _Cell:
    """One value of the first line, without its quotes, and where to look for it in the others."""

    name: str
    kind: Literal["text", "number", "word"]
    start: int
    end: int
    #: Commas before its start and end. They stand at the same values in every line.
    commas: int
    commas_to_end: int
    #: How far it starts behind the last comma, and how far it ends before the next.
    behind: int
    before: int


def read_alike(layout: Layout, lines: pa.Array, aside: Aside | None) -> pa.Table | None:
    """The records of all lines; null if any of them wants a closer look.

    Args:
        layout: What the records should look like.
        lines: JSON, as binary, one behind the other in memory.
        aside: What stands beside the records.
    """
    shapes = layout.shapes
    if not len(lines) or lines.null_count or shapes is None:
        return None
    columns = _columns(lines, shapes)
    if columns is None:
        return None
    wanted = {name: values for name, values in columns.items() if name in shapes}
    try:
        return layout.records(wanted, len(lines), aside, None)
    except pa.ArrowInvalid:
        return None


def _columns(lines: pa.Array, shapes: dict[str, Shape]) -> dict[str, pa.Array] | None:
    """All fields of all lines."""
    first = lines[0].as_py()
    cells = _cells(first)
    block = None if cells is None else _Block.of(lines, first.count(b","))
    if cells is None or block is None:
        return None
    same = _same_in_samples(cells, lines)
    while wrong := block.differing(first, [cell for cell in cells if cell not in same]):
        unsure = {cell for cell in same if any(a <= cell.start < b for a, b in wrong)}
        if not unsure:
            return None
        same -= unsure
    columns: dict[str, pa.Array] = {}
    for cell in cells:
        constant = cell in same
        values = _constant(cell, first) if constant else block.values(cell)
        try:
            typed = None if values is None else _typed(values, cell.kind, shapes.get(cell.name))
        except pa.ArrowInvalid:
            return None
        if typed is None:
            return None
        if constant:
            zeros = np.zeros(len(lines), np.int8)
            typed = pa.DictionaryArray.from_arrays(zeros, typed, safe=False)
        columns[cell.name] = typed
    return columns


@functools.lru_cache(maxsize=64)
def _cells(line: bytes) -> tuple[_Cell, ...] | None:
    """The values of a line; null if it is not as simple as it should be."""
    opening = _OPENING.match(line)
    try:
        line.decode()
    except UnicodeDecodeError:
        return None
    if opening is None:
        return None
    marks = [-1, *(at for at, byte in enumerate(line) if byte == _COMMA)]
    marks.append(len(line.removesuffix(b"\n")))
    found: dict[str, _Cell] = {}
    place, after = opening.end(), b","
    while after == b",":
        field = _FIELD.match(line, place)
        if field is None or len(found) == _FIELDS_MAX:
            return None
        place, after = field.end(), field["after"]
        kind: Literal["text", "number", "word"] = (
            "text" if field["text"] is not None else "word" if field["word"] else "number"
        )
        start, end = field.span(kind)
        commas, to_end = line.count(b",", 0, start), line.count(b",", 0, end)
        behind, before = start - marks[commas], marks[to_end + 1] - end
        name = field["name"].decode()
        if name in found:
            return None
        found[name] = _Cell(name, kind, start, end, commas, to_end, behind, before)
    return tuple(found.values()) if _ENDING.fullmatch(line, place) else None


def _same_in_samples(cells: Sequence[_Cell], lines: pa.Array) -> set[_Cell]:
    """Values that are the same in some lines, and so perhaps in all."""
    step = max(1, len(lines) // _SAMPLES)
    first, *others = [line.split(b",") for line in lines[::step].to_pylist()]
    return {
        cell
        for cell in cells
        for span in [slice(cell.commas, cell.commas_to_end + 1)]
        if all(other[span] == first[span] for other in others)
    }


@dataclass(frozen=True, slots=True)
class _Block:
    """Lines and where their commas stand, counted from the block's first byte."""

    text: npt.NDArray[np.uint8]
    starts: Places
    ends: Places
    #: Of the first comma of all lines, of the second of all lines, …
    commas: Places

    @staticmethod
    def of(lines: pa.Array, commas: int) -> _Block | None:
        """The block; null if not every line has so many commas, and a line feed behind it."""
        bounds = _ends(lines)
        text = np.frombuffer(lines.buffers()[2], np.uint8)[bounds[0] : bounds[-1]]
        bounds = bounds - bounds[0]
        starts, ends = bounds[:-1], bounds[1:]
        if text[ends[0] - 1] == _LINE_FEED:
            ends = ends - 1
            ends[-1] += text[-1] != _LINE_FEED  # the last line of all
            if (text[ends[:-1]] != _LINE_FEED).any():
                return None
        marks = _commas(text, len(lines) * commas)
        if marks is None:
            return None
        table = np.ascontiguousarray(marks.reshape(len(lines), commas).T)
        if commas and ((table[0] < starts).any() or (table[-1] >= ends).any()):
            return None
        return _Block(text, starts, ends, table)

    def differing(self, first: bytes, cells: Sequence[_Cell]) -> list[tuple[int, int]]:
        """The stretches of the first line, between these cells, that others do not have."""
        wrong = []
        places, at = self.starts, 0
        for cell in cells:
            starts, ends = self._span(cell)
            if not self._all_have(first[at : cell.start], places, starts):
                wrong.append((at, cell.start))
            places, at = ends, cell.end
        rest = first[at:].removesuffix(b"\n")
        if not self._all_have(rest, places, self.ends):
            wrong.append((at, len(first)))
        return wrong

    def values(self, cell: _Cell) -> pa.Array | None:
        """A cell of all lines, not yet looked at; null if some line has no room for it."""
        starts, ends = self._span(cell)
        if np.any(starts > ends):
            return None
        offsets = np.empty(2 * len(starts) + 1, np.int32)
        offsets[:-1:2], offsets[1::2], offsets[-1] = starts, ends, ends[-1]
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self.text)]
        # Every other is what lies between two of them.
        both = pa.Array.from_buffers(pa.string(), 2 * len(starts), buffers)
        return both.take(pa.array(np.arange(0, 2 * len(starts), 2, dtype=np.int32)))

    def _span(self, cell: _Cell) -> tuple[Places, Places]:
        before = self.commas[cell.commas - 1] if cell.commas else self.starts - 1
        last = cell.commas_to_end == len(self.commas)
        after = self.ends if last else self.commas[cell.commas_to_end]
        return before + cell.behind, after - cell.before

    def _all_have(self, literal: bytes, starts: Places, ends: Places) -> bool:
        """Whether this is what lies there in each line."""
        length = len(literal)
        if np.any(ends - starts != length) or ends.max() > len(self.text):
            return False
        # Any place of the text, seen as the start of so many bytes.
        shape = (len(self.text) - length + 1,)
        found = np.ndarray(shape, f"V{length}", self.text, strides=(1,))[starts]
        memory = pa.py_buffer(found.view(np.uint8))
        # Each is the one before it: the memory is the same as itself, one literal further on.
        rest = memory.size - length
        head = memory.slice(0, length).equals(pa.py_buffer(literal))
        return head and memory.slice(0, rest).equals(memory.slice(length))


def _ends(lines: pa.Array) -> npt.NDArray[np.int32]:
    ends = np.frombuffer(lines.buffers()[1], np.int32)
    return ends[lines.offset : lines.offset + len(lines) + 1]


def _commas(text: npt.NDArray[np.uint8], count: int) -> Places | None:
    """Where the commas stand; null if there are not so many."""
    places = np.empty(count, np.int32)
    filled = 0
    for at in range(0, len(text), _SCAN_BYTES):
        found = np.flatnonzero(text[at : at + _SCAN_BYTES] == _COMMA)
        if filled + len(found) > count:
            return None
        np.add(found, at, out=places[filled : filled + len(found)], casting="unsafe")
        filled += len(found)
    return places if filled == count else None


def _constant(cell: _Cell, first: bytes) -> pa.Array:
    text = first[cell.start : cell.end]
    return pa.array([None if cell.kind == "word" and text == b"null" else text], pa.string())


def _typed(values: pa.Array, kind: str, shape: Shape | None) -> pa.Array | None:
    """The values in a type that the column can be made of; null if they are not of the kind.

    Raises:
        pa.ArrowInvalid: They are not, either.
    """
    if kind == "word":
        constant = len(values) == 1
        fits = values.null_count or shape in {"truth", None}
        return values if constant and fits else None
    if kind == "text":
        return values if shape in {"text", None} and _are_texts(values) else None
    if shape in {"text", "truth"} or not _are_numbers(values):
        return None
    return values.cast(pa.int64() if shape == "whole" else pa.float64())


def _are_texts(values: pa.Array) -> bool:
    _, data = _memory(values)
    if not len(data):
        return True
    if data.min() < _SPACE or (data == _QUOTE).any() or (data == _BACKSLASH).any():
        return False
    if data.max() > _ASCII_MAX:
        values.validate(full=True)
    return True


def _are_numbers(values: pa.Array) -> bool:
    """Whether these are numbers as JSON writes them, if they can be cast to numbers at all."""
    ends, data = _memory(values)
    starts, ends = ends[:-1], ends[1:]
    lengths = ends - starts
    if lengths.min() < 1 or lengths.max() > _DIGITS_MAX:
        return False
    if data.min() < _MINUS or data.max() > _NINE or (data[ends - 1] < _ZERO).any():
        return False
    # Most begin with a digit that is not 0, and need no closer look.
    suspects = np.flatnonzero(data[starts] < _ONE)
    starts, ends = starts[suspects], ends[suspects]
    negative = data[starts] == _MINUS
    starts = starts + negative
    zero = data[starts] == _ZERO
    if (data[starts] < _ZERO).any() or (zero & negative).any():
        return False
    starts = starts[zero & (starts + 1 < ends)] + 1
    return bool((data[starts] == _POINT).all())


def _memory(values: pa.Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Where each value ends, from 0 on, and all of them one behind the other."""
    ends = _ends(values)
    return ends - ends[0], np.frombuffer(values.buffers()[2], np.uint8)[ends[0] : ends[-1]]
