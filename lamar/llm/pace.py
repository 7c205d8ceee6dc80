"""A provider's limits per minute."""

from __future__ import annotations

import time


class Pace:
    """Lets `per_minute` units (requests, tokens) pass, evenly spaced, so that no minute has more; None: no limit."""

    def __init__(self, per_minute: int | None) -> None:
        """Start with nothing taken."""
        self._interval = 60 / per_minute if per_minute else 0.0
        self._free = 0.0

    def take(self, units: int = 1) -> float:
        """Take `units`; return how many seconds to wait before using them."""
        now = time.monotonic()
        begin = max(now, self._free)
        self._free = begin + units * self._interval
        return begin - now
