"""Plots of the peptide benchmark: steps and success per agent, what happens along the path, torsions over the
Ramachandran map (GeoSSM, Figure 2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from geofold.bench.common.records import Records
from geofold.bench.peptide.agents.agent import Agent
from geofold.bench.peptide.agents.registry import AGENTS
from geofold.bench.peptide.episodes import Episode, episodes
from geofold.bench.peptide.reference_ensemble import relaxed_energy
from geofold.bench.peptide.rollout import LIMIT, Played, Stage, play, staged
from geofold.files import write_whole

COLOURS = ("#999999", "#e69f00", "#d55e00", "#cc79a7", "#f0e442", "#56b4e9", "#0072b2", "#009e73")
"""Okabe and Ito's, which colour-blind readers tell apart."""
SHOWN = ("se3_mpc", "euclidean_tr", "geossm_esm")
"""Agents whose paths are drawn, on one tuning episode."""
FOLLOWED = 3


def draw(records: Records) -> None:
    """All plots of a run, beside its records."""
    _steps(records)
    episode = episodes(FOLLOWED + 1, seed=6000)[FOLLOWED]
    agents = [agent for agent in AGENTS if agent.name in SHOWN]
    stage = staged(episode, 0)
    paths = [play(agent, stage, 0) for agent in agents]
    _along(records.folder, episode, stage, agents, paths)
    _torsions(records.folder, episode, stage, agents, paths)


def _figure(columns: int) -> tuple[Any, Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, columns, figsize=(5 * columns, 4), layout="constrained")
    return pyplot, figure, np.atleast_1d(axes)


def _saved(folder: Path, name: str, pyplot: Any, figure: Any) -> None:
    write_whole(folder / name, lambda path: figure.savefig(path, dpi=100, format="png"))
    pyplot.close(figure)


def _steps(records: Records) -> None:
    """Share of episodes whose contact is held by each step, and mean steps with success."""
    pyplot, figure, (left, right) = _figure(2)
    for agent, colour in zip(AGENTS, COLOURS, strict=True):
        rows = [row for row in records.of(agent.name) if row.get("panel") == "random"]
        if not rows:
            continue
        steps = np.array([row["steps"] if row["success"] else np.inf for row in rows])
        at = np.arange(1, LIMIT + 1)
        left.plot(at, (steps[:, None] <= at).mean(0), color=colour, label=agent.name)
        place = np.mean([row["steps"] for row in rows]), np.mean([row["success"] for row in rows])
        right.plot(*place, "o", color=colour, label=agent.name)
    left.set(xlabel="step", ylabel="share of episodes that hold the contact", xscale="log")
    right.set(xlabel="mean steps (128 for a failure)", ylabel="success")
    right.legend(fontsize=8, loc="lower left")
    _saved(records.folder, "steps.png", pyplot, figure)


def _along(folder: Path, episode: Episode, stage: Stage, agents: list[Agent], paths: list[Played]) -> None:
    """Distance of the contact, and amber14 + OBC after side chains relaxed, along the paths of one episode."""
    import torch

    pyplot, figure, (left, right) = _figure(2)
    goal = stage.goal(0)
    for agent, path in zip(agents, paths, strict=True):
        colour = COLOURS[[a.name for a in AGENTS].index(agent.name)]
        xyz = torch.as_tensor(path.frames)
        energy = [relaxed_energy(stage.structure, stage.domain, frame, seed=0) for frame in path.frames]
        left.plot(10 * stage.domain.distances(xyz, goal.contacts)[:, 0], color=colour, label=agent.name)
        right.plot(np.array(energy) / len(stage.structure.residues), color=colour)
    left.axhline(10 * goal.contacts[0].bound, color="0.7", linestyle="--")
    left.set(xlabel="step", ylabel="distance (A)", title=f"{episode.sequence}, {episode.contact}")
    right.set(xlabel="step", ylabel="energy, side chains relaxed (kJ/mol a residue)")
    left.legend(fontsize=8)
    _saved(folder, "path.png", pyplot, figure)


def _torsions(folder: Path, episode: Episode, stage: Stage, agents: list[Agent], paths: list[Played]) -> None:
    """Paths of phi and psi of all residues over the general Ramachandran contours."""
    import torch

    from geofold.molecule.energy.ramachandran import percentiles

    pyplot, figure, axes = _figure(len(agents))
    contours = percentiles()[0]
    edge = np.linspace(-179, 179, contours.shape[0])
    for axis, agent, path in zip(axes, agents, paths, strict=True):
        axis.contourf(edge, edge, contours.T, levels=[0.0005, 0.02, 1.0], colors=["#e8f1fa", "#bcd7ee"])
        angles = torch.stack(stage.domain.angles.at(torch.as_tensor(path.angle)), -1)
        turned = np.degrees(np.angle(np.exp(1j * angles.numpy())))
        for k in range(turned.shape[1]):
            way = turned[:, k].copy()
            way[1:][np.abs(np.diff(way, axis=0)).max(-1) > 180] = np.nan
            axis.plot(way[:, 0], way[:, 1], color="0.3", linewidth=0.8)
            axis.plot(*turned[-1, k], "o", color="#d55e00", markersize=4)
        axis.set(xlim=(-180, 180), ylim=(-180, 180), xlabel="phi (deg)", ylabel="psi (deg)", title=agent.name)
    figure.suptitle(f"{episode.sequence}, {episode.contact}")
    _saved(folder, "torsions.png", pyplot, figure)
