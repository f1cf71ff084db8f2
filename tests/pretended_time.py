"""Tests that play at other days: what `TICKERLAKE_NOW` says, changed in the middle."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tickerlake import clock

#: Sets the clock to an instant such as 2024-03-06T16:00:00Z; it runs on from there.
Now = Callable[[str], None]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    """Sets the clock of this process and of those that it starts."""

    def set_now(text: str) -> None:
        monkeypatch.setenv("TICKERLAKE_NOW", text)
        clock._offset.cache_clear()

    return set_now
