"""Profile of a step: number of tensor operations, and time of functions."""

from __future__ import annotations

import cProfile
import pstats
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from geofold.bench.common.records import table_of
from geofold.bench.latency.cases import BATCH, peptide_cases

PROFILED_CASES = ("peptide", f"peptide_batch{BATCH}")
PROFILED_STEPS, TABLE_ROWS = 60, 24
PACKAGE = Path(__file__).resolve().parents[2]


class OperationTypes(TorchDispatchMode):
    """Counts the tensor operations that reach torch's dispatcher, by type, inside a ``with`` block."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count the operation and run it."""
        self.calls[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def profile() -> str:
    """Make a Markdown page: operations per step, and time by function, for one row and for a batch."""
    parts = ["# Where the time of a step goes\n\nOne thread, eager torch; see `geofold/bench/latency/profile.py`.\n"]
    for case in peptide_cases():
        if case.name in PROFILED_CASES:
            parts.append(_section(case.name, case.note, case.step))
    return "\n".join(parts)


def _section(name: str, note: str, step: Callable[[], None]) -> str:
    for _ in range(PROFILED_STEPS):
        step()
    with OperationTypes() as counter:
        for _ in range(PROFILED_STEPS):
            step()
    calls = Counter({kind: number / PROFILED_STEPS for kind, number in counter.calls.items()})
    began = time.perf_counter()
    for _ in range(PROFILED_STEPS):
        step()
    plain = (time.perf_counter() - began) / PROFILED_STEPS
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(PROFILED_STEPS):
        step()
    profiler.disable()
    total = sum(calls.values())
    rows = [[kind, f"{number:.0f}"] for kind, number in calls.most_common(12)]
    table = table_of(["operation", "a step"], rows)
    return (
        f"## {name}\n\n{note}: {total:.0f} tensor operations a step, {1e3 * plain:.2f} ms a step, "
        f"{1e6 * plain / total:.1f} us an operation.\n\n{table}\n{_functions(profiler)}"
    )


def _functions(profiler: cProfile.Profile) -> str:
    """Table of geofold's functions by cumulative time; only the shares are meaningful under the profiler."""
    stats: Any = pstats.Stats(profiler)
    total_time = max(entry[3] for entry in stats.stats.values())
    functions = []
    for (file, _, function), (calls, _, _, cumulative, _) in stats.stats.items():
        if Path(file).is_relative_to(PACKAGE) and "bench" not in file:
            functions.append((cumulative, calls, f"{Path(file).relative_to(PACKAGE).as_posix()}:{function}"))
    rows = [
        [name, f"{calls / PROFILED_STEPS:g}", f"{100 * cumulative / total_time:.0f} %"]
        for cumulative, calls, name in sorted(functions, reverse=True)[:TABLE_ROWS]
    ]
    return table_of(["function (with all it calls)", "calls a step", "of the step"], rows)
