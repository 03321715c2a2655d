"""Where the time of a step goes: its tensor operations counted, its functions timed."""

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
from geofold.bench.latency.cases import BATCH, peptide_agents

AGENTS = ("peptide", f"peptide_batch{BATCH}")
STEPS, SHOWN = 60, 24
PACKAGE = Path(__file__).resolve().parents[2]


class Counted(TorchDispatchMode):
    """Counts the tensor operations that reach torch's dispatcher inside the block."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count, and go on."""
        self.calls[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def profile() -> str:
    """A page of Markdown: operations a step, and the functions that the time went to, alone and in a batch."""
    parts = ["# Where the time of a step goes\n\nOne thread, eager torch; see `geofold/bench/latency/profile.py`.\n"]
    for agent in peptide_agents():
        if agent.name in AGENTS:
            parts.append(_section(agent.name, agent.note, agent.step))
    return "\n".join(parts)


def _section(name: str, note: str, step: Callable[[], None]) -> str:
    for _ in range(STEPS):
        step()
    with Counted() as counted:
        for _ in range(STEPS):
            step()
    calls = Counter({kind: number / STEPS for kind, number in counted.calls.items()})
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    plain = (time.perf_counter() - began) / STEPS
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(STEPS):
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
    """Our own functions by cumulative time; the profiler itself makes all of them slower, so shares count."""
    stats: Any = pstats.Stats(profiler)
    whole = max(entry[3] for entry in stats.stats.values())
    found = []
    for (file, _, function), (calls, _, _, cumulative, _) in stats.stats.items():
        if Path(file).is_relative_to(PACKAGE) and "bench" not in file:
            found.append((cumulative, calls, f"{Path(file).relative_to(PACKAGE).as_posix()}:{function}"))
    rows = [[name, f"{calls / STEPS:g}", f"{100 * cumulative / whole:.0f} %"] for cumulative, calls, name
            in sorted(found, reverse=True)[:SHOWN]]  # fmt: skip
    return table_of(["function (with all it calls)", "calls a step", "of the step"], rows)
