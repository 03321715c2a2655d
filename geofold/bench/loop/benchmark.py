"""The loop benchmark: loops are repaired or built by geofold and by other tools, from the same starts.

Sets are described in `geofold.bench.loop.sets`. OpenMM's minimiser is run on the bent sets; further rivals on request:
``openmm`` (its annealing) on bent loops, ``pdbfixer`` and ``promod3`` rebuild any loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from geofold.app import api
from geofold.app.report.audit import audit
from geofold.app.report.check import any_altloc
from geofold.app.report.metrics import measure, short_values
from geofold.bench.common.openmm_min import minimise_loop
from geofold.bench.common.records import Records, gather
from geofold.bench.common.timing import timer
from geofold.bench.loop.comparison import is_rest_identical
from geofold.bench.loop.sets import Episode, count_native_cis, episodes
from geofold.bench.loop.tables import summarise
from geofold.errors import OptionError
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.loop.build_plan import rebuild_plan
from geofold.molecule.loop.build_request import plan_builds
from geofold.molecule.loop.perturbation import backbone_rmsd
from geofold.molecule.selection import find_range
from geofold.molecule.structure import Floats, Structure
from geofold.molecule.topology.torsion_tree import TorsionTree, torsion_tree

MODELS_PER_LOOP = 5
"""Number of models if a loop is built or its surroundings may be wrong."""
RIVALS = {"openmm": "openmm_anneal", "pdbfixer": "pdbfixer", "promod3": "promod3"}
"""Rivals by the name of the option; the values are their names in tables."""
WORKERS = 2
Numbers = dict[str, Any]


def run(
    out: str,
    *,
    set_name: str,
    data: str | None,
    quick: bool,
    limit: int | None,
    seed: int,
    rivals: str = "",
    budget: float | None = None,
) -> None:
    """Run geofold and its rivals over a set, then write table, plots and summary.

    Parameters
    ----------
    out : str
        Folder of the records.
    set_name : str
        Name of a set; see `geofold.bench.loop.sets`.
    data : str or None
        Folder of the set's data.
    quick : bool
        Run eight loops only.
    limit : int or None
        Number of loops.
    seed : int
        Seed of every agent.
    rivals : str
        Further rivals, separated by commas.
    budget : float or None
        Time limit of geofold for each loop, in seconds.

    Raises
    ------
    OptionError
        If a rival or the set is unknown.
    """
    began = time.time()
    requested = [name for name in rivals.split(",") if name]
    for name in requested:
        if name not in RIVALS:
            raise OptionError(f"rival {name}", ", ".join(RIVALS), "choose among them, with commas between")
    records = Records(out)
    count = limit or (8 if quick else None)
    agents = ["geofold", *(["openmm_min"] if set_name in ("bent", "tuning") else []), *(RIVALS[a] for a in requested)]
    jobs = []
    for episode in episodes(set_name, data, count):
        agents_left = [
            agent
            for agent in agents
            if not records.has(episode.name, agent) and not (agent.startswith("openmm") and episode.sequence)
        ]
        if agents_left:
            jobs.append((episode, agents_left, seed, budget))
    gather(records, f"loops {set_name}", run_episode, jobs, WORKERS)
    summarise(records, set_name, quick=quick or limit is not None, began=began)


def run_episode(episode: Episode, agents: list[str], seed: int, budget: float | None) -> list[tuple[str, str, Numbers]]:
    """Run some agents on an episode; the record of a rival that fails has the first line of its error.

    Parameters
    ----------
    episode : Episode
        Start, loop and native.
    agents : list of str
        Keys of `RUNNERS`.
    seed : int
        Seed of every agent.
    budget : float or None
        Time limit of geofold in seconds.
    """
    rows = []
    for agent in agents:
        try:
            numbers = RUNNERS[agent](episode, seed, budget)
        except Exception as error:  # a failure of a rival is a result
            if agent == "geofold":
                raise
            numbers = {"failed": str(error).splitlines()[0]}
        rows.append((episode.name, agent, numbers))
    return rows


def _run_geofold(episode: Episode, seed: int, budget: float | None) -> Numbers:
    request: Numbers = {"loop": episode.loop}
    if episode.sequence is not None:
        request = {"build": f"{episode.loop}={episode.sequence}"}
    model_count = MODELS_PER_LOOP if episode.sequence is not None or episode.shell else 1
    with timer() as timing:
        result = api.repair(
            episode.start, **request, seed=seed, budget=budget, models=model_count, repack_shell=episode.shell
        )
    models = [
        {"score": model.report.get("score"), "rmsd": _loop_rmsd(episode, model.structure, model.xyz)}
        for model in result.models
    ]
    report = result.report
    return (
        timing
        | _measure_native(episode)
        | {
            **_measure_loop(episode, result.structure, result.xyz),
            "models": models,
            "status": report["stream"]["status"][0],
            "before": short_values(report["before"]),
            "after": short_values(report["after"]),
            "checks": {c["name"]: c["value"] for c in report["audit"]["checks"]},
            "audit": result.passed,
            "finite": bool(np.isfinite(result.xyz).all()),
            "others_identical": is_rest_identical(episode, result),
            "latency_ms_mean": report["stream"]["latency_ms"]["mean"],
            "confidence": (report.get("confidence") or [None])[0],
            "repacked": len(report.get("repacked", {}).get("residues", [])),
        }
    )


def _make_mover(function: Callable[..., Any]) -> Callable[[Episode, int, float | None], Numbers]:
    """Make the runner of a rival that repairs a bent loop in place."""

    def run_rival(episode: Episode, seed: int, budget: float | None) -> Numbers:
        start = episode.start
        first, last = find_range(start, episode.loop)
        with timer() as timing:
            outcome = function(start, first, last, seed=seed)
        tree = torsion_tree(start, first, last)
        before, after = (_measure(start, tree, xyz) for xyz in (start.xyz, outcome.xyz))
        checks = audit(start, [tree], start.xyz, outcome.xyz, (before, after))
        return (
            timing
            | _measure_native(episode)
            | {
                **_measure_loop(episode, start, outcome.xyz),
                "before": short_values(before),
                "after": short_values(after),
                "checks": {c.name: c.value for c in checks},
                "finite": bool(np.isfinite(outcome.xyz).all()),
            }
        )

    return run_rival


def _run_annealing(episode: Episode, seed: int, budget: float | None) -> Numbers:
    from geofold.bench.loop.rivals.openmm_anneal import anneal_in_place

    return _make_mover(anneal_in_place)(episode, seed, budget)


def _make_builder(module: str) -> Callable[[Episode, int, float | None], Numbers]:
    """Make the runner of a rival that rebuilds a loop."""

    def run_rival(episode: Episode, seed: int, budget: float | None) -> Numbers:
        from importlib import import_module

        start = episode.start
        if episode.sequence is None:
            build = rebuild_plan(start, *find_range(start, episode.loop))
        else:
            build = plan_builds(start, [f"{episode.loop}={episode.sequence}"])[0]
        function = import_module(f"geofold.bench.loop.rivals.{module}").build_missing
        with timer() as timing:
            model = function(start, build, seed=seed)
        tree = torsion_tree(model.structure, model.first, model.last)
        after = measure(model.structure, [tree], model.structure.xyz, None)
        return (
            timing
            | _measure_native(episode)
            | {
                "rmsd": _loop_rmsd(episode, model.structure, model.structure.xyz),
                "residues": model.last - model.first + 1,
                "after": short_values(after),
                "finite": bool(np.isfinite(model.structure.xyz).all()),
            }
        )

    return run_rival


RUNNERS: dict[str, Callable[[Episode, int, float | None], Numbers]] = {
    "geofold": _run_geofold,
    "openmm_min": _make_mover(minimise_loop),
    "openmm_anneal": _run_annealing,
    "pdbfixer": _make_builder("pdbfixer"),
    "promod3": _make_builder("promod3"),
}


def _measure(structure: Structure, tree: TorsionTree, xyz: Floats) -> Numbers:
    model = EnergyModel.of(replace(structure, xyz=xyz), structure.conformer_mask)
    return measure(structure, [tree], xyz, model)


def _measure_native(episode: Episode) -> Numbers:
    """Overlaps, outliers and cis bonds of the native."""
    native, (first, last) = episode.native, episode.span
    tree = torsion_tree(native, first, last, altloc=any_altloc(native, first, last))
    return {"native": short_values(measure(native, [tree], native.xyz, None)), "native_cis": count_native_cis(episode)}


def _measure_loop(episode: Episode, structure: Structure, xyz: Floats) -> Numbers:
    first, last = find_range(structure, episode.loop)
    numbers: Numbers = {"residues": last - first + 1, "rmsd": _loop_rmsd(episode, structure, xyz)}
    if episode.sequence is None:
        numbers["rmsd_start"] = _loop_rmsd(episode, episode.start, episode.start.xyz)
    return numbers


def _loop_rmsd(episode: Episode, structure: Structure, xyz: Floats) -> float:
    """Backbone RMSD (A) of the loop from the native in the frame of the protein; atoms are matched by name."""
    (first, last), (native_first, _) = find_range(structure, episode.loop), episode.span
    target = np.full_like(xyz, np.nan)
    for k in range(last - first + 1):
        for name in ("N", "CA", "C", "O"):
            atom = structure.atom(first + k, name, structure.conformer_mask)
            native_atom = episode.native.atom(native_first + k, name, episode.native.conformer_mask)
            if atom is not None and native_atom is not None:
                target[atom] = episode.native.xyz[native_atom]
    return backbone_rmsd(structure, first, last, xyz, target)
