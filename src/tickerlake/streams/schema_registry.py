"""The schema registry, as Confluent's and those that speak like it: schemas by id.

Promise: a registry that cannot be reached is an `UnreachableError`, never an answer. Whoever reads
tries again; no sound record is taken for a bad one meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from operator import methodcaller
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tickerlake.errors import ConfigError, MissingExtraError, UnreachableError
from tickerlake.streams.settings import SchemaRegistrySettings

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

__all__ = ["RegisteredSchema", "SchemaRegistry"]

T = TypeVar("T")

#: What it answers where it has no such subject, version or schema. Another 404 is no registry's.
_UNKNOWN: Final = (40401, 40402, 40403)
_LATER: Final = (408, 429)
_SERVER_ERROR: Final = 500
_EXPECTED: Final = {
    401: "a user and password that it knows",
    403: "a user who may read schemas, and register ours",
    409: "a subject of our own, or one whose compatibility allows our schema",
}


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema: `AVRO`, `JSON` or another type, its text, and the texts that it refers to."""

    type: str
    text: str
    references: tuple[str, ...] = ()


class SchemaRegistry:
    """Asks once for each schema. Safe to share between threads."""

    def __init__(self, settings: SchemaRegistrySettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._schemas: dict[int, RegisteredSchema] = {}
        self._ids: dict[tuple[str, str], int] = {}

    @property
    def url(self) -> str:
        """Where it is."""
        return str(self._settings.url)

    def schema(self, number: int) -> RegisteredSchema | None:
        """The schema of that id; null if the registry has none, which is asked again next time.

        Raises:
            UnreachableError: It did not answer.
            ConfigError: It does not let us in.
        """
        with self._lock:
            if number not in self._schemas:
                found = self._asked(lambda client: client.get_schema(number))
                if found is None:
                    return None
                self._schemas[number] = self._resolved(found)
            return self._schemas[number]

    def id_of(self, subject: str, type_: str, text: str) -> int:
        """The id of our own schema under a subject.

        Raises:
            UnreachableError: It did not answer.
            ConfigError: It does not let us in, does not have the schema although we may not
                register it, or finds it incompatible with the subject's earlier ones.
        """
        schema = _library().Schema(text, type_)
        with self._lock:
            key = (subject, text)
            if key not in self._ids:
                if self._settings.register:
                    found = self._asked(lambda client: client.register_schema(subject, schema))
                else:
                    known = self._asked(lambda client: client.lookup_schema(subject, schema))
                    found = None if known is None else known.schema_id
                if found is None:
                    raise ConfigError(
                        f"The schema registry has no such schema under {subject}.",
                        expected="the schema of our records, as docs/formats.md shows it",
                        todo="register it, or set register = true in [streams.schema_registry]",
                    )
                self._ids[key] = found
            return self._ids[key]

    def _resolved(self, schema: Schema) -> RegisteredSchema:
        texts = []
        for reference in schema.references or []:
            subject, version = str(reference.subject), int(reference.version or -1)
            inner = self._asked(methodcaller("get_version", subject, version))
            if inner is not None and inner.schema is not None:
                resolved = self._resolved(inner.schema)
                texts.extend([*resolved.references, resolved.text])
        type_ = str(schema.schema_type or "AVRO")
        return RegisteredSchema(type_, str(schema.schema_str), tuple(texts))

    def _asked(self, question: Callable[[SchemaRegistryClient], T]) -> T | None:
        """Its answer; null where it knows nothing of the kind."""
        library = _library()
        try:
            # Questions are few: no connection is kept between them.
            with library.SchemaRegistryClient(self._config()) as client:
                return question(client)
        except library.SchemaRegistryError as error:
            if error.error_code in _UNKNOWN:
                return None
            if error.http_status_code in _LATER or error.http_status_code >= _SERVER_ERROR:
                raise self._unreachable(error) from error
            raise ConfigError(
                "The schema registry refuses what we ask.",
                expected=_EXPECTED.get(error.http_status_code, "the REST API of a schema registry"),
                found=f"{self.url}: {error}",
                todo="look at [streams.schema_registry]; nothing was lost",
            ) from error
        except Exception as error:
            # Which HTTP library the client uses is its own affair, and so are that one's errors.
            raise self._unreachable(error) from error

    def _config(self) -> dict[str, Any]:
        settings = self._settings
        config: dict[str, Any] = {
            "url": self.url,
            "timeout": settings.timeout_seconds,
            # Whoever reads or publishes tries again; a long wait in here helps nobody.
            "max.retries": 1,
            "retries.wait.ms": 100,
        }
        if settings.user is not None:
            config["basic.auth.user.info"] = f"{settings.user}:{settings.password or ''}"
        return config

    def _unreachable(self, error: Exception) -> UnreachableError:
        return UnreachableError(
            "The schema registry does not answer.",
            expected="the schemas of the records",
            found=f"{self.url}: {error}",
            todo="start it, or mend url in [streams.schema_registry]; nothing was lost",
        )


def _library() -> ModuleType:
    try:
        from confluent_kafka import schema_registry
    except ImportError as error:
        raise MissingExtraError(
            "Records of the wires avro and json_schema need another package.",
            found=str(error),
            todo="pip install 'tickerlake[registry]'",
        ) from error
    return schema_registry
