"""Tune the agents of the comparison on steep ground: a compass search with the same number of trials for each.

Options are positive and are multiplied or divided by a factor, one at a time; where no such change pays, the factor is
halved on the logarithmic scale. No grid has an edge. A trial whose episodes are all as long as with the best options so
far has changed nothing, and does not count.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from geofold.bench.common.records import Records, gather
from geofold.bench.maze.agents import tuned
from geofold.bench.maze.agents.tuned import TUNED_AGENTS, Options, TunedAgent
from geofold.bench.maze.relief import SLOPES, SPLITS, Episode, measure_legs, run_agent
from geofold.files import write_all

TRIALS, EPISODES, QUICK_EPISODES = 7, 12, 2
"""Trials of each agent at each slope that count, and episodes of a trial, with one target each."""
FACTOR = 3.0
"""Factor by which an option is changed at first."""
MAX_HALVINGS = 8
"""Halvings of the factor after which a search ends early, since all its changes are without effect."""
WORKERS = 2


def run(out: str, *, quick: bool, limit: int | None) -> None:
    """Tune every agent at every slope, then write `tuned_relief.json` (of a small run: to the folder of its records).

    Parameters
    ----------
    out : str
        Folder of the records.
    quick : bool
        Run two episodes in each trial.
    limit : int or None
        Number of episodes in each trial.
    """
    records = Records(out)
    count = limit or (QUICK_EPISODES if quick else EPISODES)
    agents = [agent for agent in TUNED_AGENTS if agent.start]
    jobs = [
        (slope, agent.name, count) for slope in SLOPES for agent in agents if not records.has(f"{slope:g}", agent.name)
    ]
    gather(records, "tuning", tune_agent, jobs, WORKERS)
    found = {
        f"{slope:g}": {
            agent.name: {key: row[key] for key in ("options", "steps", "tried")}
            for agent in agents
            for row in records.of(agent.name)
            if row["episode"] == f"{slope:g}"
        }
        for slope in SLOPES
    }
    target = str(records.folder / tuned.TUNED.name if quick or limit is not None else tuned.TUNED)
    write_all({target: (json.dumps(found, indent=1) + "\n").encode()})
    print(f"{target} written")


def tune_agent(slope: float, name: str, count: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Tune an agent at a slope: one row with the best options, their mean steps, and all trials."""
    agent: TunedAgent = next(agent for agent in TUNED_AGENTS if agent.name == name)
    episodes = [Episode(slope, SPLITS["tuning"] + number, targets=1) for number in range(count)]

    def evaluate(options: Options) -> tuple[float, ...]:
        runs = run_agent(agent.make(**options), episodes)
        return tuple(measure_legs(run, slope)["steps"] for run in runs)

    tried = search(evaluate, agent.start, TRIALS)
    best = min(tried, key=lambda trial: trial["steps"])
    return [(f"{slope:g}", name, {**best, "tried": tried})]


def search(evaluate: Callable[[Options], tuple[float, ...]], start: Options, trials: int) -> list[dict[str, Any]]:
    """Search the options with the fewest mean steps.

    Parameters
    ----------
    evaluate : callable
        Steps of each episode with some options.
    start : dict of str to float
        Options of the first trial.
    trials : int
        Number of trials that count.

    Returns
    -------
    list of dict
        Options and mean steps of the trials that count.
    """
    centre, steps = start, evaluate(start)
    tried = [_trial(start, steps)]
    seen, factor = {_key(start)}, FACTOR
    for _ in range(MAX_HALVINGS):
        while len(tried) < trials:
            better = None
            for name in start:
                for by in (factor, 1 / factor):
                    options = {**centre, name: centre[name] * by}
                    if len(tried) == trials or _key(options) in seen:
                        continue
                    seen.add(_key(options))
                    result = evaluate(options)
                    if result == steps:
                        continue
                    tried.append(_trial(options, result))
                    if better is None and sum(result) < sum(steps):
                        better = options, result
                if better:
                    break
            if better is None:
                break
            centre, steps = better
        factor **= 0.5
    return tried


def _key(options: Options) -> tuple[str, ...]:
    return tuple(f"{value:.4g}" for value in options.values())


def _trial(options: Options, steps: tuple[float, ...]) -> dict[str, Any]:
    rounded = {name: float(f"{value:.4g}") for name, value in options.items()}
    return {"options": rounded, "steps": round(sum(steps) / len(steps), 3)}
