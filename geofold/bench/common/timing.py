"""Wall-clock and CPU time of a block of code, child processes included; memory of the process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def timer() -> Iterator[dict[str, float]]:
    """Measure a block: a dictionary that has `seconds` and `cpu_seconds` after it."""
    timing: dict[str, float] = {}
    began, cpu_before = time.perf_counter(), sum(os.times()[:4])
    yield timing
    timing |= {"seconds": time.perf_counter() - began, "cpu_seconds": sum(os.times()[:4]) - cpu_before}


def resident_mb() -> float:
    """Resident memory of this process (MB); without /proc, its maximum so far."""
    try:
        import resource

        statm = Path("/proc/self/statm").read_text(encoding="ascii").split()
        return int(statm[1]) * resource.getpagesize() / 1e6
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / 1e6 if sys.platform == "darwin" else most / 1e3
