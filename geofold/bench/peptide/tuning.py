"""Tuning the agents of the peptide benchmark: the same number of trials each, on the same tuning episodes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from geofold.bench.common.records import Records, gather
from geofold.bench.peptide.agents.agent import TRIALS, TUNED, Choice
from geofold.bench.peptide.agents.registry import AGENTS
from geofold.bench.peptide.episodes import TUNING_SEED, Episode, episodes
from geofold.bench.peptide.rollout import play, staged
from geofold.bench.peptide.train_rivals import require_rivals
from geofold.files import write_all

EPISODES, QUICK, SKIPPED = 48, 2, 64
"""Played, and before them those that parts of the controller were chosen on."""
WORKERS = 2


def run(out: str, *, quick: bool, limit: int | None) -> None:
    """Play every trial of every agent, then write `tuned.json` beside the agents (not after a quick or limited run)."""
    require_rivals()
    for agent in AGENTS:
        assert len(agent.trials) == TRIALS, f"{agent.name} has {len(agent.trials)} trials"
    records = Records(out)
    chosen = episodes(SKIPPED + (limit or (QUICK if quick else EPISODES)), seed=TUNING_SEED)[SKIPPED:]
    left = [(episode,) for episode in chosen if not records.has(episode.name, "done")]
    gather(records, "tuning", _tried, left, WORKERS)
    found = {agent.name: best(agent.trials, records.of(agent.name)) for agent in AGENTS}
    text = json.dumps(found, indent=2) + "\n"
    target = str(TUNED) if not quick and limit is None else str(records.folder / TUNED.name)
    write_all({target: text.encode()})
    print(f"{target} written")


def _tried(episode: Episode) -> list[tuple[str, str, dict[str, Any]]]:
    stage = staged(episode, 0)
    rows: list[tuple[str, str, dict[str, Any]]] = []
    for agent in AGENTS:
        for number, options in enumerate(agent.trials):
            played = play(agent, stage, 0, options)
            told = {"trial": number, "success": played.held is not None, "steps": played.steps}
            rows.append((episode.name, agent.name, told))
    return [*rows, (episode.name, "done", {})]


def best(trials: tuple[Choice, ...], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Options with the fewest steps in the mean (a failure counts 128), and what they and the others reached."""
    tried = []
    for number, options in enumerate(trials):
        own = [row for row in rows if row["trial"] == number]
        success, steps = (float(np.mean([row[key] for row in own])) for key in ("success", "steps"))
        tried.append({"options": options, "success": round(success, 4), "steps": round(steps, 3)})
    won = min(tried, key=lambda one: (one["steps"], str(one["options"])))
    return {**won, "tried": tried}
