"""Log lines on stderr: words for people, or one JSON object a line.

All goes through Python's own `logging`, under the name `tickerlake`, so whoever uses us as a
library configures it as usual, and what other libraries log comes out in the same form.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, date
from typing import Any, Final

from tickerlake import clock
from tickerlake.errors import without_secrets
from tickerlake.observe.settings import LogSettings

__all__ = ["log", "set_up_log", "tell"]

#: The one logger of ours: whoever has something to tell says it here.
log: Final = logging.getLogger("tickerlake")


def tell(level: int, event: str, text: str, fields: Mapping[str, Any] | None = None) -> None:
    """One line: `event` and `fields` are what programs read, `text` what people do."""
    log.log(level, "%s", text, extra={"event": event, "fields": dict(fields or {})})


def set_up_log(settings: LogSettings) -> None:
    """Let this process tell what it does on stderr. For programs, not for libraries.

    Other libraries are heard from warnings on.
    """
    handler = _Stderr()
    handler.setFormatter(_Json() if settings.format == "json" else _Text())
    log.setLevel(settings.level.upper())
    logging.basicConfig(level=max(log.level, logging.WARNING), handlers=[handler], force=True)


class _Stderr(logging.Handler):
    """Whatever stderr is when a line is written."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)  # noqa: T201 - the log itself
        except BrokenPipeError:
            raise
        except Exception:  # noqa: BLE001 - as `logging` demands: a line that fails stops no work
            self.handleError(record)


class _Text(logging.Formatter):
    """A line as it was said; warnings and errors begin with the word."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.name.partition(".")[0] != log.name:
            text = f"{record.name}: {text}"
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        return without_secrets(text)


class _Json(logging.Formatter):
    """One object a line: `ts` (the machine's clock, UTC), `level`, `event`, `message`, fields."""

    def format(self, record: logging.LogRecord) -> str:
        now = clock.real_now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {
            "ts": now,
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "log"),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(_plain(line), ensure_ascii=False)


def _plain(value: object) -> object:
    """What JSON can hold, without secrets."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        # JSON knows no NaN and no infinity.
        return value if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {without_secrets(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    if isinstance(value, date):
        tz = getattr(value, "tzinfo", None)
        return (value.astimezone(UTC) if tz else value).isoformat()  # type: ignore[attr-defined]
    return without_secrets(str(value))
