"""Where the elastic agent spends its inner steps in corridors (ESM, Figure 4).

Glossary: ``n`` cells and ``m`` squares along a side.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geofold.bench.maze.agents.registry import AGENTS
from geofold.files import write_all
from geofold.maze.episode import run_episode
from geofold.maze.episode_log import EpisodeRecord
from geofold.maze.layouts import DOOR, GAP, JUNCTION
from geofold.maze.render import heat_map
from geofold.maze.world import make_world

SQUARES = 24
"""Along a side: a square is as wide as two steps are long."""
HARDEST = 0.3
"""Share of the squares that count as the hardest."""
DRAWN = 0
"""World whose map is drawn."""
PREDICTOR, ELASTIC = "vanilla_ssm", "esm"
"""The elastic agent, and what leads it by itself; it plays before."""


def hotspots(elastic: EpisodeRecord, alone: EpisodeRecord) -> dict[str, int]:
    """Counts of an agent with a gate and of its predictor alone, in one world.

    Two ways to tell where it is hard: at junctions, doors and gaps, as the layout has them; and where the predictor
    alone does worst, the `HARDEST` of the squares that it passes by its mean loss there. Inner steps in squares where
    it never was count for neither.
    """
    kind = elastic.worlds[0].layout.kind[elastic.cells()]
    narrow = np.isin(kind, (JUNCTION, DOOR, GAP))
    came, loss = np.zeros((SQUARES, SQUARES)), np.zeros((SQUARES, SQUARES))
    np.add.at(came, alone.cells(SQUARES), 1)
    np.add.at(loss, alone.cells(SQUARES), alone.loss)
    mean = np.where(came > 0, loss / np.maximum(came, 1), -np.inf)
    most = max(round(HARDEST * int((came > 0).sum())), 1)
    hard = np.zeros(mean.shape, dtype=bool)
    hard.ravel()[np.argsort(-mean.ravel(), kind="stable")[:most]] = True
    here = elastic.cells(SQUARES)
    known, inner = came[here] > 0, elastic.inner
    return {
        "narrow_steps": int(narrow.sum()), "narrow_inner": int(inner[narrow].sum()),
        "known_steps": int(known.sum()), "known_inner": int(inner[known].sum()),
        "hard_steps": int(hard[here].sum()), "hard_inner": int(inner[hard[here]].sum()),
    }  # fmt: skip


def shares(rows: list[dict[str, int]]) -> dict[str, float]:
    """Shares of inner steps, and of steps, that were made where it is hard."""
    parts = [f"{place}_{what}" for place in ("narrow", "known", "hard") for what in ("steps", "inner")]
    total = {key: float(sum(row[key] for row in rows)) for key in parts}
    made, inner = float(sum(row["made"] for row in rows)), float(sum(row["inner"] for row in rows))
    return {
        "inner_at_narrow": total["narrow_inner"] / max(inner, 1), "steps_at_narrow": total["narrow_steps"] / made,
        "inner_at_hardest": total["hard_inner"] / max(total["known_inner"], 1),
        "steps_at_hardest": total["hard_steps"] / max(total["known_steps"], 1),
    }  # fmt: skip


def draw(folder: Path) -> None:
    """K of the elastic agent over one maze, beside the records."""
    parts = next(agent for agent in AGENTS if agent.name == ELASTIC).parts()
    run = run_episode(make_world(DRAWN, "corridors", targets=8), parts, with_features=True)
    write_all({str(folder / "heat_map.png"): heat_map([run])})
