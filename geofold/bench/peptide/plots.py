"""Plots of the peptide benchmark.

Steps and success per agent, distance and energy along paths, and torsions on the Ramachandran map (GeoSSM, Figure 2).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from geofold.bench.common.records import Records
from geofold.bench.peptide.agents.agent import Agent
from geofold.bench.peptide.agents.registry import AGENTS
from geofold.bench.peptide.episodes import Episode, episodes
from geofold.bench.peptide.reference_ensemble import relaxed_energy
from geofold.bench.peptide.rollout import MAX_STEPS, Rollout, Setup, make_setup, run_episode
from geofold.files import write_atomically

COLOURS = ("#999999", "#e69f00", "#d55e00", "#cc79a7", "#f0e442", "#56b4e9", "#0072b2", "#009e73")
"""Palette of Okabe and Ito, which colour-blind readers can distinguish."""
PLOTTED_AGENTS = ("se3_mpc", "euclidean_tr", "geossm_esm")
"""Agents whose paths are plotted, on one tuning episode."""
PLOTTED_EPISODE = 3


def draw(records: Records) -> None:
    """Draw all plots of a run into the folder of its records."""
    _plot_steps(records)
    episode = episodes(PLOTTED_EPISODE + 1, seed=6000)[PLOTTED_EPISODE]
    agents = [agent for agent in AGENTS if agent.name in PLOTTED_AGENTS]
    setup = make_setup(episode, 0)
    paths = [run_episode(agent, setup, 0) for agent in agents]
    _plot_path(records.folder, episode, setup, agents, paths)
    _plot_torsions(records.folder, episode, setup, agents, paths)


def _figure(columns: int) -> tuple[Any, Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, columns, figsize=(5 * columns, 4), layout="constrained")
    return pyplot, figure, np.atleast_1d(axes)


def _save(folder: Path, name: str, pyplot: Any, figure: Any) -> None:
    write_atomically(folder / name, lambda path: figure.savefig(path, dpi=100, format="png"))
    pyplot.close(figure)


def _plot_steps(records: Records) -> None:
    """Fraction of episodes with the contact held, by step, and mean steps with success."""
    pyplot, figure, (left, right) = _figure(2)
    for agent, colour in zip(AGENTS, COLOURS, strict=True):
        rows = [row for row in records.of(agent.name) if row.get("panel") == "random"]
        if not rows:
            continue
        steps = np.array([row["steps"] if row["success"] else np.inf for row in rows])
        steps_axis = np.arange(1, MAX_STEPS + 1)
        left.plot(steps_axis, (steps[:, None] <= steps_axis).mean(0), color=colour, label=agent.name)
        place = np.mean([row["steps"] for row in rows]), np.mean([row["success"] for row in rows])
        right.plot(*place, "o", color=colour, label=agent.name)
    left.set(xlabel="step", ylabel="share of episodes that hold the contact", xscale="log")
    right.set(xlabel="mean steps (128 for a failure)", ylabel="success")
    right.legend(fontsize=8, loc="lower left")
    _save(records.folder, "steps.png", pyplot, figure)


def _plot_path(folder: Path, episode: Episode, setup: Setup, agents: list[Agent], paths: list[Rollout]) -> None:
    """Distance of the contact, and energy with relaxed side chains, along the paths of one episode."""
    import torch

    pyplot, figure, (left, right) = _figure(2)
    goal = setup.goal(0)
    for agent, path in zip(agents, paths, strict=True):
        colour = COLOURS[[a.name for a in AGENTS].index(agent.name)]
        xyz = torch.as_tensor(path.frames)
        energy = [relaxed_energy(setup.structure, setup.domain, frame, seed=0) for frame in path.frames]
        left.plot(10 * setup.domain.distances(xyz, goal.contacts)[:, 0], color=colour, label=agent.name)
        right.plot(np.array(energy) / len(setup.structure.residues), color=colour)
    left.axhline(10 * goal.contacts[0].bound, color="0.7", linestyle="--")
    left.set(xlabel="step", ylabel="distance (A)", title=f"{episode.sequence}, {episode.contact}")
    right.set(xlabel="step", ylabel="energy, side chains relaxed (kJ/mol a residue)")
    left.legend(fontsize=8)
    _save(folder, "path.png", pyplot, figure)


def _plot_torsions(folder: Path, episode: Episode, setup: Setup, agents: list[Agent], paths: list[Rollout]) -> None:
    """Paths of phi and psi of all residues on the general Ramachandran contours."""
    import torch

    from geofold.molecule.energy.ramachandran import load_percentiles

    pyplot, figure, axes = _figure(len(agents))
    contours = load_percentiles()[0]
    edge = np.linspace(-179, 179, contours.shape[0])
    for axis, agent, path in zip(axes, agents, paths, strict=True):
        axis.contourf(edge, edge, contours.T, levels=[0.0005, 0.02, 1.0], colors=["#e8f1fa", "#bcd7ee"])
        angles = torch.stack(setup.domain.angles.at(torch.as_tensor(path.angle)), -1)
        angles_deg = np.degrees(np.angle(np.exp(1j * angles.numpy())))
        for k in range(angles_deg.shape[1]):
            path_deg = angles_deg[:, k].copy()
            path_deg[1:][np.abs(np.diff(path_deg, axis=0)).max(-1) > 180] = np.nan
            axis.plot(path_deg[:, 0], path_deg[:, 1], color="0.3", linewidth=0.8)
            axis.plot(*angles_deg[-1, k], "o", color="#d55e00", markersize=4)
        axis.set(xlim=(-180, 180), ylim=(-180, 180), xlabel="phi (deg)", ylabel="psi (deg)", title=agent.name)
    figure.suptitle(f"{episode.sequence}, {episode.contact}")
    _save(folder, "torsions.png", pyplot, figure)
