"""Places at which the elastic agent spends its inner steps in corridors (ESM, Figure 4).

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

SQUARES_PER_SIDE = 24
"""Squares along a side; a square is two steps wide."""
HARDEST_SHARE = 0.3
"""Fraction of the visited squares that count as the hardest."""
DRAWN_WORLD = 0
"""Number of the world whose map is drawn."""
PREDICTOR, ELASTIC = "vanilla_ssm", "esm"
"""Names of the predictor alone, which is run first, and of the elastic agent."""


def count_hotspots(elastic: EpisodeRecord, unassisted: EpisodeRecord) -> dict[str, int]:
    """Count steps and inner steps of an elastic agent where its world is hard.

    Hard places are defined in two ways: junctions, doors and gaps of the layout; and the `HARDEST_SHARE` of the squares
    visited by the predictor alone with the highest mean loss there. Squares that it never visited count for neither.

    Parameters
    ----------
    elastic, unassisted : Run
        Runs of the agent with a gate and of its predictor alone, in the same world.
    """
    kind = elastic.worlds[0].layout.kind[elastic.cells()]
    is_narrow = np.isin(kind, (JUNCTION, DOOR, GAP))
    visits, loss = np.zeros((SQUARES_PER_SIDE, SQUARES_PER_SIDE)), np.zeros((SQUARES_PER_SIDE, SQUARES_PER_SIDE))
    np.add.at(visits, unassisted.cells(SQUARES_PER_SIDE), 1)
    np.add.at(loss, unassisted.cells(SQUARES_PER_SIDE), unassisted.loss)
    mean = np.where(visits > 0, loss / np.maximum(visits, 1), -np.inf)
    hard_count = max(round(HARDEST_SHARE * int((visits > 0).sum())), 1)
    is_hard = np.zeros(mean.shape, dtype=bool)
    is_hard.ravel()[np.argsort(-mean.ravel(), kind="stable")[:hard_count]] = True
    squares = elastic.cells(SQUARES_PER_SIDE)
    is_visited, inner = visits[squares] > 0, elastic.inner
    return {
        "narrow_steps": int(is_narrow.sum()),
        "narrow_inner": int(inner[is_narrow].sum()),
        "known_steps": int(is_visited.sum()),
        "known_inner": int(inner[is_visited].sum()),
        "hard_steps": int(is_hard[squares].sum()),
        "hard_inner": int(inner[is_hard[squares]].sum()),
    }


def compute_shares(rows: list[dict[str, int]]) -> dict[str, float]:
    """Fractions of inner steps, and of steps, at hard places."""
    parts = [f"{place}_{what}" for place in ("narrow", "known", "hard") for what in ("steps", "inner")]
    total = {key: float(sum(row[key] for row in rows)) for key in parts}
    steps_made, inner = float(sum(row["made"] for row in rows)), float(sum(row["inner"] for row in rows))
    return {
        "inner_at_narrow": total["narrow_inner"] / max(inner, 1),
        "steps_at_narrow": total["narrow_steps"] / steps_made,
        "inner_at_hardest": total["hard_inner"] / max(total["known_inner"], 1),
        "steps_at_hardest": total["hard_steps"] / max(total["known_steps"], 1),
    }


def draw(folder: Path) -> None:
    """Draw a map of the inner steps of the elastic agent in one maze, into the folder of the records."""
    parts = next(agent for agent in AGENTS if agent.name == ELASTIC).parts()
    run = run_episode(make_world(DRAWN_WORLD, "corridors", targets=8), parts, with_features=True)
    write_all({str(folder / "heat_map.png"): heat_map([run])})
