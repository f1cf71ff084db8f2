"""A schema registry on loopback that speaks the part of Confluent's REST API that clients use.

An HTTP server in this process: clients, `confluent_kafka.schema_registry` among them, take it for
the real one. It keeps subjects in memory.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

from tickerlake.testing.services.compatibility import LEVELS, compatible
from tickerlake.testing.services.http_server import HttpServer

__all__ = ["SchemaRegistry"]

_KINDS: Final = ("AVRO", "JSON")
Json = dict[str, Any]


class SchemaRegistry(HttpServer):
    """One registry of Avro and JSON schemas. What was registered outlives a stop.

    Args:
        user: `name:password` that clients must show; None: anybody may come in.
        level: Compatibility of subjects that have no level of their own.
    """

    name = "schema-registry"

    def __init__(self, *, user: str | None = None, level: str = "BACKWARD") -> None:
        super().__init__(_Handler, registry=self)
        self.user = user
        #: How many requests came, so that tests see what a client remembers.
        self.requests = 0
        self._level = level
        self._levels: dict[str, str] = {}
        self._schemas: list[Json] = []  # an id is a place in it, plus one
        self._subjects: dict[str, dict[int, int]] = {}  # of each, ids by version
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, body: Json) -> tuple[int, object]:
        """Status and JSON for one request."""
        with self._lock:
            self.requests += 1
            for allowed, pattern, function in self._routes():
                found = re.fullmatch(pattern, path)
                if found and allowed == method:
                    try:
                        return 200, function(*map(urllib.parse.unquote, found.groups()), body)
                    except LookupError as refused:
                        status, answer = refused.args
                        return status, answer
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _routes(self) -> list[tuple[str, str, Callable[..., object]]]:
        subject = "/subjects/([^/]+)"
        return [
            ("GET", "/subjects", lambda _: sorted(self._subjects)),
            ("POST", subject, self._look_up),
            ("DELETE", subject, self._delete),
            ("GET", f"{subject}/versions", lambda name, _: list(self._versions(name))),
            ("POST", f"{subject}/versions", self._register),
            ("GET", rf"{subject}/versions/(-?\w+)", self._version),
            ("GET", "/schemas/types", lambda _: list(_KINDS)),
            ("GET", r"/schemas/ids/(\d+)", lambda number, _: self._schema(int(number))),
            ("GET", r"/schemas/ids/(\d+)/versions", self._places),
            ("GET", "/config", lambda _: {"compatibilityLevel": self._level}),
            ("GET", "/config/([^/]+)", self._level_of),
            ("PUT", "/config", self._set_level),
            ("PUT", "/config/([^/]+)", self._set_level_of),
            ("POST", rf"/compatibility{subject}/versions/(\w+)", self._judge),
            ("GET", "/mode", lambda _: {"mode": "READWRITE"}),
        ]

    def _register(self, subject: str, body: Json) -> Json:
        schema = _checked(body)
        ids = self._subjects.get(subject, {})
        known = [version for version, number in ids.items() if self._schemas[number - 1] == schema]
        if known:
            return self._described(subject, known[0])
        level = self._levels.get(subject, self._level)
        if not self._fits(level, schema, list(ids.values())):
            raise _refused(409, f"Schema being registered is incompatible, {subject}, {level}")
        if schema not in self._schemas:
            self._schemas.append(schema)
        version = max(ids, default=0) + 1
        self._subjects.setdefault(subject, {})[version] = self._schemas.index(schema) + 1
        return self._described(subject, version)

    def _look_up(self, subject: str, body: Json) -> Json:
        schema = _checked(body)
        for version, number in self._versions(subject).items():
            if self._schemas[number - 1] == schema:
                return self._described(subject, version)
        raise _refused(40403, "Schema not found")

    def _version(self, subject: str, asked: str, _: Json) -> Json:
        versions = self._versions(subject)
        version = max(versions) if asked in {"latest", "-1"} else int(asked)
        if version not in versions:
            raise _refused(40402, f"Version {asked} not found.")
        return self._described(subject, version)

    def _delete(self, subject: str, _: Json) -> list[int]:
        versions = list(self._versions(subject))
        del self._subjects[subject]
        return versions

    def _judge(self, subject: str, asked: str, body: Json) -> Json:
        against = self._version(subject, asked, {})["id"]
        level = self._levels.get(subject, self._level)
        return {"is_compatible": self._fits(level, _checked(body), [against])}

    def _places(self, number: str, _: Json) -> list[Json]:
        self._schema(int(number))
        return [
            {"subject": subject, "version": version}
            for subject, versions in self._subjects.items()
            for version, found in versions.items()
            if found == int(number)
        ]

    def _level_of(self, subject: str, _: Json) -> Json:
        if subject not in self._levels:
            raise _refused(40408, f"Subject '{subject}' does not have subject-level compatibility")
        return {"compatibilityLevel": self._levels[subject]}

    def _set_level(self, body: Json) -> Json:
        self._level = _level_in(body)
        return body

    def _set_level_of(self, subject: str, body: Json) -> Json:
        self._levels[subject] = _level_in(body)
        return body

    def _versions(self, subject: str) -> dict[int, int]:
        if subject not in self._subjects:
            raise _refused(40401, f"Subject '{subject}' not found.")
        return self._subjects[subject]

    def _schema(self, number: int) -> Json:
        if not 0 < number <= len(self._schemas):
            raise _refused(40403, f"Schema {number} not found")
        schema = self._schemas[number - 1]
        return {key: value for key, value in schema.items() if value not in ("AVRO", [])}

    def _described(self, subject: str, version: int) -> Json:
        number = self._subjects[subject][version]
        return {"subject": subject, "version": version, "id": number, **self._schema(number)}

    def _fits(self, level: str, schema: Json, earlier: list[int]) -> bool:
        old = [self._schemas[number - 1] for number in earlier]
        if any(other["schemaType"] != schema["schemaType"] for other in old):
            return level == "NONE"
        parsed = [json.loads(other["schema"]) for other in old]
        return compatible(level, schema["schemaType"], json.loads(schema["schema"]), parsed)


def _refused(code: int, message: str) -> LookupError:
    """What a client gets as `error_code` and `message`; the code begins with the status."""
    return LookupError(int(str(code)[:3]), {"error_code": code, "message": message})


def _checked(body: Json) -> Json:
    """Kind, text without insignificant space, references."""
    kind = body.get("schemaType", "AVRO")
    if kind not in _KINDS:
        raise _refused(42201, f"Invalid schema type {kind}")
    try:
        text = json.dumps(json.loads(body["schema"]), separators=(",", ":"))
    except (KeyError, ValueError):
        raise _refused(42201, "Invalid schema") from None
    return {"schemaType": kind, "schema": text, "references": body.get("references", [])}


def _level_in(body: Json) -> str:
    level = str(body.get("compatibility"))
    if level.removesuffix("_TRANSITIVE") not in LEVELS:
        raise _refused(42203, "Invalid compatibility level")
    return level


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a head and its body are two writes
    registry: SchemaRegistry

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status: int = 401
        found: object = {"error_code": 401, "message": "Unauthorized"}
        if self._known():
            path = self.path.split("?")[0]
            status, found = self.registry.answer(self.command, path, json.loads(body or b"{}"))
        payload = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_POST = do_PUT = do_DELETE = _any  # noqa: N815

    def _known(self) -> bool:
        if self.registry.user is None:
            return True
        shown = base64.b64encode(self.registry.user.encode()).decode()
        return self.headers.get("Authorization") == f"Basic {shown}"

    def log_message(self, *_: object) -> None:
        """Nothing: a test that fails says what it asked."""
