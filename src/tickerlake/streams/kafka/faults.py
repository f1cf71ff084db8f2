"""What the client library's errors mean, in our tree of errors. None of its own gets out."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from tickerlake import clock
from tickerlake.errors import (
    ConfigError,
    CorruptLogError,
    LimitError,
    NotFoundError,
    TickerlakeError,
    UnreachableError,
)

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

__all__ = ["MISSING", "Troubles", "error_of", "is_certain", "is_passing", "translated"]

_LOGIN: Final = (
    "check `sasl`, `user` and the password of [streams.kafka] "
    "(TICKERLAKE_STREAMS_KAFKA_PASSWORD, or password_file)"
)
_TLS: Final = (
    "check `tls` and `ca_file` of [streams.kafka], and `certificate_file` and `key_file` where the "
    "broker asks for ours"
)
_RIGHTS: Final = (
    "let this user Read, Write, Describe and DescribeConfigs the topic (and Create it, if it is "
    "not there), and Read the groups that begin with tickerlake-"
)
_REACH: Final = (
    "check the address, that the broker runs, and what it asks for: `tls`, `certificate_file` and "
    "`sasl` of [streams.kafka]"
)

#: By the library's name of an error: what we raise, and what to do.
_MEANINGS: Final[dict[str, tuple[type[TickerlakeError], str]]] = {
    "_AUTHENTICATION": (UnreachableError, _LOGIN),
    "SASL_AUTHENTICATION_FAILED": (UnreachableError, _LOGIN),
    "UNSUPPORTED_SASL_MECHANISM": (UnreachableError, _LOGIN),
    "ILLEGAL_SASL_STATE": (UnreachableError, _LOGIN),
    "_SSL": (UnreachableError, _TLS),
    "TOPIC_AUTHORIZATION_FAILED": (UnreachableError, _RIGHTS),
    "GROUP_AUTHORIZATION_FAILED": (UnreachableError, _RIGHTS),
    "CLUSTER_AUTHORIZATION_FAILED": (UnreachableError, _RIGHTS),
    "_RESOLVE": (UnreachableError, "check the host's name in `stream`"),
    "NOT_ENOUGH_REPLICAS": (
        UnreachableError,
        "start the brokers that are down: fewer copies are in sync than min.insync.replicas asks",
    ),
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND": (
        UnreachableError,
        "start the brokers that are down, then publish again: what did land is known by its id",
    ),
    "UNKNOWN_TOPIC_OR_PART": (NotFoundError, "check the topic's name, or let us create it"),
    "UNKNOWN_TOPIC_ID": (NotFoundError, "check the topic's name, or let us create it"),
    "_UNKNOWN_TOPIC": (NotFoundError, "check the topic's name, or let us create it"),
    "MSG_SIZE_TOO_LARGE": (LimitError, "raise the topic's max.message.bytes"),
    "RECORD_LIST_TOO_LARGE": (LimitError, "raise the topic's segment.bytes"),
    "INVALID_RECORD": (
        ConfigError,
        "the topic refuses our records: its cleanup.policy may be compact, which needs a key",
    ),
    "INVALID_REPLICATION_FACTOR": (
        ConfigError,
        "set [streams.kafka] replication_factor to no more than the cluster has brokers",
    ),
    "INVALID_PARTITIONS": (ConfigError, "check [streams] partitions"),
    "INVALID_CONFIG": (ConfigError, "check what [streams.kafka] says of topics that we create"),
    "POLICY_VIOLATION": (ConfigError, "create the topic by hand, as the cluster's policy asks"),
    "TOPIC_EXCEPTION": (ConfigError, "name a topic of letters, digits, '.', '_' and '-'"),
    "_INVALID_ARG": (ConfigError, "check [streams.kafka]"),
    "_BAD_MSG": (CorruptLogError, "restore the partition from a sound replica"),
    "_BAD_COMPRESSION": (CorruptLogError, "restore the partition from a sound replica"),
}

#: After these nobody knows whether the record landed.
_UNKNOWN: Final = frozenset(
    {
        "_MSG_TIMED_OUT",
        "_PURGE_INFLIGHT",
        "_TIMED_OUT",
        "_TRANSPORT",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        "REQUEST_TIMED_OUT",
        "_FATAL",
    }
)

#: Leaders move, brokers restart: these pass by themselves.
_PASSING: Final = frozenset(
    {
        "COORDINATOR_LOAD_IN_PROGRESS",
        "COORDINATOR_NOT_AVAILABLE",
        "FENCED_LEADER_EPOCH",
        "KAFKA_STORAGE_ERROR",
        "LEADER_NOT_AVAILABLE",
        "NETWORK_EXCEPTION",
        "NOT_CONTROLLER",
        "NOT_LEADER_FOR_PARTITION",
        "OFFSET_NOT_AVAILABLE",  # a new leader does not know yet what is committed
        "REPLICA_NOT_AVAILABLE",
        "REQUEST_TIMED_OUT",
        "UNKNOWN_LEADER_EPOCH",
        "_NOENT",  # no leaders were found, right after connections broke
        "_TIMED_OUT",
        "_TRANSPORT",
    }
)

#: The broker knows no such topic.
MISSING: Final = frozenset({"UNKNOWN_TOPIC_OR_PART", "UNKNOWN_TOPIC_ID", "_UNKNOWN_TOPIC"})

#: What a client told longer ago is not why nothing answers now.
_RECENT_SECONDS: Final = 30.0

#: Trying again does not help against these: no need to wait for a time-out.
_HOPELESS: Final = frozenset({"_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED", "_SSL"})

#: The client's own addresses inside its messages: `[thrd:sasl_plaintext://127.0.0.1:1/boot]:`.
_THREAD: Final = re.compile(r"\[thrd:[^\]]*\]:?\s*|^FAIL\S*\s*")


def error_of(
    error: KafkaError, doing: str, servers: str, *, also: str | None = None
) -> TickerlakeError:
    """Our error for one of the library's.

    Args:
        error: What the library said.
        doing: A sentence that says what went wrong for the user.
        servers: The broker's addresses.
        also: What the client had said before, where this error alone says little.
    """
    class_, todo = _MEANINGS.get(error.name(), (UnreachableError, _REACH))
    found = f"{error.name()}: {_THREAD.sub('', error.str())}"
    return class_(doing, expected=f"an answer of {servers}", found=also or found, todo=todo)


def is_passing(error: KafkaError) -> bool:
    """Whether asking again in a moment may help."""
    return error.name() in _PASSING


def is_certain(error: KafkaError) -> bool:
    """Whether a record that met this error is certainly not in the log."""
    return error.name() not in _UNKNOWN


class Troubles:
    """What one client has told on the side: only there stands why nothing can be reached."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self._newest: tuple[KafkaError, float] | None = None
        self._hopeless: KafkaError | None = None

    def note(self, error: KafkaError) -> None:
        """The client's `error_cb`."""
        if error.name() in _HOPELESS:
            self._hopeless = error
        elif error.name() != "_ALL_BROKERS_DOWN":
            self._newest = error, clock.monotonic_seconds()

    @property
    def hopeless(self) -> bool:
        """Whether `check` would raise."""
        return self._hopeless is not None

    def check(self, doing: str) -> None:
        """Raise where waiting longer cannot help: a refused login, a certificate."""
        error, self._hopeless = self._hopeless, None  # the next call may find it mended
        if error is not None:
            raise error_of(error, doing, self.servers)

    def timed_out(self, doing: str, seconds: float) -> TickerlakeError:
        """The error for an answer that did not come in time."""
        self.check(doing)
        if self._newest is not None:
            error, told_at = self._newest
            if clock.monotonic_seconds() - told_at < seconds + _RECENT_SECONDS:
                return error_of(error, doing, self.servers)
        return UnreachableError(
            doing,
            expected=f"an answer of {self.servers} within {seconds:g} s",
            found="none",
            todo=_REACH,
        )


@contextlib.contextmanager
def translated(doing: str, troubles: Troubles) -> Iterator[None]:
    """Turn the library's exceptions into ours."""
    from confluent_kafka import KafkaException

    try:
        yield
    except KafkaException as error:
        found = error.args[0]
        if found.name() in {"_TRANSPORT", "_TIMED_OUT", "_ALL_BROKERS_DOWN"}:
            raise troubles.timed_out(doing, 0) from error
        raise error_of(found, doing, troubles.servers) from error
