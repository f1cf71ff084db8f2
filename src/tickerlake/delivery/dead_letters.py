"""Dead letters: records that could not enter `bars` and its sisters, and what became of them.

A letter is a row of its table like any other, with `dead_reason` and `payload`. It never changes.
What became of it is derived from what has arrived since:

- a record whose `origin` names the letter, and which is sound: *requeued*;
- a marker row (`origin` names the letter, and it came from no position of a stream): *discarded*;
- neither: *open*.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from tickerlake import clock
from tickerlake.errors import (
    CommitRefusedError,
    CommitUnknownError,
    MalformedError,
    NotFoundError,
    UsageError,
)
from tickerlake.lake.base import Change, LakeTable
from tickerlake.lake.lake import Lake
from tickerlake.records import KINDS, SCHEMAS, TABLES, Kind, lake_schema
from tickerlake.streams import Message, Published, Stream, codec

__all__ = ["DISCARDED", "Letter", "Status", "discard", "list_", "requeue", "show"]

Status = Literal["open", "requeued", "discarded"]

#: `dead_reason` of a marker row, before what the user said about it.
DISCARDED = "discarded"

#: Tries of a discard while others commit to the same table.
COMMIT_TRIES = 20

_POSITION = ("_stream", "_partition", "_offset", "_index")
_ANSWER_COLUMNS = ("origin", "dead_reason", "_partition")
_LETTER_COLUMNS = (
    *_POSITION,
    "provider",
    "symbol",
    "ts",
    "fetched_at",
    "_delivered_at",
    "dead_reason",
    "payload",
)


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. `id` is its position: `<stream>/<partition>/<offset>/<index>`."""

    id: str
    kind: Kind
    status: Status
    reason: str
    #: The record as JSON, or its bytes; null where they stand with another letter.
    payload: bytes | None
    provider: str | None
    symbol: str | None
    ts: datetime | None
    fetched_at: datetime | None
    delivered_at: datetime


def list_(
    lake: Lake, kinds: Sequence[Kind] = KINDS, *, status: Status | None = None
) -> list[Letter]:
    """Letters of all tables, in the order of their positions; of one status, if given."""
    there = set(lake.names())
    letters = [
        letter
        for kind in kinds
        if TABLES[kind] in there
        for letter in _letters(lake.table(TABLES[kind]), kind)
    ]
    return [letter for letter in letters if status is None or letter.status == status]


def show(lake: Lake, letter_id: str) -> Letter:
    """One letter.

    Raises:
        NotFoundError: There is no such letter.
    """
    for letter in list_(lake):
        if letter.id == letter_id:
            return letter
    raise NotFoundError(
        f"There is no dead letter {letter_id!r}.",
        expected="<stream>/<partition>/<offset>/<index>, as `dead-letters list` prints it",
        found=letter_id,
        todo="run `tickerlake dead-letters list`",
    )


def requeue(
    stream: Stream, lake: Lake, letter_id: str, record: Mapping[str, Any] | None = None
) -> Published:
    """Publish the letter's record again as a new position that names the letter as its origin.

    It keeps the letter's `fetched_at`, and its event id comes from the letter's position, so a
    second requeue of one letter is dropped as a repeat. The letter stays; it shows as requeued
    once the record has been delivered.

    Args:
        stream: Where to publish.
        lake: Where the letter lies.
        letter_id: Which letter.
        record: The mended record as JSON would give it; null sends the payload as it was.

    Raises:
        NotFoundError: There is no such letter.
        UsageError: It was requeued or discarded already.
        MalformedError: The record would be a dead letter again; nothing was published.
    """
    letter = _open_letter(lake, letter_id)
    row = _sound(letter, json.dumps(record).encode() if record is not None else letter.payload)
    fetched_at = letter.fetched_at or row.column("fetched_at")[0].as_py() or letter.delivered_at
    for name, value in (("fetched_at", fetched_at), ("origin", letter.id), ("event_id", None)):
        place = row.schema.get_field_index(name)
        row = row.set_column(
            place, row.schema.field(place), pa.array([value], row.schema.types[place])
        )
    return stream.topic(letter.kind).publish(row)[0]


def discard(lake: Lake, letter_id: str, why: str = "") -> Letter:
    """Say that nothing will come of a letter: a marker row in the letter's own table.

    Raises:
        NotFoundError: There is no such letter.
        UsageError: It was requeued or discarded already.
    """
    letter = _open_letter(lake, letter_id)
    table = lake.table(TABLES[letter.kind])
    values = {
        "kind": letter.kind,
        "origin": letter.id,
        "_delivered_at": clock.now(),
        "dead_reason": f"{DISCARDED}: {why}" if why else DISCARDED,
    }
    marker = pa.Table.from_pylist([values], schema=lake_schema(letter.kind))
    for last in [False] * (COMMIT_TRIES - 1) + [True]:
        try:
            # The state first, then the file: a sweep that may take the file refuses the state.
            table.commit(table.load(), Change(append=table.write(marker)))
            break
        except (CommitRefusedError, CommitUnknownError):
            # Others commit too, and ours may have landed all the same: only the table knows.
            if show(lake, letter_id).status == "discarded":
                break
            if last:
                raise
    return show(lake, letter_id)


def _open_letter(lake: Lake, letter_id: str) -> Letter:
    letter = show(lake, letter_id)
    if letter.status != "open":
        raise UsageError(
            f"The dead letter {letter_id} is settled.",
            expected="an open letter",
            found=f"it was {letter.status}",
            todo="run `tickerlake dead-letters list --status open`",
        )
    return letter


def _sound(letter: Letter, payload: bytes | None) -> pa.Table:
    """The payload as one record that may enter the lake."""
    message = Message("", 0, 1, "json", payload or b"", per_record=True, published_at=clock.now())
    row = codec.decode(letter.kind, [message])
    reason = row.column("dead_reason")[0].as_py()
    if payload is None or reason is not None:
        raise MalformedError(
            f"The record of the dead letter {letter.id} is still not sound.",
            expected=f"a {letter.kind} as one JSON object",
            found=reason or "no payload: its bytes stand with the first letter of its message",
            todo="mend it and give the whole record: see `tickerlake dead-letters requeue --help`",
        )
    return row.select(SCHEMAS[letter.kind].names)


def _letters(table: LakeTable, kind: Kind) -> list[Letter]:
    loaded = table.load()
    answers = table.read(loaded, columns=_ANSWER_COLUMNS, not_null="origin")
    # A marker came from no stream; anything else that names the letter mends it, if it is sound.
    is_marker = pc.is_null(answers.column("_partition"))
    is_sound = pc.is_null(answers.column("dead_reason"))
    discarded = set(answers.filter(is_marker).column("origin").to_pylist())
    requeued = set(answers.filter(is_sound).column("origin").to_pylist())
    rows = table.read(loaded, columns=_LETTER_COLUMNS, not_null="dead_reason")
    rows = rows.filter(pc.is_valid(rows.column("_partition")))
    rows = rows.sort_by([(name, "ascending") for name in _POSITION])
    letters = []
    for row in rows.to_pylist():
        letter_id = "/".join(str(row[name]) for name in _POSITION)
        status: Status = (
            "requeued"
            if letter_id in requeued
            else "discarded"
            if letter_id in discarded
            else "open"
        )
        letters.append(
            Letter(
                id=letter_id,
                kind=kind,
                status=status,
                reason=row["dead_reason"],
                payload=row["payload"],
                provider=row["provider"],
                symbol=row["symbol"],
                ts=row["ts"],
                fetched_at=row["fetched_at"],
                delivered_at=row["_delivered_at"],
            )
        )
    return letters
