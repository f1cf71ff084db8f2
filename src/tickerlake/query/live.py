"""New records as they come: read from the stream's end on, decoded once, told to everybody."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

import pyarrow as pa

from tickerlake import clock
from tickerlake.errors import RetentionPassedError, TickerlakeError
from tickerlake.query.tail import read_decoded
from tickerlake.records import Kind
from tickerlake.streams import Stream, Topic

__all__ = ["Callback", "Live"]

#: Told a batch of one kind's sound records, with the columns of `lake_schema(kind)`.
Callback = Callable[[Kind, pa.Table], None]

_log = logging.getLogger(__name__)

#: How long a reader waits for news before it looks whether it should stop.
_WAIT_SECONDS: Final = 0.5
#: How long a reader rests after an error of the stream before it tries again.
_REST_SECONDS: Final = 1.0
#: How long records may gather, at most, before they are told.
_GATHER_SECONDS_MAX: Final = 0.05


class Live:
    """Reads the topics of `kinds` from their ends on, one background thread a kind.

    Promise: each record that is published after this object was made is told once to every
    subscriber of that moment, in the stream's order per symbol, within milliseconds. Dead letters
    and records that a reader too slow for the stream's retention has missed are not told.

    Not promised: that repeats are left out; whoever shows the newest state does not mind.

    A callback runs in the reader's thread: it should hand over and return. One that raises is
    dropped, and the log says so.
    """

    def __init__(self, stream: Stream, kinds: Sequence[Kind]) -> None:
        self._callbacks: dict[int, Callback] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads = []
        for kind in kinds:
            topic = stream.topic(kind)
            # Looked up here and not in the thread: what comes after the constructor is told.
            positions = {name: topic.tip(name) for name in topic.partitions()}
            thread = threading.Thread(
                target=self._follow, args=(topic, kind, positions), name=f"live-{kind}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def subscribe(self, callback: Callback) -> Callable[[], None]:
        """Have `callback` told each batch from now on; call what is returned to end it."""
        with self._lock:
            number = next(self._numbers)
            self._callbacks[number] = callback

        def unsubscribe() -> None:
            with self._lock:
                self._callbacks.pop(number, None)

        return unsubscribe

    def close(self) -> None:
        """Stop reading. Returns when no callback runs any more."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _follow(self, topic: Topic, kind: Kind, positions: dict[str, int]) -> None:
        while not self._stopped.is_set():
            try:
                if topic.wait(positions, wait_seconds=_WAIT_SECONDS):
                    began_seconds = clock.monotonic_seconds()
                    self._tell_news(topic, kind, positions)
                    # Where much comes, more of it is then decoded at once, for half the work.
                    took_seconds = clock.monotonic_seconds() - began_seconds
                    self._stopped.wait(min(took_seconds, _GATHER_SECONDS_MAX))
            except RetentionPassedError:
                _log.warning(
                    "%s: retention has passed the live reader; it goes on at the end", kind
                )
                positions.update({name: topic.tip(name) for name in topic.partitions()})
            except TickerlakeError:
                _log.exception("%s: the live reader could not read; it tries again", kind)
                self._stopped.wait(_REST_SECONDS)

    def _tell_news(self, topic: Topic, kind: Kind, positions: dict[str, int]) -> None:
        for name in topic.partitions():
            # A partition that was added while we run is new from its beginning.
            start = positions.setdefault(name, 0)
            end = topic.bounds(name).end
            for position, rows in read_decoded(topic, kind, name, start, end):
                positions[name] = position
                sound = rows.filter(rows.column("dead_reason").is_null())
                if sound.num_rows:
                    self._tell(kind, sound)

    def _tell(self, kind: Kind, rows: pa.Table) -> None:
        with self._lock:
            callbacks = list(self._callbacks.items())
        for number, callback in callbacks:
            try:
                callback(kind, rows)
            except Exception:  # noqa: BLE001 - one subscriber's error must not stop the others
                _log.exception("a subscriber of live records failed and is told no more")
                with self._lock:
                    self._callbacks.pop(number, None)
