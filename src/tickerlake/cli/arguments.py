"""Types of arguments, and the way from arguments to an open workspace."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from datetime import date, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tickerlake import clock
from tickerlake.errors import RangeError, UsageError

if TYPE_CHECKING:
    from tickerlake.app import Workspace
    from tickerlake.cli.output import Output
    from tickerlake.config import Config
    from tickerlake.observe import LogSettings
    from tickerlake.records import Kind

__all__ = [
    "add_address",
    "add_range",
    "address_flags",
    "day_or_instant",
    "duration_seconds",
    "global_settings",
    "instant",
    "kinds_of",
    "log_asked_for",
    "open_workspace",
    "port_number",
    "positive",
    "read_config",
    "source_name",
]

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_LIVE: tuple[Kind, ...] = ("trade", "quote", "bar", "price_band")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def source_name(text: str) -> str:
    """A source by the name that it has now."""
    from tickerlake.sources.registry import current_name

    return current_name(text)


def day_or_instant(text: str) -> date | datetime:
    """A session date, or an instant with its zone.

    Raises:
        RangeError: Neither; or an instant without a zone.
    """
    if _DAY.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError as error:
            raise RangeError(
                f"There is no day {text}.", expected="a date such as 2013-02-28", found=str(error)
            ) from error
    return clock.parse_instant(text)


def instant(text: str) -> datetime:
    """An instant with its zone."""
    return clock.parse_instant(text)


def duration_seconds(text: str) -> float:
    """A span such as 500ms, 0.8s or 2m, in seconds."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise UsageError(
            f"The span {text!r} is not understood.",
            expected="a number above 0 and its unit: ms, s, m, h or d, such as 0.8s",
            found=text,
        )
    return float(match[1]) * _UNIT_SECONDS[match[2]]


def kinds_of(text: str) -> tuple[Kind, ...]:
    """Kinds of records that come live, between commas; one or many: trade, trades."""
    wanted = [word.strip() for word in text.split(",") if word.strip()]
    kinds = {word: kind for kind in _LIVE for word in (kind, f"{kind}s")}
    unknown = [word for word in wanted if word not in kinds]
    if unknown or not wanted:
        raise UsageError(
            f"{text!r} are no kinds of live records.",
            expected=f"{', '.join(_LIVE)}, with commas between",
            found=text,
        )
    return tuple(dict.fromkeys(kinds[word] for word in wanted))


def positive(text: str) -> int:
    """A whole number above zero."""
    if not text.isdecimal() or int(text) == 0:
        raise UsageError(f"{text!r} is not a count.", expected="a whole number above 0")
    return int(text)


def add_range(parser: argparse.ArgumentParser) -> None:
    """`--start`, `--end` and `--interval`, alike in every verb that asks a source."""
    parser.add_argument("--interval", metavar="I", help="length of a bar (default: 1d)")
    parser.add_argument(
        "--start",
        metavar="WHEN",
        type=day_or_instant,
        help="first session date, or an instant with its zone",
    )
    parser.add_argument(
        "--end",
        metavar="WHEN",
        type=day_or_instant,
        help="last session date (included), or an instant with its zone (excluded)",
    )


def add_address(parser: argparse.ArgumentParser) -> None:
    """`--host`, `--port` and what another host than loopback needs."""
    parser.add_argument("--port", metavar="N", type=port_number, help="0 takes any free one")
    parser.add_argument(
        "--host", metavar="ADDRESS", help="address to listen on (default: loopback)"
    )
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        default=None,
        help="listen on an address that other machines can reach; needs a token",
    )
    parser.add_argument(
        "--token", metavar="TEXT", help="what readers must show; better: TICKERLAKE_WEB_TOKEN"
    )


def address_flags(arguments: argparse.Namespace) -> dict[str, Any]:
    """What `add_address` added, as settings."""
    names = ("port", "host", "allow_remote", "token")
    return {f"web.{name}": getattr(arguments, name) for name in names}


def port_number(text: str) -> int:
    """A port to listen on; 0 is any free one."""
    if not text.isdecimal() or int(text) > 65535:
        raise UsageError(f"{text!r} is no port.", expected="0 to 65535")
    return int(text)


def global_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the flags of every verb say, by the settings' dotted names."""
    top = ("stream", "lake", "catalog", "engine")
    log = {f"log.{name}": getattr(arguments, f"log_{name}") for name in ("format", "level")}
    return {name: getattr(arguments, name) for name in top} | log


def log_asked_for(words: Sequence[str]) -> LogSettings:
    """The log as words and variables ask for it, before any file is read.

    What neither text nor level is will be refused in its place.
    """
    from tickerlake.observe import LogSettings

    known = {"format": ("text", "json"), "level": ("debug", "info", "warning", "error")}
    said: dict[str, Any] = {}
    for name, choices in known.items():
        flag = f"--log-{name}"
        found = [os.environ.get(f"TICKERLAKE_LOG_{name.upper()}", "")]
        found += [after for word, after in pairwise([*words, ""]) if word == flag]
        found += [word.partition("=")[2] for word in words if word.startswith(f"{flag}=")]
        right = [text for text in found if text in choices]
        said |= {name: right[-1]} if right else {}
    return LogSettings(**said)


def open_workspace(
    arguments: argparse.Namespace, output: Output, flags: dict[str, Any] | None = None
) -> Workspace:
    """The workspace that the arguments name; `flags` are further settings by dotted name."""
    from tickerlake import app

    workspace = app.open(arguments.workspace, settings=global_settings(arguments) | (flags or {}))
    output.log_as(workspace.config.settings.log)
    for text in workspace.config.warnings:
        output.warning(text)
    return workspace


def read_config(arguments: argparse.Namespace, output: Output) -> Config:
    """The settings alone; outside a workspace those of defaults, environment and flags."""
    from tickerlake import config
    from tickerlake.errors import ConfigError

    try:
        folder = config.find_workspace(arguments.workspace)
    except ConfigError:
        if arguments.workspace is not None:
            raise
        folder = None
    loaded = config.load(folder, flags=global_settings(arguments))
    output.log_as(loaded.settings.log)
    for text in loaded.warnings:
        output.warning(text)
    return loaded
