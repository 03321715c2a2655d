"""Places at which an elastic agent spends its inner steps in corridors (ESM, Figure 4).

Glossary: ``n`` cells and ``m`` squares along a side.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geofold.bench.maze.agents.registry import agent_named
from geofold.files import write_all
from geofold.maze.episode import run_episode
from geofold.maze.episode_log import EpisodeRecord
from geofold.maze.regret import OpenLeg
from geofold.maze.render import heat_map
from geofold.maze.worlds.layouts import DOOR, GAP, JUNCTION
from geofold.maze.worlds.world import make_world

SQUARES_PER_SIDE = 24
"""Squares along a side; a square is two steps wide."""
HARDEST_SHARE = 0.3
"""Fraction of the visited squares that count as the hardest."""
DRAWN_WORLD = 0
"""Number of the world whose map is drawn."""
PREDICTOR, ELASTIC = "vanilla_ssm", ("esm", "esm_trained")
"""Names of the predictor alone, which is run first, and of the elastic agents."""


def count_hotspots(elastic: EpisodeRecord, unassisted: EpisodeRecord) -> dict[str, int]:
    """Count steps and inner steps of an elastic agent where its world is hard.

    Hard places are defined in two ways, neither of which uses what a gate reads: junctions, doors and gaps of the
    layout; and the `HARDEST_SHARE` of the squares visited by the predictor alone in which it loses most steps on the
    oracle's shortest path. Squares that it never visited count for neither.

    Parameters
    ----------
    elastic, unassisted : EpisodeRecord
        Runs of the agent with a gate and of its predictor alone, in the same world.
    """
    kind = elastic.worlds[0].layout.kind[elastic.cells()]
    is_narrow = np.isin(kind, (JUNCTION, DOOR, GAP))
    visits, lost = lost_by_square(unassisted)
    ranked = np.where(visits > 0, lost, -np.inf).ravel()
    hard_count = max(round(HARDEST_SHARE * int((visits > 0).sum())), 1)
    is_hard = np.zeros(visits.shape, dtype=bool)
    is_hard.ravel()[np.argsort(-ranked, kind="stable")[:hard_count]] = True
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


def lost_by_square(run: EpisodeRecord) -> tuple[np.ndarray, np.ndarray]:
    """Count the steps of a run in each square, and sum those that it loses there; both (n, n), n squares a side."""
    visits, lost = np.zeros((2, SQUARES_PER_SIDE, SQUARES_PER_SIDE))
    squares = run.cells(SQUARES_PER_SIDE)
    np.add.at(visits, squares, 1)
    np.add.at(lost, squares, steps_lost(run))
    return visits, lost


def steps_lost(run: EpisodeRecord) -> np.ndarray:
    """Return the steps (T,) that each step loses: one, less the progress on the shortest path to its target."""
    lost = np.ones(len(run.inner))
    for leg in run.legs:
        change = leg.began if run.dragged is None else min(max(run.dragged, leg.began), leg.ended)
        for world, begin, end in ((run.worlds[0], leg.began, change), (run.worlds[-1], change, leg.ended)):
            if begin == end:
                continue
            field = OpenLeg.of(world, leg.target, run.positions[begin], begin)
            left = np.array([field.remaining_steps(place) for place in run.positions[begin : end + 1]])
            lost[begin:end] += np.diff(left)
    return lost


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
    """Draw a map of the inner steps of the agent that ships in one maze, into the folder of the records."""
    parts = agent_named(ELASTIC[0]).parts()
    run = run_episode(make_world(DRAWN_WORLD, "corridors", targets=8), parts, with_features=True)
    write_all({str(folder / "heat_map.png"): heat_map([run])})
