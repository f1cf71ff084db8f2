"""The contract of a live source as tests: subclass `DialectSuite`, say how to make yours.

class TestAcmeLive(DialectSuite):
    symbols = ("ACME",)
    frames = ('{"type":"welcome"}', '{"type":"trade","data":[…]}')
    records = {"trade": 2}

    @pytest.fixture
    def live(self) -> Live:
        return AcmeSource(AcmeSettings(api_key=SECRET))

`frames` are a whole talk as the provider leads it, from its first word to records; the suite hands
them over one by one, all at once, and as a file.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from tickerlake.errors import ConfigError, RangeError, UsageError
from tickerlake.records import KINDS, SCHEMAS, Kind, dead_reasons
from tickerlake.sources import Dialect, Frame, Heard, Live, Source
from tickerlake.sources.captures import capture_line, is_capture
from tickerlake.sources.feed import Feed
from tickerlake.sources.sockets import SocketSettings
from tickerlake.testing.socket_provider import Cut, Hear, Say, Silence, Step, socket_provider

__all__ = ["SECRET", "DialectSuite"]

#: Hand it over as the key: the suite looks that it is told nowhere.
SECRET = "5ecret-Key-0f-Nobody"  # noqa: S105 - a key that opens nothing

_QUICK = SocketSettings(batch_seconds=0.01, reconnect_seconds=0.01, backfill=False)
_AT = datetime(2024, 1, 2, 15, 0, tzinfo=UTC)
_ODD: tuple[str | bytes, ...] = (
    "", "null", "1", '"text"', "{", "[", "[]", "{}", "[[]]", "[1]", "[null]", '{"a":1}{"b":2}',
    '{"type":5}', '{"data":{}}', '{"data":[1]}', '[{"T":1}]', '[{"ev":null}]', "[0,[[]],[]]",
    '{"channel":[],"data":null}', '{"stream":1,"data":{"e":[]}}', "<html>Sorry</html>",
    b"\x00\xff\x00", "[" * 3000, '{"a":' * 3000,
)  # fmt: skip


class DialectSuite:
    """What every live source must do."""

    symbols: ClassVar[Sequence[str]]
    #: What is asked for; default: all that `limits.live` names.
    kinds: ClassVar[Sequence[Kind]] = ()
    #: A whole talk, in its order.
    frames: ClassVar[Sequence[str | bytes]]
    #: How many records of each kind it holds.
    records: ClassVar[Mapping[Kind, int]]
    #: What the provider says when it refuses login or subscription for good, if it does.
    refusals: ClassVar[Sequence[str | bytes]] = ()
    #: Settings without which the source would not speak so, beside keys and addresses.
    settings: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    def live(self) -> Live:
        """Make the source under test."""
        raise NotImplementedError

    def test_its_limits_name_what_comes(self, live: Live) -> None:
        """A source whose `limits.live` names kinds can be driven; other kinds are refused."""
        source = _source(live)
        assert set(self.records) <= set(source.limits.live)
        for kind in sorted(set(KINDS) - set(source.limits.live))[:1]:
            with pytest.raises(RangeError, match="expected"):
                live.dialect(self.symbols, [kind])

    def test_a_connection_is_well_described(self, live: Live) -> None:
        """Where to connect, how long silence may last, and what to say, are all there."""
        talk = self._talk(live)
        assert talk.url.startswith(("ws://", "wss://"))
        assert talk.silence_seconds > 0
        assert talk.keep_alive_seconds is None or talk.keep_alive_seconds > 0
        for said in (*talk.hello(), *talk.keep_alive()):
            assert isinstance(said, str | bytes)
        assert SECRET not in talk.url.partition("?")[0]

    def test_the_talk_leads_to_records(self, live: Live) -> None:
        """Records come in the schemas of their kinds, sound, with the time of their frame."""
        heard = self._talk(live).read(_frames(self.frames))
        assert heard.ready
        assert heard.error is None
        assert {kind: table.num_rows for kind, table in heard.tables.items()} == self.records
        for kind, table in heard.tables.items():
            assert table.schema == SCHEMAS[kind]
            assert set(table["provider"].to_pylist()) == {_source(live).name}
            assert table["event_id"].null_count == table.num_rows
            assert dead_reasons(table, kind).null_count == table.num_rows
            times = {frame.received_at for frame in _frames(self.frames)}
            assert set(table["fetched_at"].to_pylist()) <= times

    def test_it_does_not_matter_how_frames_are_batched(self, live: Live) -> None:
        """One frame at a time says what all at once say."""
        together, talk = self._talk(live).read(_frames(self.frames)), self._talk(live)
        alone = [talk.read([frame]) for frame in _frames(self.frames)]
        for kind in self.records:
            parts = [heard.tables[kind] for heard in alone if kind in heard.tables]
            assert pa.concat_tables(parts).equals(together.tables[kind])
        assert [said for heard in alone for said in heard.replies] == list(together.replies)
        assert any(heard.ready for heard in alone)
        holes = [hole for heard in alone for hole in heard.suspicions]
        assert holes == list(together.suspicions)

    def test_what_was_sent_is_passed_over(self, live: Live) -> None:
        """Frames of our own, which captures hold too, say nothing."""
        talk = self._talk(live)
        sent = [Frame(_AT, "out", "", said) for said in talk.hello()]
        sent += [Frame(_AT, "out", "", data) for data in self.frames]
        heard = talk.read(sent)
        assert not heard.tables
        assert not heard.replies
        assert heard.error is None

    @pytest.mark.parametrize("odd", _ODD, ids=lambda odd: repr(odd[:30]))
    def test_what_nobody_sends_is_told_not_raised(self, live: Live, odd: str | bytes) -> None:
        """A frame of no known form costs no other frame, and is at most a note."""
        first, *rest = self.frames
        heard = self._talk(live).read(_frames([first, odd, *rest]))
        assert {kind: table.num_rows for kind, table in heard.tables.items()} == self.records
        assert heard.error is None

    def test_torn_frames_are_told_not_raised(self, live: Live) -> None:
        """A frame cut anywhere is no error of Python's."""
        for data in self.frames:
            for end in range(1, len(data), max(1, len(data) // 25)):
                assert isinstance(self._talk(live).read(_frames([data[:end]])), Heard)

    def test_no_frames_say_nothing(self, live: Live) -> None:
        """An empty batch is a batch."""
        heard = self._talk(live).read([])
        assert not heard.tables
        assert not heard.ready

    def test_a_refusal_is_final_and_tells_no_key(self, live: Live) -> None:
        """What the provider refuses for good is wrong use, and names what to do."""
        for refusal in self.refusals:
            error = self._talk(live).read(_frames([refusal])).error
            assert isinstance(error, UsageError), refusal
            assert error.todo
            assert SECRET not in str(error)

    def test_its_captures_are_parsed(self, live: Live) -> None:
        """`parse` reads a capture of the talk, ours or raw frames, as the socket was read."""
        source, frames = _source(live), _frames(self.frames)
        expected = self._talk(live).read(frames).tables
        ours = b"".join(capture_line(frame) for frame in frames)
        found = dict(source.parse(ours).tables())
        assert {kind: found[kind] for kind in self.records} == dict(expected)
        if all(isinstance(data, str) and _is_json(data) for data in self.frames):
            raw = "\n".join(str(data) for data in self.frames).encode()
            assert is_capture(raw) or len(self.frames) == 1
            bare = dict(source.parse(raw, received_at=_AT).tables())
            assert {kind: table.num_rows for kind, table in bare.items()} == self.records

    def test_it_is_driven_over_a_socket(self, live: Live) -> None:
        """At `socket_url`, over a cut: what it says first is heard, records come, a gap is told."""
        hello = self._talk(live).hello()
        steps: list[Step] = [Hear(len(hello)), Say(*self.frames)] if hello else [Say(*self.frames)]
        wanted = {kind: 2 * count for kind, count in self.records.items()}
        found: dict[Kind, int] = {}
        stop = threading.Event()
        patience = threading.Timer(60, stop.set)
        patience.start()
        with socket_provider([*steps, Cut()], [*steps, Silence()]) as server:
            source = self._at(_source(live), server.url)
            for fresh in Feed(source, self.symbols, self._kinds(source), _QUICK).fresh(stop):
                for kind, table in fresh.tables.items():
                    found[kind] = found.get(kind, 0) + table.num_rows
                if all(found.get(kind, 0) >= count for kind, count in wanted.items()):
                    stop.set()
        patience.cancel()
        assert found.pop("gap", 0) > 0
        assert found == wanted
        assert SECRET not in server.url
        assert [len(said) >= len(hello) for said in server.heard] == [True, True]

    def _at(self, source: Source, url: str) -> Source:
        """The same source with another socket."""
        kind: Any = type(source)
        declared = {field.name for field in dataclasses.fields(kind.settings_type)}
        keys = {key: SECRET for key in ("api_key", "api_secret") if key in declared}
        made: Source = kind(kind.settings_type(**keys, **self.settings, socket_url=url))
        return made

    def test_a_missing_key_is_named(self, live: Live) -> None:
        """A source that needs a key says which variable holds it."""
        source = _source(live)
        if source.limits.needs_key:
            keyless = type(source)()
            assert isinstance(keyless, Live)
            with pytest.raises(ConfigError, match=f"TICKERLAKE_SOURCES_{source.name.upper()}_"):
                keyless.dialect(self.symbols, self._kinds(source))

    def _kinds(self, source: Source) -> Sequence[Kind]:
        return self.kinds or source.limits.live

    def _talk(self, live: Live) -> Dialect:
        return live.dialect(self.symbols, self._kinds(_source(live)))


def _source(live: Live) -> Source:
    assert isinstance(live, Source)
    assert isinstance(live, Live)
    return live


def _frames(texts: Sequence[str | bytes]) -> list[Frame]:
    return [
        Frame(_AT + timedelta(milliseconds=number), "in", "", text)
        for number, text in enumerate(texts)
    ]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return "\n" not in text
