"""Time limit of a run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

SEARCH_SHARE = 0.6
"""Share of the limit after which no further restart of a search begins."""


@dataclass(frozen=True)
class TimeBudget:
    """A limit in seconds, counted from the creation of the object; without one, it is never exhausted."""

    seconds: float | None = None
    began: float = field(default_factory=time.perf_counter)

    def exhausted(self, share: float = 1.0) -> bool:
        """Whether this share of the limit has passed."""
        return self.seconds is not None and time.perf_counter() - self.began >= share * self.seconds

    @property
    def remaining(self) -> float | None:
        """Seconds left; None without a limit."""
        return None if self.seconds is None else self.seconds - (time.perf_counter() - self.began)
