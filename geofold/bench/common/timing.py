"""Wall-clock and CPU time of a block of code, child processes included."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def timer() -> Iterator[dict[str, float]]:
    """Measure a block: a dictionary that has `seconds` and `cpu_seconds` after it."""
    timing: dict[str, float] = {}
    began, cpu_before = time.perf_counter(), sum(os.times()[:4])
    yield timing
    timing |= {"seconds": time.perf_counter() - began, "cpu_seconds": sum(os.times()[:4]) - cpu_before}
