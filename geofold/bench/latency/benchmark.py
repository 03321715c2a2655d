"""The latency benchmark: what a step costs, beside an OpenMM evaluation, by the size of the protein, over long streams.

Everything runs on one thread in one process. Agents take turns in blocks, so that a noisy machine treats all of
them alike; quote the ratios.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.progress import track

from geofold.bench.common.records import table_of, write_summary
from geofold.bench.latency.cases import BATCH, COPIES, Agent, long_stream, loop_agents, peptide_agents
from geofold.bench.latency.profile import profile
from geofold.files import write_all

BLOCK, WARM_UP, WINDOW = 20, 20, 1000
BLOCKS, QUICK_BLOCKS = 75, 10
STREAM, QUICK_STREAM = 100_000, 5_000


def run(out: str, *, quick: bool, limit: int | None) -> None:
    """Time all agents, then the long stream, then profile a step.

    Parameters
    ----------
    limit : int or None
        Length of the long stream, instead of the usual one.
    """
    began = time.time()
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    agents = [*peptide_agents(), *loop_agents()]
    take_turns(agents, QUICK_BLOCKS if quick else BLOCKS)
    metrics = _ratios(agents)
    length = limit or (QUICK_STREAM if quick else STREAM)
    stream, numbers = _stream(length)
    metrics |= numbers
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{a.name: np.array(a.times) for a in (*agents, stream)})
    write_all({str(folder / "times.npz"): buffer.getvalue(), str(folder / "profile.md"): profile().encode()})
    table = _table([*agents, stream])
    write_summary(folder, metrics, quick=quick or limit is not None, began=began, table=table, note="latency, ms")


def take_turns(agents: Sequence[Agent], blocks: int) -> None:
    """Blocks of steps of one agent after the other, after a warm-up."""
    for agent in agents:
        agent.block(WARM_UP // agent.share, keep=False)
    for _ in track(range(blocks), description="steps in turn"):
        for agent in agents:
            agent.block(max(BLOCK // agent.share, 1))


def _ratios(agents: Sequence[Agent]) -> dict[str, float]:
    """What the floors speak of, and each agent's own milliseconds."""
    times = {agent.name: np.array(agent.times) for agent in agents}
    mean = {name: float(t.mean()) for name, t in times.items()}
    small, large = f"loop_{min(COPIES)}", f"loop_{max(COPIES)}"
    metrics = {
        "peptide_step_over_openmm": mean["peptide"] / mean["openmm"],
        "peptide_step_over_openmm_p50": float(np.median(times["peptide"]) / np.median(times["openmm"])),
        "peptide_p99_over_mean": float(np.percentile(times["peptide"], 99) / mean["peptide"]),
        f"loop_step_{max(COPIES)}_over_{min(COPIES)}": mean[large] / mean[small],
        "loop_p99_over_mean": float(np.percentile(times[small], 99) / mean[small]),
        f"batch{BATCH}_speedup": BATCH * mean["peptide"] / mean[f"peptide_batch{BATCH}"],
    }
    for name, t in times.items():
        metrics |= {f"{name}.mean": mean[name], f"{name}.p50": float(np.median(t))}
        metrics[f"{name}.p99"] = float(np.percentile(t, 99))
    return metrics


def _stream(length: int) -> tuple[Agent, dict[str, float]]:
    """The long stream: its first and last steps, its memory, and it beside a fresh one at the end."""
    old = long_stream()
    window = min(WINDOW, length // 3)
    old.block(WARM_UP, keep=False)
    old.block(window)
    resident = resident_mb()
    for _ in track(range((length - window) // BLOCK), description=f"a stream of {length} steps"):
        old.block(BLOCK)
    times, grown = np.array(old.times), resident_mb() - resident
    fresh, aged = long_stream(), Agent("aged", old.step, "")
    take_turns([aged, fresh], max(window // BLOCK, 1))
    return old, {
        "stream_steps": length,
        "stream_last_over_first": float(np.median(times[-window:]) / np.median(times[:window])),
        "stream_old_over_new": float(np.median(aged.times) / np.median(fresh.times)),
        "stream_memory_growth_mb": grown,
    }


def resident_mb() -> float:
    """Memory that this process holds now (MB); where Linux does not tell, the most it ever held."""
    try:
        import resource

        statm = Path("/proc/self/statm").read_text(encoding="ascii").split()
        return int(statm[1]) * resource.getpagesize() / 1e6
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / 1e6 if sys.platform == "darwin" else most / 1e3


def _table(agents: Sequence[Agent]) -> str:
    base = float(np.mean(agents[0].times))
    rows = []
    for agent in agents:
        t = np.array(agent.times)
        row = [
            agent.name,
            agent.note,
            str(len(t)),
            f"{t.mean():.2f}",
            *(f"{np.percentile(t, p):.2f}" for p in (50, 99)),
        ]
        rows.append([*row, f"{t.mean() / base:.2f}"])
    return table_of(["agent", "what", "steps", "mean ms", "p50 ms", "p99 ms", "mean over openmm's"], rows)
