"""Recorded sockets: what passed a connection, one frame a line, as files keep it.

Four shapes are read, told apart by their first lines:

- ours: JSON lines of `received_at`, `direction`, `url`, `frame`, and `connection`, which counts up
  with each new connection; a binary frame stands in base64, with `"encoding": "base64"`;
- cryptofeed's: `<url> <-> <epoch>` opens a connection, `<url> <- <epoch>: <text>` was sent, and
  `<epoch>: <text>` received;
- a transcript of wscat: `< text` was received, `> text` sent;
- raw frames, one JSON object or array a line. Which of them a client sent is told by their form.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Literal

import msgspec
import pyarrow as pa

from tickerlake import clock
from tickerlake.errors import MalformedError
from tickerlake.records import Kind
from tickerlake.sources.base import Answer, empty_answer
from tickerlake.sources.live import Dialect, Frame

__all__ = ["capture_line", "connections", "is_capture", "parse_capture", "read_capture"]

_EPOCH = re.compile(r"(\d{9,11})(?:\.(\d{1,9}))?")
_CRYPTOFEED = re.compile(
    r"(?:(?P<url>\S+) (?P<way><->|<-|->) )?(?P<at>\d{9,11}(?:\.\d{1,9})?)(?:$|: (?P<text>.*))",
    re.DOTALL,
)
_WSCAT = re.compile(r"(?P<way>[<>]) (?P<text>.*)", re.DOTALL)
_SNIFFED_LINES = 12
#: What clients ask for; a server that acknowledges says how it went, too.
_ASKS = {"subscribe", "unsubscribe", "auth", "ping", "conf"}
_TELLS = {"success", "result", "error", "status", "chanId", "data", "service", "response"}


class _Line(msgspec.Struct):
    """One line of ours."""

    received_at: datetime
    direction: Literal["in", "out"]
    frame: msgspec.Raw
    url: str = ""
    connection: int = 0
    encoding: str | None = None


@dataclass(frozen=True, slots=True)
class _Numbered:
    connection: int
    frame: Frame


def is_capture(payload: bytes) -> bool:
    """Whether a file is a recorded socket, and no answer over HTTP.

    A file of one single JSON document is not told to be one: the provider knows its own frames.
    """
    head = payload[:1_000_000].decode(errors="replace").lstrip("\ufeff").splitlines()
    lines = [line for line in head if line.strip()][:_SNIFFED_LINES]
    if not lines:
        return False
    if _is_ours(lines[0]) or _CRYPTOFEED.fullmatch(lines[0]) is not None:
        return True
    if any(_wscat(line) for line in lines):
        return True
    return len(lines) > 1 and all(_is_json(line) for line in lines[:2])


def read_capture(payload: bytes, *, received_at: datetime | None = None) -> list[Frame]:
    """The frames of all connections, in the order in which they passed.

    Args:
        payload: A file of one of the shapes above.
        received_at: When frames came whose lines do not say; default: now.

    Raises:
        MalformedError: A line is not what its file's first lines promise; names the line.
    """
    return [found.frame for found in _numbered(payload, received_at)]


def connections(payload: bytes, *, received_at: datetime | None = None) -> list[list[Frame]]:
    """The frames of each connection by itself: a dialect is made anew for each.

    Raises:
        MalformedError: As `read_capture`.
    """
    found = _numbered(payload, received_at)
    together = groupby(found, key=lambda numbered: numbered.connection)
    return [[numbered.frame for numbered in one] for _, one in together]


def parse_capture(
    payload: bytes, dialect: Callable[[], Dialect], *, received_at: datetime | None = None
) -> Answer:
    """What a recorded socket becomes: the way of `Source.parse`.

    Holes and everything else that is no record is told in `notes`.

    Args:
        payload: A file of one of the shapes above, or a single frame.
        dialect: Makes the talk of one connection; what it would send is not looked at.
        received_at: When frames came whose lines do not say; default: now.

    Raises:
        MalformedError: As `read_capture`.
    """
    tables: dict[Kind, list[pa.Table]] = {}
    notes: list[str] = []
    for frames in connections(payload, received_at=received_at):
        heard = dialect().read([frame for frame in frames if frame.direction == "in"])
        notes += heard.notes
        if heard.error is not None:
            notes.append(f"the connection ended: {heard.error.problem}")
        for hole in heard.suspicions:
            span = f"{hole.after.isoformat()} to {hole.before.isoformat()}"
            notes.append(f"{hole.symbol}: {hole.kind} records are missing, {span}: {hole.why}")
        for kind, table in heard.tables.items():
            tables.setdefault(kind, []).append(table)
    joined = {kind: pa.concat_tables(parts) for kind, parts in tables.items()}
    nothing = empty_answer()
    return Answer(
        bars=joined.pop("bar", nothing.bars),
        actions=joined.pop("corporate_action", nothing.actions),
        notes=tuple(dict.fromkeys(notes)),
        ticks=joined,
    )


def capture_line(frame: Frame, *, connection: int = 0) -> bytes:
    """One line of ours, its newline included; the address without what follows its `?`."""
    told: dict[str, Any] = {
        "received_at": frame.received_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "direction": frame.direction,
        "url": frame.url.partition("?")[0],
        "connection": connection,
    }
    if isinstance(frame.data, bytes):
        told |= {"encoding": "base64", "frame": base64.b64encode(frame.data).decode()}
    else:
        told["frame"] = frame.data
    return msgspec.json.encode(told) + b"\n"


def _numbered(payload: bytes, received_at: datetime | None) -> list[_Numbered]:
    text = payload.decode(errors="replace").lstrip("\ufeff")
    # Not `splitlines`: a frame may hold any of the signs that it takes for the end of a line.
    lines = [line.rstrip("\r") for line in text.split("\n")]
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not filled:
        raise MalformedError(
            "There is no frame in this capture.", expected="one frame a line", found="nothing"
        )
    first = [line for _, line in filled[:_SNIFFED_LINES]]
    if _is_ours(first[0]):
        return list(_ours(filled))
    if _CRYPTOFEED.fullmatch(first[0]) is not None:
        return list(_of_cryptofeed(line for _, line in filled))
    if any(_wscat(line) for line in first):
        return list(_transcript((line for _, line in filled), received_at or clock.now()))
    return list(_raw((line for _, line in filled), received_at or clock.now()))


def _is_ours(line: str) -> bool:
    found = _decoded(line)
    return isinstance(found, dict) and {"received_at", "direction", "frame"} <= found.keys()


def _is_json(line: str) -> bool:
    return isinstance(_decoded(line), dict | list)


def _wscat(line: str) -> re.Match[str] | None:
    match = _WSCAT.fullmatch(line)
    return match if match is not None and _is_json(match["text"]) else None


def _decoded(line: str) -> Any:  # noqa: ANN401 - whatever a line says
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _ours(lines: list[tuple[int, str]]) -> Iterator[_Numbered]:
    decoder = msgspec.json.Decoder(_Line)
    for number, line in lines:
        try:
            found = decoder.decode(line)
            if found.received_at.tzinfo is None:
                raise ValueError("received_at has no zone")  # noqa: TRY301 - told as the others
            data = _data(found)
        except (ValueError, binascii.Error, RecursionError) as error:
            if number == lines[-1][0]:
                return  # a recorder that was killed leaves its last line torn
            raise MalformedError(
                f"Line {number} of the capture is none.",
                expected="received_at with its zone, direction in or out, url, frame",
                found=f"{line[:80]!r}: {error}",
                todo="remove the line",
            ) from error
        at = found.received_at.astimezone(UTC)
        yield _Numbered(found.connection, Frame(at, found.direction, found.url, data))


def _data(line: _Line) -> str | bytes:
    found = bytes(line.frame)
    if found[:1] != b'"':
        return found.decode()  # others' captures may hold the document itself
    text: str = msgspec.json.decode(found, type=str)
    return base64.b64decode(text, validate=True) if line.encoding == "base64" else text


def _of_cryptofeed(lines: Iterable[str]) -> Iterator[_Numbered]:
    connection, url = -1, ""
    pending: Frame | None = None
    for line in lines:
        match = _CRYPTOFEED.fullmatch(line)
        if match is None:  # a frame of several lines
            if pending is not None:
                pending = replace(pending, data=f"{pending.data!s}\n{line}")
            continue
        if pending is not None:
            yield _Numbered(max(connection, 0), pending)
            pending = None
        url = (match["url"] or url).partition("?")[0]
        if match["way"] == "<->":
            connection += 1
        elif match["way"] != "->":  # that is an answer over HTTP
            way: Literal["in", "out"] = "out" if match["way"] == "<-" else "in"
            pending = Frame(_instant(match["at"]), way, url, match["text"] or "")
    if pending is not None:
        yield _Numbered(max(connection, 0), pending)


def _instant(epoch: str) -> datetime:
    """Exactly: a float would move the last digits."""
    match = _EPOCH.fullmatch(epoch)
    assert match is not None  # noqa: S101 - the line's own pattern holds this one
    micros = int((match[2] or "0").ljust(6, "0")[:6])
    return datetime.fromtimestamp(int(match[1]), UTC) + timedelta(microseconds=micros)


def _transcript(lines: Iterable[str], at: datetime) -> Iterator[_Numbered]:
    for line in lines:
        match = _wscat(line)
        if match is not None:
            way: Literal["in", "out"] = "in" if match["way"] == "<" else "out"
            yield _Numbered(0, Frame(at, way, "", match["text"]))


def _raw(lines: Iterable[str], at: datetime) -> Iterator[_Numbered]:
    for line in lines:
        way: Literal["in", "out"] = "out" if _asks(_decoded(line)) else "in"
        yield _Numbered(0, Frame(at, way, "", line))


def _asks(document: Any) -> bool:  # noqa: ANN401 - whatever a frame says
    """Whether a client said this: a word that asks, and nothing of how it went."""
    if not isinstance(document, dict) or _TELLS & document.keys():
        return False
    words = [document.get(key) for key in ("type", "action", "method", "event", "eventName", "op")]
    said = any(isinstance(word, str) and word.lower() in _ASKS - {"ping"} for word in words)
    return said or isinstance(document.get("subscribe", document.get("unsubscribe")), list)
