"""Compute against difficulty, and depth along the hidden trajectory of the predictor (ESM, Figures 1 and 2).

The difficulty of a step is what the predictor alone loses in its square on the oracle's shortest path, so it uses
nothing that a gate reads. Steps in squares that the predictor alone never visited are left out.

Glossary: ``T`` steps made, ``H`` numbers of the predictor's state.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_leaves

from geofold.bench.common.records import Records, gather, table_of, write_summary
from geofold.bench.common.statistics import mean_and_half_width
from geofold.bench.maze.agents.registry import agent_named, require_predictors
from geofold.bench.maze.benchmark import MAZE, TARGETS_PER_WORLD, TEST_WORLDS, TUNING_WORLDS
from geofold.bench.maze.corridors import count_operations
from geofold.bench.maze.hotspots import ELASTIC, PREDICTOR, SQUARES_PER_SIDE, lost_by_square
from geofold.core.state import ControllerState, StepInfo
from geofold.files import write_atomically
from geofold.maze.episode import StepController, run_episode
from geofold.maze.episode_log import EpisodeRecord
from geofold.maze.worlds.world import make_world

EPISODES, QUICK_EPISODES = 48, 2
BINS = 5
"""Classes of difficulty with equally many steps."""
CONSTANT = ("transformer", PREDICTOR, "ssm_attention")
"""Agents whose steps all cost the same."""
SHIPPED = ELASTIC[0]
WORKERS = 2
Numbers = dict[str, Any]


@dataclass
class StateRecorder:
    """A controller that remembers the state of its predictor and its depth at every step.

    Attributes
    ----------
    controller : StepController
    states : list of (H,)
    depths : list of int
    """

    controller: StepController
    states: list[np.ndarray] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)

    def init(self, domain: Any, state: Any) -> ControllerState:
        """State before the first step."""
        return self.controller.init(domain, state)

    def step(self, domain: Any, state: ControllerState, goal: Any) -> tuple[ControllerState, StepInfo]:
        """Make one step."""
        after, info = self.controller.step(domain, state, goal)
        parts = [
            part[0].flatten() for part in tree_leaves(after.memory) if isinstance(part, torch.Tensor) and part.dim()
        ]
        self.states.append(torch.cat([part.double() for part in parts]).numpy())
        self.depths.append(int(info.inner_steps[0]))
        return after, info


def run(out: str, *, quick: bool, limit: int | None) -> None:
    """Run what is not in the records yet, then write table, picture and summary.

    Parameters
    ----------
    out : str
        Folder of the records.
    quick : bool
        Run two episodes.
    limit : int or None
        Number of episodes. A quick or limited run takes the tuning worlds.

    Raises
    ------
    OptionError
        If the weights of a predictor are missing.
    """
    require_predictors()
    began, records = time.time(), Records(out)
    tuning = quick or limit is not None
    base = TUNING_WORLDS if tuning else TEST_WORLDS
    worlds = [base + number for number in range(limit or (QUICK_EPISODES if quick else EPISODES))]
    jobs = [(world,) for world in worlds if not records.has(str(world), SHIPPED)]
    gather(records, "compute against difficulty", run_world, jobs, WORKERS)
    costs = count_costs()
    metrics = summarise([row for row in records.of(SHIPPED) if int(row["episode"]) in worlds], costs)
    note = f"compute against difficulty in corridors, {'tuning' if tuning else 'test'} worlds"
    write_summary(records.folder, metrics, quick=tuning, began=began, table=_table(metrics), note=note)
    draw(records, metrics, base)


def run_world(world: int) -> list[tuple[str, str, Numbers]]:
    """Difficulty and depth of the steps of the agent that ships, in one world."""
    maze = make_world(world, MAZE, targets=TARGETS_PER_WORLD)
    unassisted, elastic = (
        run_episode(maze, agent_named(name).parts(), with_features=True) for name in (PREDICTOR, SHIPPED)
    )
    difficulty = difficulty_of(elastic, unassisted)
    known = np.isfinite(difficulty)
    return [
        (
            str(world),
            SHIPPED,
            {"difficulty": np.round(difficulty[known], 4).tolist(), "inner": elastic.inner[known].tolist()},
        )
    ]


def difficulty_of(elastic: EpisodeRecord, unassisted: EpisodeRecord) -> np.ndarray:
    """Return the steps (T,) that the predictor alone loses in the square of each step, NaN where it never was.

    Parameters
    ----------
    elastic, unassisted : EpisodeRecord
        Runs of the agent with a gate and of its predictor alone, in the same world.
    """
    visits, lost = lost_by_square(unassisted)
    mean = np.divide(lost, visits, out=np.full(visits.shape, np.nan), where=visits > 0)
    return np.asarray(mean[elastic.cells(SQUARES_PER_SIDE)])


def count_costs() -> dict[str, float]:
    """Operations of a step of each agent, and of one correction (`inner`); Transformer = 1."""
    operations = {name: count_operations(agent_named(name)) for name in (*CONSTANT, SHIPPED)}
    total = {name: count for name, (count, _) in operations.items()}
    correction = (total[SHIPPED] - total[PREDICTOR]) / max(operations[SHIPPED][1], 1e-9)
    return {name: value / total["transformer"] for name, value in {**total, "inner": correction}.items()}


def summarise(rows: Sequence[Numbers], costs: dict[str, float]) -> dict[str, float]:
    """Depth and operations by class of difficulty, and their rank correlation with it.

    Parameters
    ----------
    rows : sequence of dict
        Records of `run_world`.
    costs : dict of str to float
        See `count_costs`.
    """
    from scipy.stats import spearmanr

    difficulty = np.concatenate([row["difficulty"] for row in rows])
    inner = np.concatenate([row["inner"] for row in rows]).astype(float)
    ranked = np.argsort(difficulty, kind="stable")
    metrics = {"episodes": float(len(rows)), "steps": float(len(inner)), "inner": float(inner.mean())}
    metrics |= {f"cost.{name}": value for name, value in costs.items()}
    metrics["spearman"] = float(spearmanr(difficulty, inner).statistic) if np.ptp(difficulty) and np.ptp(inner) else 0.0
    for number, part in enumerate(np.array_split(ranked, BINS), 1):
        depth, half_width = mean_and_half_width(inner[part])
        metrics |= {
            f"class_{number}.difficulty": float(difficulty[part].mean()),
            f"class_{number}.inner": depth,
            f"class_{number}.inner_ci": half_width,
            f"class_{number}.compute": costs[PREDICTOR] + depth * costs["inner"],
        }
    return metrics


def _table(metrics: dict[str, float]) -> str:
    rows = [
        [
            f"{number} of {BINS}",
            f"{metrics[f'class_{number}.difficulty']:.2f}",
            f"{metrics[f'class_{number}.inner']:.2f} +- {metrics[f'class_{number}.inner_ci']:.2f}",
            f"{metrics[f'class_{number}.compute']:.2f}",
        ]
        for number in range(1, BINS + 1)
    ]
    return table_of(["difficulty", "steps lost by the predictor alone", "mean K", "operations (Transformer = 1)"], rows)


def draw(records: Records, metrics: dict[str, float], world: int) -> None:
    """Draw operations against difficulty, and depth along the hidden trajectory in a world, as `elastic.png`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    classes = range(1, BINS + 1)
    x = [metrics[f"class_{number}.difficulty"] for number in classes]
    left.plot(x, [metrics[f"class_{number}.compute"] for number in classes], marker="o", label=SHIPPED)
    for number, name in enumerate(CONSTANT, 1):
        left.axhline(metrics[f"cost.{name}"], color=f"C{number}", linestyle="--", label=name)
    left.set(
        xlabel="steps lost by the predictor alone", ylabel="operations of a step (Transformer = 1)", ylim=(0, None)
    )
    left.legend(fontsize=8)
    recorder = StateRecorder(agent_named(SHIPPED).parts())
    run_episode(make_world(world, MAZE, targets=TARGETS_PER_WORLD), recorder, with_features=True)
    points, depths = project(np.array(recorder.states)), np.array(recorder.depths)
    right.plot(*points.T, color="0.8", linewidth=0.8, zorder=1)
    dots = right.scatter(*points.T, c=depths, s=10 + 25 * depths, cmap="viridis", zorder=2)
    right.set(xlabel="first principal component of the state", ylabel="second")
    figure.colorbar(dots, label="K")
    write_atomically(records.folder / "elastic.png", lambda path: figure.savefig(path, dpi=100, format="png"))
    pyplot.close(figure)


def project(states: np.ndarray) -> np.ndarray:
    """First two principal components (T, 2) of states (T, H), each number scaled to unit variance."""
    centred = states - states.mean(0)
    spread = centred.std(0)
    scaled = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    left, singular, _ = np.linalg.svd(scaled, full_matrices=False)
    return np.asarray(left[:, :2] * singular[:2])
