"""The latency benchmark: cost of a step relative to an OpenMM evaluation, by protein size, and over long streams.

Everything runs on one thread in one process. Cases are interleaved in blocks of steps, so that other load affects all
of them alike; quote ratios.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.progress import track

from geofold.bench.common.records import table_of, write_summary
from geofold.bench.common.timing import resident_mb
from geofold.bench.latency.cases import BATCH, COPIES, TimedCase, long_stream, loop_cases, peptide_cases
from geofold.bench.latency.commands import measure_commands
from geofold.bench.latency.profile import profile
from geofold.files import write_all

STEPS_PER_BLOCK, WARM_UP_STEPS, WINDOW_STEPS = 20, 20, 1000
BLOCKS, QUICK_BLOCKS = 75, 10
STREAM, QUICK_STREAM = 100_000, 5_000


def run(out: str, *, quick: bool, limit: int | None) -> None:
    """Time all cases, then the long stream, then profile a step.

    Parameters
    ----------
    out : str
        Folder of times, profile, table and summary.
    quick : bool
        Time fewer blocks and a shorter stream.
    limit : int or None
        Length of the long stream.
    """
    began = time.time()
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    cases = [*peptide_cases(), *loop_cases()]
    interleave(cases, QUICK_BLOCKS if quick else BLOCKS)
    metrics = _summarise_times(cases)
    length = limit or (QUICK_STREAM if quick else STREAM)
    stream, numbers = _time_stream(length)
    metrics |= numbers | measure_commands()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{a.name: np.array(a.times) for a in (*cases, stream)})
    write_all({str(folder / "times.npz"): buffer.getvalue(), str(folder / "profile.md"): profile().encode()})
    table = _table([*cases, stream])
    write_summary(folder, metrics, quick=quick or limit is not None, began=began, table=table, note="latency, ms")


def interleave(cases: Sequence[TimedCase], blocks: int) -> None:
    """Time blocks of steps of each case in rotation, after a warm-up."""
    for case in cases:
        case.block(WARM_UP_STEPS // case.share, keep=False)
    for _ in track(range(blocks), description="interleaved steps"):
        for case in cases:
            case.block(max(STEPS_PER_BLOCK // case.share, 1))


def _summarise_times(cases: Sequence[TimedCase]) -> dict[str, float]:
    """Ratios of mean times, and mean and percentiles (ms) of each case."""
    times = {case.name: np.array(case.times) for case in cases}
    mean = {name: float(t.mean()) for name, t in times.items()}
    small = f"loop_{min(COPIES)}"
    larger = [name for name in mean if name.removeprefix("loop_").isdigit() and name != small]
    metrics = {
        "peptide_step_over_openmm": mean["peptide"] / mean["openmm"],
        "peptide_step_over_openmm_p50": float(np.median(times["peptide"]) / np.median(times["openmm"])),
        "peptide_p99_over_mean": float(np.percentile(times["peptide"], 99) / mean["peptide"]),
        "peptide_shipped_over_openmm": mean["peptide_shipped"] / mean["openmm"],
        "peptide_shipped_plain_over_openmm": mean["peptide_shipped_plain"] / mean["openmm"],
        "peptide_shipped_p99_over_mean": float(np.percentile(times["peptide_shipped"], 99) / mean["peptide_shipped"]),
        "loop_shipped_over_openmm": mean["loop_shipped"] / mean["openmm"],
        "loop_p99_over_mean": float(np.percentile(times[small], 99) / mean[small]),
        f"batch{BATCH}_speedup": BATCH * mean["peptide"] / mean[f"peptide_batch{BATCH}"],
    }
    metrics |= {f"{name.replace('_', '_step_')}_over_{min(COPIES)}": mean[name] / mean[small] for name in larger}
    for name, t in times.items():
        metrics |= {f"{name}.mean": mean[name], f"{name}.p50": float(np.median(t))}
        metrics[f"{name}.p99"] = float(np.percentile(t, 99))
    return metrics


def _time_stream(length: int) -> tuple[TimedCase, dict[str, float]]:
    """Time the long stream: its last steps relative to its first and to a new stream, and the growth of memory."""
    aged_case = long_stream()
    window = min(WINDOW_STEPS, length // 3)
    aged_case.block(WARM_UP_STEPS, keep=False)
    aged_case.block(window)
    resident = resident_mb()
    for _ in track(range((length - window) // STEPS_PER_BLOCK), description=f"a stream of {length} steps"):
        aged_case.block(STEPS_PER_BLOCK)
    times, growth = np.array(aged_case.times), resident_mb() - resident
    fresh, aged = long_stream(), TimedCase("aged", aged_case.step, "")
    interleave([aged, fresh], max(window // STEPS_PER_BLOCK, 1))
    return aged_case, {
        "stream_steps": length,
        "stream_last_over_first": float(np.median(times[-window:]) / np.median(times[:window])),
        "stream_old_over_new": float(np.median(aged.times) / np.median(fresh.times)),
        "stream_memory_growth_mb": growth,
    }


def _table(cases: Sequence[TimedCase]) -> str:
    base = float(np.mean(cases[0].times))
    rows = []
    for case in cases:
        t = np.array(case.times)
        row = [
            case.name,
            case.note,
            str(len(t)),
            f"{t.mean():.2f}",
            *(f"{np.percentile(t, p):.2f}" for p in (50, 99)),
        ]
        rows.append([*row, f"{t.mean() / base:.2f}"])
    return table_of(["agent", "what", "steps", "mean ms", "p50 ms", "p99 ms", "mean over openmm's"], rows)
