"""How a provider speaks on its socket, without any input or output of its own.

A dialect says what to send and reads what came; connecting, staying alive, noticing silence,
filling gaps and capturing frames are the same for all, and are done by who drives it. So a
recorded capture is read by the same code as a living socket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

import msgspec
import pyarrow as pa

from tickerlake.errors import RangeError, TickerlakeError
from tickerlake.records import Kind

__all__ = ["Dialect", "Frame", "Heard", "Live", "Suspicion", "require_kinds"]


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame as it passed the socket. `url` carries no key.

    A struct, because one is made for each frame: a fifth of what a frozen dataclass costs.
    """

    received_at: datetime
    direction: Literal["in", "out"]
    url: str
    data: str | bytes


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Records of a symbol that are missing by what the frames say, such as a sequence hole."""

    symbol: str
    kind: Kind
    #: Of the last record before and the first one after the hole.
    after: datetime
    before: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Heard:
    """What some frames said, in the order in which they came."""

    #: Records by kind, in the schemas of their kinds, without event ids.
    tables: Mapping[Kind, pa.Table] = field(default_factory=dict)
    #: Frames to send now: a pong, the subscription once the login is accepted.
    replies: Sequence[str | bytes] = ()
    #: Ends this connection. A `UsageError` is final; anything else is followed by a new connection.
    error: TickerlakeError | None = None
    #: The provider has accepted login and subscription: records may come from now on.
    ready: bool = False
    suspicions: Sequence[Suspicion] = ()
    notes: Sequence[str] = ()
    #: Events that are no records of ours, and how many: nothing is dropped without a count.
    left_out: Mapping[str, int] = field(default_factory=dict)


class Dialect(Protocol):
    """One connection's talk: made anew for each connection, driven by one thread."""

    #: Where to connect; may carry a key, so it is never logged: `Frame.url` is cut at its `?`.
    url: str
    #: Headers of the handshake.
    headers: Mapping[str, str]
    #: No frame for so long while connected: the line is dead.
    silence_seconds: float
    #: How often to send `keep_alive()`; null where the provider needs none.
    keep_alive_seconds: float | None

    def hello(self) -> Sequence[str | bytes]:
        """What to send as soon as the connection stands: a login, or the subscription."""
        ...

    def keep_alive(self) -> Sequence[str | bytes]:
        """What to send every `keep_alive_seconds`."""
        ...

    def read(self, frames: Sequence[Frame]) -> Heard:
        """What a batch of incoming frames said.

        Frames that no version of the provider sends are told in `notes`, never raised.
        """
        ...


@runtime_checkable
class Live(Protocol):
    """A source that sends records by itself: `limits.live` names their kinds."""

    def dialect(self, symbols: Sequence[str], kinds: Sequence[Kind]) -> Dialect:
        """The talk of a new connection that asks for these.

        Raises:
            RangeError: A kind that does not come live.
            ConfigError: A key is missing.
        """
        ...


def require_kinds(kinds: Sequence[Kind], live: Sequence[Kind], provider: str) -> None:
    """Refuse kinds that do not come live.

    Raises:
        RangeError: One of them does not.
    """
    other = sorted(set(kinds) - set(live))
    if other:
        raise RangeError(
            f"{provider} does not send {' or '.join(other)} live.",
            expected=" ".join(live),
            found=" ".join(kinds),
            todo="choose others with --kinds, or another source",
        )
