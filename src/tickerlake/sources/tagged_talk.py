"""The talk of the vendors of United States stocks whose frames are arrays of tagged events.

They speak first; a login and a subscription answer them; and they say nothing while the exchange
is closed, so silence is judged by its hours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

import msgspec
import pyarrow as pa

from tickerlake.errors import TickerlakeError
from tickerlake.records import Kind
from tickerlake.sources.live import Frame, Heard
from tickerlake.sources.tagged import Pile, TaggedFrames
from tickerlake.sources.us_market import patience

__all__ = ["Made", "Said", "TaggedTalk"]

#: The kind of some events' records, and what makes a table of them.
Made: TypeAlias = tuple[Kind, Callable[[Pile, Sequence[Frame]], pa.Table]]


@dataclass(slots=True)
class Said:
    """What frames said beside records; see `Heard`."""

    replies: list[str | bytes] = field(default_factory=list)
    error: TickerlakeError | None = None
    ready: bool = False
    notes: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def timed(self, pile: Pile, has_time: Sequence[bool]) -> Pile:
        """Without events whose time is none, which are counted."""
        if all(has_time):
            return pile
        self.notes.append("events without a time that we can read were left out")
        self.left_out["events without a time"] += list(has_time).count(False)
        return pile.where(has_time)


class TaggedTalk(ABC):
    """One connection: waits for the welcome, logs in, subscribes, and is ready when confirmed."""

    messages: ClassVar[TaggedFrames]
    keep_alive_seconds: float | None = None  # pings of the protocol are enough

    def __init__(
        self,
        url: str,
        *,
        login: Mapping[str, object],
        subscription: Mapping[str, object],
        provider: str,
        silence_seconds: float,
    ) -> None:
        self.url = url
        self.headers: Mapping[str, str] = {}
        self._silence_seconds = silence_seconds
        self._provider = provider
        self._login = msgspec.json.encode(login).decode()
        self._subscribe = msgspec.json.encode(subscription).decode()

    @abstractmethod
    def made(self) -> Mapping[type, Made]:
        """What becomes of each form of event that is a record; forms alike keep their order."""

    @abstractmethod
    def have_time(self, events: Sequence[Any]) -> Sequence[bool]:
        """Of each of some events of one kind, whether it has a time that we can read."""

    @abstractmethod
    def hear(self, event: Any, said: Said) -> Iterable[object]:  # noqa: ANN401 - see `messages`
        """Any other event: what it says goes into `said`; returns the records that it means."""

    @property
    def silence_seconds(self) -> float:
        """No frame for so long: the line is dead. Longer while the exchange is closed."""
        return patience(self._silence_seconds)

    @silence_seconds.setter
    def silence_seconds(self, seconds: float) -> None:
        self._silence_seconds = seconds

    def hello(self) -> Sequence[str | bytes]:
        """Nothing: they speak first."""
        return ()

    def keep_alive(self) -> Sequence[str | bytes]:
        """Nothing."""
        return ()

    def read(self, frames: Sequence[Frame]) -> Heard:
        """Records, and the answers of login and subscription."""
        made = self.made()
        piles = {one: Pile() for one in made.values()}
        pile_of = {form: piles[one] for form, one in made.items()}
        said = Said()
        for place, events in self.messages.read(frames, said.notes):
            for event in events:
                pile = pile_of.get(type(event))
                if pile is not None:
                    pile.add(event, place)
                    continue
                for record in self.hear(event, said):
                    pile_of[type(record)].add(record, place)
        tables: dict[Kind, list[pa.Table]] = {}
        for (kind, table_of), pile in piles.items():
            sound = said.timed(pile, self.have_time(pile.events))
            if sound.events:
                tables.setdefault(kind, []).append(table_of(sound, frames))
        return Heard(
            tables={kind: pa.concat_tables(parts) for kind, parts in tables.items()},
            replies=said.replies,
            error=said.error,
            ready=said.ready,
            notes=tuple(dict.fromkeys(said.notes)),
            left_out=said.left_out,
        )
