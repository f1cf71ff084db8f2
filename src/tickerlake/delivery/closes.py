"""Whether an exchange has closed since the last look: what waits is then committed."""

from __future__ import annotations

from datetime import datetime, timedelta

from tickerlake import clock
from tickerlake.delivery.settings import DeliverySettings

__all__ = ["SessionCloses"]

#: Buffers that wait no longer than this need no closes (and calendars cost a second to load).
_AGE_SECONDS = 60.0


class SessionCloses:
    """Closes of some exchanges on the story's clock. Not shared between threads."""

    def __init__(self, settings: DeliverySettings) -> None:
        names = settings.flush_at_closes.split(",")
        wanted = settings.flush_seconds > _AGE_SECONDS
        self._calendars = [name.strip() for name in names if name.strip()] if wanted else []
        self._next: datetime | None = None

    def passed(self) -> bool:
        """True once after each close."""
        if not self._calendars:
            return False
        now = clock.now()
        if self._next is not None and now < self._next:
            return False
        first_look = self._next is None
        self._next = self._following(now)
        return not first_look

    def _following(self, now: datetime) -> datetime:
        from tickerlake.calendars import sessions

        # A week holds a session of every exchange but in the longest holidays: look again then.
        horizon = now + timedelta(days=7)
        closes = [
            session.close
            for name in self._calendars
            for session in sessions(name, now.date() - timedelta(days=1), horizon.date())
        ]
        return min((close for close in closes if close > now), default=horizon)
