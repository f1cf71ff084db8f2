"""Recorded sockets in every shape that we read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tickerlake.errors import MalformedError, StorageError, hide
from tickerlake.sources.captures import (
    CaptureFile,
    capture_line,
    connections,
    is_capture,
    read_capture,
)
from tickerlake.sources.live import Frame

AT = datetime(2024, 1, 2, 14, 30, 0, 123456, tzinfo=UTC)
ASKED = '{"type":"subscribe","symbol":"ACME"}'
TOLD = '{"type":"trade","data":[{"s":"ACME","p":1.5}]}'

CRYPTOFEED = f"""wss://feed.acme.test <-> 1704205800.1
wss://feed.acme.test <- 1704205800.2: {ASKED}
1704205800.123456: {TOLD}
wss://feed.acme.test -> 1704205800.3: an answer over HTTP
1704205801: {{"of":
"two lines"}}
wss://feed.acme.test <-> 1704205900.0
1704205900.5: {TOLD}
"""
TRANSCRIPT = f"$ wscat -c wss://acme.test\nconnected\n> {ASKED}\n< {TOLD}\n< [1]\n"
RAW = f'{ASKED}\n\n{TOLD}\r\n[{TOLD}]\n{{"method":"subscribe","success":true}}\n'


def written(*frames: Frame, connection: int = 0) -> bytes:
    return b"".join(capture_line(frame, connection=connection) for frame in frames)


def test_what_was_written_is_read_again() -> None:
    """Text, binary frames, directions and microseconds survive; what follows a `?` does not."""
    frames = [
        Frame(AT, "out", "wss://acme.test/live?token=SECRET", ASKED),
        Frame(AT + timedelta(microseconds=1), "in", "wss://acme.test/live", 'ü\n"quoted"\u2028'),
        Frame(AT + timedelta(seconds=1), "in", "wss://acme.test/live", b"\x00\xff\n"),
    ]
    payload = written(*frames)
    assert is_capture(payload)
    assert b"SECRET" not in payload
    found = read_capture(payload)
    assert [(f.received_at, f.direction, f.data) for f in found] == [
        (f.received_at, f.direction, f.data) for f in frames
    ]
    assert {f.url for f in found} == {"wss://acme.test/live"}


def test_each_connection_stands_by_itself() -> None:
    """A capture over a reconnection gives two lists, for two talks."""
    one, two = Frame(AT, "in", "", "{}"), Frame(AT, "in", "", "[]")
    payload = written(one, one) + written(two, connection=1)
    assert connections(payload) == [[one, one], [two]]


def test_a_document_in_place_of_a_text_is_taken() -> None:
    """A capture of others that holds frames as JSON, not as text, is read as its text."""
    line = f'{{"received_at":"2024-01-02T14:30:00.123456Z","direction":"in","frame":{TOLD}}}'
    assert read_capture(line.encode()) == [Frame(AT, "in", "", TOLD)]


def test_a_torn_last_line_is_left_out_and_others_are_errors() -> None:
    """A recorder that was killed loses its last line; a broken line before it is named."""
    line = written(Frame(AT, "in", "", TOLD))
    assert len(read_capture(line + line[:40])) == 1
    with pytest.raises(MalformedError, match="Line 2"):
        read_capture(line + line[:40] + b"\n" + line)
    with pytest.raises(MalformedError, match="zone"):
        read_capture(line.replace(b"Z", b"", 1) + line)


def test_a_line_that_is_no_line_of_ours_is_no_torn_one() -> None:
    """A last line of another direction is an error: only half a document passes for torn."""
    line = written(Frame(AT, "in", "", TOLD))
    with pytest.raises(MalformedError, match="Line 2"):
        read_capture(line + line.replace(b'"in"', b'"received"'))


@pytest.mark.parametrize("indent", [None, 1])
def test_lines_of_ours_may_stand_in_an_array(indent: int | None) -> None:
    """A capture that a tool made one JSON document of is read as its lines."""
    lines = [json.loads(written(Frame(AT, "in", "", text))) for text in (ASKED, TOLD)]
    payload = json.dumps(lines, indent=indent).encode()
    assert is_capture(payload)
    assert [frame.data for frame in read_capture(payload)] == [ASKED, TOLD]


def test_frames_that_were_printed_prettily() -> None:
    """Documents over many lines, one after the other, are a frame each, and kept as they are."""
    pretty = json.dumps(json.loads(TOLD), indent=2)
    payload = f"{json.dumps(json.loads(ASKED), indent=2)}\n{pretty}\n\n{pretty}".encode()
    assert is_capture(payload)
    found = read_capture(payload, received_at=AT)
    assert [(f.direction, f.data) for f in found][1:] == [("in", pretty), ("in", pretty)]
    assert found[0].direction == "out"
    assert [frame.data for frame in read_capture(pretty.encode())] == [pretty]


def test_a_torn_first_line_costs_itself_only() -> None:
    """Raw frames whose first line is half a document are still one a line."""
    assert [f.data for f in read_capture(f'{{"half": [\n{TOLD}\n'.encode())][1] == TOLD


def test_cryptofeed() -> None:
    """Its times are exact, sent frames are told apart, and each `<->` is a new connection."""
    assert is_capture(CRYPTOFEED.encode())
    first, second = connections(CRYPTOFEED.encode())
    assert [(frame.direction, frame.data) for frame in first] == [
        ("out", ASKED),
        ("in", TOLD),
        ("in", '{"of":\n"two lines"}'),
    ]
    assert first[1].received_at == AT
    assert [frame.data for frame in second] == [TOLD]
    assert first[0].url == "wss://feed.acme.test"


def test_a_transcript() -> None:
    """Lines of wscat, among others that are none."""
    assert is_capture(TRANSCRIPT.encode())
    found = read_capture(TRANSCRIPT.encode(), received_at=AT)
    assert [(f.direction, f.data) for f in found] == [("out", ASKED), ("in", TOLD), ("in", "[1]")]
    assert {frame.received_at for frame in found} == {AT}


def test_raw_frames() -> None:
    """What asks was sent, what tells how it went was received."""
    assert is_capture(RAW.encode())
    found = read_capture(RAW.encode(), received_at=AT)
    assert [frame.direction for frame in found] == ["out", "in", "in", "in"]
    assert found[1].data == TOLD


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\n \n",
        TOLD.encode(),  # one document alone: the provider knows whether it is a frame
        b'{\n  "bars": [\n    {"t": 1}\n  ]\n}\n',
        b"Date,Open\n2024-01-02,1.5\n",
        b"<html>\n<body>\n",
        b"\x00\xff\x00\n\x01",
        b"1\n2\n",
    ],
)
def test_what_is_no_capture(payload: bytes) -> None:
    """Answers over HTTP are left to their own parsers."""
    assert not is_capture(payload)


def test_nothing_is_no_capture() -> None:
    """An empty file says so."""
    with pytest.raises(MalformedError, match="no frame"):
        read_capture(b" \n")


def test_known_secrets_are_masked_in_frames(tmp_path: Path) -> None:
    """A login that was sent is kept without its key, as text and as bytes; the file is new."""
    hide(["5ecret-0f-a-Login"])
    path = tmp_path / "deep" / "frames.jsonl"
    file = CaptureFile(path)
    login = '{"action":"auth","key":"5ecret-0f-a-Login"}'
    for data in (login, login.encode(), b"\x00\xff", TOLD):
        file.keep(Frame(AT, "out", "wss://acme.test/?token=5ecret-0f-a-Login", data), 0)
    file.close()
    assert b"5ecret" not in path.read_bytes()
    found = [frame.data for frame in read_capture(path.read_bytes())]
    assert found[2:] == [b"\x00\xff", TOLD]
    assert isinstance(found[0], str)
    assert isinstance(found[1], bytes)
    assert all("auth" in str(data) and "5ecret" not in str(data) for data in found[:2])
    with pytest.raises(StorageError, match="new file"):
        CaptureFile(path)
