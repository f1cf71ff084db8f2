"""Recorded sockets: what passed a connection, one frame a line, as files keep it.

Four shapes are read, told apart by their first lines:

- ours: JSON lines of `received_at`, `direction`, `url`, `frame`, and `connection`, which counts up
  with each new connection; a binary frame stands in base64, with `"encoding": "base64"`;
- cryptofeed's: `<url> <-> <epoch>` opens a connection, `<url> <- <epoch>: <text>` was sent, and
  `<epoch>: <text>` received;
- a transcript of wscat: `< text` was received, `> text` sent;
- raw frames, one JSON object or array a line. Which of them a client sent is told by their form.

A file whose first line is no document by itself, such as one that was printed prettily, is read as
documents one after the other; one array of lines of ours is as good as the lines.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec
import pyarrow as pa
from msgspec.structs import replace

from tickerlake import clock
from tickerlake.errors import MalformedError, NotFoundError, StorageError, without_secrets
from tickerlake.records import Kind
from tickerlake.sources.base import Answer, empty_answer
from tickerlake.sources.live import Dialect, Frame

__all__ = [
    "CaptureFile",
    "capture_line",
    "connections",
    "is_capture",
    "parse_capture",
    "read_capture",
    "stream_capture",
]

_EPOCH = re.compile(r"(\d{9,11})(?:\.(\d{1,9}))?")
_CRYPTOFEED = re.compile(
    r"(?:(?P<url>\S+) (?P<way><->|<-|->) )?(?P<at>\d{9,11}(?:\.\d{1,9})?)(?:$|: (?P<text>.*))",
    re.DOTALL,
)
_WSCAT = re.compile(r"(?P<way>[<>]) (?P<text>.*)", re.DOTALL)
_BLANK = re.compile(r"[\s,]*")
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_SNIFFED_LINES = 12
#: More sentences than these tell a reader nothing that these do not.
_NOTES_MAX = 100
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


def is_capture(payload: bytes) -> bool:
    """Whether a file is a recorded socket, and no answer over HTTP.

    A file of one single JSON document is not told to be one: the provider knows its own frames.
    """
    head = payload[:1_000_000]
    if head.startswith((b"{", b"[")) and b"\n" not in head and b'"received_at"' not in head:
        return False  # one document, such as a whole answer: not read twice
    lines = [text for _, text in islice(_filled(io.BytesIO(head)), _SNIFFED_LINES)]
    if not lines:
        return False
    if _is_ours(lines[0]) or _is_of_cryptofeed(lines[0]):
        return True
    if any(_wscat(line) for line in lines):
        return True
    if len(lines) > 1 and all(_is_json(line) for line in lines[:2]):
        return True
    found = _documents(payload.decode(errors="replace")) if _is_begun(lines[0]) else []
    return len(found) > 1 or any(_is_ours(text) for text in found)


def read_capture(payload: bytes, *, received_at: datetime | None = None) -> list[Frame]:
    """The frames of all connections, in the order in which they passed.

    Args:
        payload: A file of one of the shapes above.
        received_at: When frames came whose lines do not say; default: now.

    Raises:
        MalformedError: A line is not what its file's first lines promise; names the line.
    """
    return [frame for _, frame in stream_capture(payload, received_at=received_at)]


def connections(payload: bytes, *, received_at: datetime | None = None) -> list[list[Frame]]:
    """The frames of each connection by itself: a dialect is made anew for each.

    Raises:
        MalformedError: As `read_capture`.
    """
    found = stream_capture(payload, received_at=received_at)
    return [[frame for _, frame in one] for _, one in groupby(found, key=itemgetter(0))]


def parse_capture(
    payload: bytes,
    dialect: Callable[[], Dialect],
    *,
    received_at: datetime | None = None,
    batches: bool = True,
) -> Answer:
    """What a recorded socket becomes: the way of `Source.parse`.

    Holes and everything else that is no record is told in `notes`, a hundred of them at most.

    Args:
        payload: A file of one of the shapes above, or a single frame.
        dialect: Makes the talk of one connection; what it would send is not looked at.
        received_at: When frames came whose lines do not say; default: now.
        batches: An array of objects is as many frames; false where the provider itself sends such.

    Raises:
        MalformedError: As `read_capture`.
    """
    tables: dict[Kind, list[pa.Table]] = {}
    notes: list[str] = ["the last line is torn, and was left out"] if _is_torn(payload) else []
    left_out: Counter[str] = Counter()
    for frames in connections(payload, received_at=received_at):
        incoming = [frame for frame in frames if frame.direction == "in"]
        heard = dialect().read(_apart(incoming) if batches else incoming)
        notes += heard.notes
        left_out.update(heard.left_out)
        if heard.error is not None:
            notes.append(f"the connection ended: {heard.error.problem}")
        for hole in heard.suspicions:
            span = f"{hole.after.isoformat()} to {hole.before.isoformat()}"
            notes.append(f"{hole.symbol}: {hole.kind} records are missing, {span}: {hole.why}")
        for kind, table in heard.tables.items():
            tables.setdefault(kind, []).append(table)
    notes += [f"left out: {count:,} {what}" for what, count in left_out.items()]
    joined = {kind: pa.concat_tables(parts) for kind, parts in tables.items()}
    nothing = empty_answer()
    return Answer(
        bars=joined.pop("bar", nothing.bars),
        actions=joined.pop("corporate_action", nothing.actions),
        notes=_few(list(dict.fromkeys(notes)) or ([] if tables else ["no frame holds a record"])),
        ticks=joined,
    )


def _few(notes: list[str]) -> tuple[str, ...]:
    more = len(notes) - _NOTES_MAX
    return (*notes[:_NOTES_MAX], f"and {more:,} more like these") if more > 0 else tuple(notes)


def _is_torn(payload: bytes) -> bool:
    """Whether lines of ours end in one that is no document."""
    last = payload.rstrip().rpartition(b"\n")[2]
    return b'"received_at"' in last and _decoded(last.decode(errors="replace")) is None


def _apart(frames: Iterable[Frame]) -> list[Frame]:
    """An array of objects as so many frames: recorders gather them."""
    found: list[Frame] = []
    for frame in frames:
        raws: list[msgspec.Raw] = []
        if frame.data[:1] in ("[", b"["):
            with contextlib.suppress(ValueError, RecursionError):
                raws = _RAWS.decode(frame.data)
        texts = [bytes(raw).decode(errors="replace") for raw in raws]
        together = bool(texts) and all(text[0] == "{" for text in texts)
        found += [replace(frame, data=text) for text in texts] if together else [frame]
    return found


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


class CaptureFile:
    """A file of ours that frames are added to. Known secrets are masked in them."""

    def __init__(self, path: Path) -> None:
        """Begin a new file.

        Raises:
            StorageError: There is one already, or it cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("xb")
        except OSError as error:
            raise StorageError(
                f"The capture {path} cannot be begun.",
                expected="a new file",
                found=str(error),
                todo="choose another --output",
            ) from error

    def keep(self, frame: Frame, connection: int) -> None:
        """Add one frame."""
        masked = replace(frame, data=_masked(frame.data))
        self._stream.write(capture_line(masked, connection=connection))

    def flush(self) -> None:
        """What was kept is now the operating system's: it survives our end."""
        self._stream.flush()

    def close(self) -> None:
        """End the file."""
        self._stream.close()


def _masked(data: str | bytes) -> str | bytes:
    if isinstance(data, str):
        return without_secrets(data)
    text = data.decode("latin-1")  # each byte is a letter
    shown = without_secrets(text)
    return data if shown == text else shown.encode("latin-1", "replace")


def stream_capture(
    payload: bytes | Path, *, received_at: datetime | None = None
) -> Iterator[tuple[int, Frame]]:
    """Frame by frame, each with the number of its connection; a file is not read as a whole.

    Raises:
        MalformedError: As `read_capture`.
        NotFoundError: There is no such file.
    """
    if isinstance(payload, bytes):
        yield from _numbered(io.BytesIO(payload), received_at)
        return
    try:
        stream = payload.open("rb")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError(
            f"There is no capture {payload}.", expected="a file of frames", todo="check the path"
        ) from error
    with stream:
        yield from _numbered(stream, received_at)


def _numbered(stream: BinaryIO, received_at: datetime | None) -> Iterator[tuple[int, Frame]]:
    filled = _filled(stream)
    head = list(islice(filled, _SNIFFED_LINES))
    if not head:
        raise MalformedError(
            "There is no frame in this capture.", expected="one frame a line", found="nothing"
        )
    if _is_begun(head[0][1]):
        told = [*head, *filled]
        whole = _documents("\n".join(text for _, text in told))
        filled = iter(list(enumerate(whole, 1)) or told)
        head = list(islice(filled, _SNIFFED_LINES))
    first, lines = [text for _, text in head], chain(head, filled)
    if _is_ours(first[0]):
        return _ours(lines)
    if _is_of_cryptofeed(first[0]):
        return _of_cryptofeed(text for _, text in lines)
    at = received_at or clock.now()
    if any(_wscat(text) for text in first):
        return _transcript((text for _, text in lines), at)
    return _raw((text for _, text in lines), at)


def _filled(stream: BinaryIO) -> Iterator[tuple[int, str]]:
    """The lines that hold something, with their numbers."""
    # Not `splitlines`: a frame may hold any of the signs that it takes for the end of a line.
    texts = (line.decode(errors="replace").rstrip("\r\n") for line in stream)
    numbered = ((number, text.lstrip("\ufeff")) for number, text in enumerate(texts, 1))
    return (line for line in numbered if line[1].strip())


def _is_begun(line: str) -> bool:
    """Whether a first line only begins a document, or is an array of lines of ours."""
    if line.lstrip()[:1] not in ("{", "["):
        return False
    return (line.lstrip()[:1] == "[" and '"received_at"' in line) or not _is_json(line)


def _documents(text: str) -> list[str]:
    """The documents of a text in their order, whatever stands between them; none where it is none.

    Lines of ours in an array are told one by one.
    """
    found: list[str] = []
    decoder, at = json.JSONDecoder(), 0
    text = text.lstrip("\ufeff")
    try:
        while (at := _BLANK.match(text, at).end()) < len(text):  # type: ignore[union-attr]
            if text[at] not in "{[":
                return []
            begin, (_, at) = at, decoder.raw_decode(text, at)
            found.append(text[begin:at])
        if len(found) == 1 and found[0][0] == "[" and '"received_at"' in found[0]:
            found = [bytes(raw).decode() for raw in _RAWS.decode(found[0])]
    except (ValueError, RecursionError):
        return []
    return found


def _is_ours(line: str) -> bool:
    if '"received_at"' not in line:  # answers of many megabytes are asked, too
        return False
    found = _decoded(line)
    return isinstance(found, dict) and {"received_at", "direction", "frame"} <= found.keys()


def _is_of_cryptofeed(line: str) -> bool:
    # A document of many megabytes without a blank would keep the pattern busy for long.
    return not line.startswith(("{", "[")) and _CRYPTOFEED.fullmatch(line) is not None


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


def _ours(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, Frame]]:
    decoder = msgspec.json.Decoder(_Line)
    torn: MalformedError | None = None
    for number, line in lines:
        if torn is not None:
            raise torn
        try:
            found = decoder.decode(line)
            if found.received_at.tzinfo is None:
                raise ValueError("received_at has no zone")  # noqa: TRY301 - told as the others
            data = _data(found)
        except (ValueError, binascii.Error, RecursionError) as error:
            # A recorder that was killed leaves its last line torn: that is no document, and only
            # another line behind it makes it an error.
            wrong = MalformedError(
                f"Line {number} of the capture is none.",
                expected="received_at with its zone, direction in or out, url, frame",
                found=f"{line[:80]!r}: {error}",
                todo="remove the line",
            )
            if _decoded(line) is not None:
                raise wrong from error
            torn = wrong
            continue
        at = found.received_at.astimezone(UTC)
        yield found.connection, Frame(at, found.direction, found.url, data)


def _data(line: _Line) -> str | bytes:
    found = bytes(line.frame)
    if found[:1] != b'"':
        return found.decode()  # others' captures may hold the document itself
    text: str = msgspec.json.decode(found, type=str)
    return base64.b64decode(text, validate=True) if line.encoding == "base64" else text


def _of_cryptofeed(lines: Iterable[str]) -> Iterator[tuple[int, Frame]]:
    connection, url = -1, ""
    pending: Frame | None = None
    for line in lines:
        match = _CRYPTOFEED.fullmatch(line)
        if match is None:  # a frame of several lines
            if pending is not None:
                pending = replace(pending, data=f"{pending.data!s}\n{line}")
            continue
        if pending is not None:
            yield (max(connection, 0), pending)
            pending = None
        url = (match["url"] or url).partition("?")[0]
        if match["way"] == "<->":
            connection += 1
        elif match["way"] != "->":  # that is an answer over HTTP
            way: Literal["in", "out"] = "out" if match["way"] == "<-" else "in"
            pending = Frame(_instant(match["at"]), way, url, match["text"] or "")
    if pending is not None:
        yield (max(connection, 0), pending)


def _instant(epoch: str) -> datetime:
    """Exactly: a float would move the last digits."""
    match = _EPOCH.fullmatch(epoch)
    assert match is not None  # noqa: S101 - the line's own pattern holds this one
    micros = int((match[2] or "0").ljust(6, "0")[:6])
    return datetime.fromtimestamp(int(match[1]), UTC) + timedelta(microseconds=micros)


def _transcript(lines: Iterable[str], at: datetime) -> Iterator[tuple[int, Frame]]:
    for line in lines:
        match = _wscat(line)
        if match is not None:
            way: Literal["in", "out"] = "in" if match["way"] == "<" else "out"
            yield (0, Frame(at, way, "", match["text"]))


def _raw(lines: Iterable[str], at: datetime) -> Iterator[tuple[int, Frame]]:
    for line in lines:
        way: Literal["in", "out"] = "out" if _asks(_decoded(line)) else "in"
        yield (0, Frame(at, way, "", line))


def _asks(document: Any) -> bool:  # noqa: ANN401 - whatever a frame says
    """Whether a client said this: a word that asks, and nothing of how it went."""
    if not isinstance(document, dict) or _TELLS & document.keys():
        return False
    words = [document.get(key) for key in ("type", "action", "method", "event", "eventName", "op")]
    said = any(isinstance(word, str) and word.lower() in _ASKS - {"ping"} for word in words)
    return said or isinstance(document.get("subscribe", document.get("unsubscribe")), list)
