"""What can go wrong between a provider and us, to be ordered of a `provider_server`.

Each turns the healthy answer of a request into a bad one. Those of the wire and of HTTP are here;
what a provider says wrongly in its own words is for its own tests.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from email.utils import format_datetime
from typing import Final, Literal

from tickerlake import clock
from tickerlake.testing.provider import Fault, ProviderAnswer

__all__ = [
    "CONSENT_PAGE",
    "answers",
    "bodies",
    "circle",
    "clock_off",
    "drip",
    "elsewhere",
    "huge",
    "reset",
    "too_many",
    "truncated",
    "wrong_type",
]

CONSENT_PAGE: Final = (
    "<!DOCTYPE html><html><head><title>Before you continue</title></head>"
    '<body><form method="post"><button name="agree">Accept all</button></form></body></html>'
)


def answers(status: int, body: object = "", **headers: str) -> Fault:
    """Another answer altogether; `_` in a header's name stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _request, _healthy: ProviderAnswer(body, status, named)


def too_many(retry_after: str | None = None, status: int = 429) -> Fault:
    """Come back later, and when."""
    named = {} if retry_after is None else {"retry_after": retry_after}
    return answers(status, "Too Many Requests", content_type="text/plain", **named)


def reset(when: Literal["before", "within", "after"]) -> Fault:
    """The connection is reset before, within or right after the body."""
    return lambda _request, healthy: dataclasses.replace(healthy, reset=when)


def truncated(share: float = 0.5) -> Fault:
    """The body ends early, and its length says that this is all."""

    def cut(_request: object, healthy: ProviderAnswer) -> ProviderAnswer:
        payload = healthy.payload
        return dataclasses.replace(healthy, body=payload[: int(len(payload) * share)])

    return cut


def wrong_type(content_type: str = "text/html; charset=utf-8") -> Fault:
    """The right body under a wrong name."""

    def renamed(_request: object, healthy: ProviderAnswer) -> ProviderAnswer:
        return dataclasses.replace(
            healthy, headers={**healthy.headers, "content-type": content_type}
        )

    return renamed


def bodies(body: object, content_type: str = "application/json") -> Fault:
    """HTTP 200 with something else, such as `CONSENT_PAGE`, or nothing."""
    return answers(200, body, content_type=content_type)


def clock_off(by: timedelta) -> Fault:
    """The Date header is off."""

    def dated(_request: object, healthy: ProviderAnswer) -> ProviderAnswer:
        date = format_datetime(clock.real_now() + by, usegmt=True)
        return dataclasses.replace(healthy, headers={**healthy.headers, "date": date})

    return dated


def drip(seconds: float) -> Fault:
    """The body comes byte by byte, with a pause before each."""
    return lambda _request, healthy: dataclasses.replace(healthy, drip_seconds=seconds)


def circle() -> Fault:
    """A redirect to the very address that was asked for."""
    return answers(302, location="?again=1")


def elsewhere(url: str) -> Fault:
    """A redirect to another place."""
    return answers(302, location=url)


def huge(size_bytes: int = 100_000_000) -> Fault:
    """A body that does not end for so long, and does not say how long it will be."""
    piece = b" " * 65_536
    return lambda _request, healthy: dataclasses.replace(
        healthy, body=piece, repeat=-(-size_bytes // len(piece))
    )
