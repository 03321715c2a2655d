"""Tune the agents of the peptide benchmark: the same number of trials each, on the same tuning episodes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from geofold.bench.common.records import Records, gather
from geofold.bench.peptide.agents.agent import TRIALS, TUNED, Options
from geofold.bench.peptide.agents.registry import AGENTS
from geofold.bench.peptide.episodes import TUNING_SEED, Episode, episodes
from geofold.bench.peptide.rollout import make_setup, run_episode
from geofold.bench.peptide.train_rivals import require_rivals
from geofold.files import write_all

EPISODES, QUICK, FIRST_EPISODE = 48, 2, 64
"""Number of episodes, and index of the first: parts of the controller were chosen on those before it."""
WORKERS = 2


def run(out: str, *, quick: bool, limit: int | None) -> None:
    """Run every trial of every agent, then write `tuned.json` (after a small run: to the folder of its records)."""
    require_rivals()
    for agent in AGENTS:
        assert len(agent.trials) == TRIALS, f"{agent.name} has {len(agent.trials)} trials"
    records = Records(out)
    selected = episodes(FIRST_EPISODE + (limit or (QUICK if quick else EPISODES)), seed=TUNING_SEED)[FIRST_EPISODE:]
    jobs = [(episode,) for episode in selected if not records.has(episode.name, "done")]
    gather(records, "tuning", _run_trials, jobs, WORKERS)
    read_tuning = {agent.name: choose_best(agent.trials, records.of(agent.name)) for agent in AGENTS}
    text = json.dumps(read_tuning, indent=2) + "\n"
    target = str(TUNED) if not quick and limit is None else str(records.folder / TUNED.name)
    write_all({target: text.encode()})
    print(f"{target} written")


def _run_trials(episode: Episode) -> list[tuple[str, str, dict[str, Any]]]:
    setup = make_setup(episode, 0)
    rows: list[tuple[str, str, dict[str, Any]]] = []
    for agent in AGENTS:
        for number, options in enumerate(agent.trials):
            rollout = run_episode(agent, setup, 0, options)
            numbers = {"trial": number, "success": rollout.held is not None, "steps": rollout.steps}
            rows.append((episode.name, agent.name, numbers))
    return [*rows, (episode.name, "done", {})]


def choose_best(trials: tuple[Options, ...], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the options with the fewest mean steps (128 for a failure), with the results of all trials."""
    results = []
    for number, options in enumerate(trials):
        trial_rows = [row for row in rows if row["trial"] == number]
        success, steps = (float(np.mean([row[key] for row in trial_rows])) for key in ("success", "steps"))
        results.append({"options": options, "success": round(success, 4), "steps": round(steps, 3)})
    winner = min(results, key=lambda result: (result["steps"], str(result["options"])))
    return {**winner, "tried": results}
