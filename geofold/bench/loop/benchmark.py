"""The loop benchmark: loops repaired or built, beside other tools on the same starts.

Sets: see `loop_sets`. OpenMM's minimiser plays wherever a bent loop is given, further rivals where they are asked for:
``openmm`` (its annealing) on bent loops, ``pdbfixer`` and ``promod3`` build any loop anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from geofold.app import api
from geofold.app.report.audit import audit
from geofold.app.report.check import any_altloc
from geofold.app.report.measure import measure
from geofold.app.result import Result
from geofold.bench.common.openmm_min import loop_in_place
from geofold.bench.common.records import Records, gather
from geofold.bench.loop.sets import Episode, episodes, native_cis
from geofold.bench.loop.tables import summarise
from geofold.errors import OptionError
from geofold.modelling.search.candidates import rebuilt
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.loop.build_request import find_builds
from geofold.molecule.loop.perturbation import backbone_rmsd
from geofold.molecule.selection import find_range
from geofold.molecule.sidechains.repacking import KEPT
from geofold.molecule.structure import Floats, Structure, read
from geofold.molecule.topology.torsion_tree import TorsionTree, torsion_tree

MODELS = 5
"""Ends that are compared where a loop is built, or its neighbours may be wrong."""
AGENTS = {"openmm": "openmm_anneal", "pdbfixer": "pdbfixer", "promod3": "promod3"}
"""Rivals as they are asked for, and as tables call them."""
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
        For an unknown rival or set.
    """
    began = time.time()
    asked = [name for name in rivals.split(",") if name]
    for name in asked:
        if name not in AGENTS:
            raise OptionError(f"rival {name}", ", ".join(AGENTS), "choose among them, with commas between")
    records = Records(out)
    count = limit or (8 if quick else None)
    wanted = ["geofold", *(["openmm_min"] if set_name in ("bent", "tuning") else []), *(AGENTS[a] for a in asked)]
    jobs = []
    for episode in episodes(set_name, data, count):
        missing = [
            agent for agent in wanted
            if not records.has(episode.name, agent) and not (agent.startswith("openmm") and episode.sequence)
        ]  # fmt: skip
        if missing:
            jobs.append((episode, missing, seed, budget))
    gather(records, f"loops {set_name}", played, jobs, WORKERS)
    summarise(records, set_name, quick=quick or limit is not None, began=began)


def played(episode: Episode, agents: list[str], seed: int, budget: float | None) -> list[tuple[str, str, Numbers]]:
    """Records of some agents on an episode; what an agent refuses is told by its line."""
    rows = []
    for agent in agents:
        try:
            numbers = PLAYERS[agent](episode, seed, budget)
        except Exception as error:  # a rival's own troubles are part of what it does
            if agent == "geofold":
                raise
            numbers = {"failed": str(error).splitlines()[0]}
        rows.append((episode.name, agent, numbers))
    return rows


@contextmanager
def _clock() -> Iterator[Numbers]:
    """Wall and CPU seconds of what is done inside."""
    told: Numbers = {}
    began, spent = time.perf_counter(), sum(os.times()[:4])
    yield told
    told |= {"seconds": time.perf_counter() - began, "cpu_seconds": sum(os.times()[:4]) - spent}


def _geofold(episode: Episode, seed: int, budget: float | None) -> Numbers:
    request: Numbers = {"loop": episode.loop}
    if episode.sequence is not None:
        request = {"build": f"{episode.loop}={episode.sequence}"}
    several = MODELS if episode.sequence is not None or episode.shell else 1
    with _clock() as told:
        result = api.repair(
            episode.start, **request, seed=seed, budget=budget, models=several, repack_shell=episode.shell
        )
    models = [
        {"score": model.report.get("score"), "rmsd": _rmsd(episode, model.structure, model.xyz)}
        for model in result.models
    ]  # fmt: skip
    report = result.report
    return told | _native(episode) | {
        **_moved(episode, result.structure, result.xyz), "models": models, "status": report["stream"]["status"][0],
        "before": _short(report["before"]), "after": _short(report["after"]),
        "checks": {c["name"]: c["value"] for c in report["audit"]["checks"]}, "audit": result.passed,
        "finite": bool(np.isfinite(result.xyz).all()), "others_identical": others_identical(episode, result),
        "latency_ms_mean": report["stream"]["latency_ms"]["mean"],
        "confidence": (report.get("confidence") or [None])[0],
        "repacked": len(report.get("repacked", {}).get("residues", [])),
    }  # fmt: skip


def _in_place(way: Callable[..., Any]) -> Callable[[Episode, int, float | None], Numbers]:
    """A rival that moves a bent loop where it stands."""

    def play(episode: Episode, seed: int, budget: float | None) -> Numbers:
        start = episode.start
        first, last = find_range(start, episode.loop)
        with _clock() as told:
            outcome = way(start, first, last, seed=seed)
        tree = torsion_tree(start, first, last)
        before, after = (_measured(start, tree, xyz) for xyz in (start.xyz, outcome.xyz))
        checks = audit(start, [tree], start.xyz, outcome.xyz, (before, after))
        return told | _native(episode) | {
            **_moved(episode, start, outcome.xyz), "before": _short(before), "after": _short(after),
            "checks": {c.name: c.value for c in checks}, "finite": bool(np.isfinite(outcome.xyz).all()),
        }  # fmt: skip

    return play


def _anneal(episode: Episode, seed: int, budget: float | None) -> Numbers:
    from geofold.bench.loop.rivals.openmm_anneal import anneal_in_place

    return _in_place(anneal_in_place)(episode, seed, budget)


def _builder(module: str) -> Callable[[Episode, int, float | None], Numbers]:
    """A rival that builds a loop anew."""

    def play(episode: Episode, seed: int, budget: float | None) -> Numbers:
        from importlib import import_module

        start = episode.start
        if episode.sequence is None:
            build = rebuilt(start, *find_range(start, episode.loop))
        else:
            build = find_builds(start, [f"{episode.loop}={episode.sequence}"])[0]
        way = import_module(f"geofold.bench.loop.rivals.{module}").build_missing
        with _clock() as told:
            made = way(start, build, seed=seed)
        tree = torsion_tree(made.structure, made.first, made.last)
        after = measure(made.structure, [tree], made.structure.xyz, None)
        return told | _native(episode) | {
            "rmsd": _rmsd(episode, made.structure, made.structure.xyz), "residues": made.last - made.first + 1,
            "after": _short(after), "finite": bool(np.isfinite(made.structure.xyz).all()),
        }  # fmt: skip

    return play


PLAYERS: dict[str, Callable[[Episode, int, float | None], Numbers]] = {
    "geofold": _geofold, "openmm_min": _in_place(loop_in_place), "openmm_anneal": _anneal,
    "pdbfixer": _builder("pdbfixer"), "promod3": _builder("promod3"),
}  # fmt: skip


def _measured(structure: Structure, tree: TorsionTree, xyz: Floats) -> Numbers:
    model = EnergyModel.of(replace(structure, xyz=xyz), structure.steering_mask)
    return measure(structure, [tree], xyz, model)


def _native(episode: Episode) -> Numbers:
    """The native's own clashes, outliers and cis bonds."""
    native, (first, last) = episode.native, episode.span
    tree = torsion_tree(native, first, last, altloc=any_altloc(native, first, last))
    return {"native": _short(measure(native, [tree], native.xyz, None)), "native_cis": native_cis(episode)}


def _moved(episode: Episode, structure: Structure, xyz: Floats) -> Numbers:
    first, last = find_range(structure, episode.loop)
    numbers: Numbers = {"residues": last - first + 1, "rmsd": _rmsd(episode, structure, xyz)}
    if episode.sequence is None:
        numbers["rmsd_start"] = _rmsd(episode, episode.start, episode.start.xyz)
    return numbers


def _rmsd(episode: Episode, structure: Structure, xyz: Floats) -> float:
    """Of the loop's backbone from the native's, A, everything else as it stands; atoms are matched by name."""
    (first, last), (there, _) = find_range(structure, episode.loop), episode.span
    wanted = np.full_like(xyz, np.nan)
    for k in range(last - first + 1):
        for name in ("N", "CA", "C", "O"):
            own = structure.atom(first + k, name, structure.steering_mask)
            other = episode.native.atom(there + k, name, episode.native.steering_mask)
            if own is not None and other is not None:
                wanted[own] = episode.native.xyz[other]
    return backbone_rmsd(structure, first, last, xyz, wanted)


def others_identical(episode: Episode, result: Result) -> bool:
    """Whether every line of the start is in the output, but those of the loop and of side chains that were repacked.

    Atoms that the start lacked and the report lists are no lines of the start.
    """
    repacked = set(result.report.get("repacked", {}).get("residues", []))
    first, last = episode.span
    loop = {episode.native.residues[k].label for k in range(first, last + 1)}
    before = episode.start.render(episode.start.xyz, np.zeros(len(episode.start), dtype=bool))
    added = set(result.report.get("added_atoms", []))
    return outside(before, loop, repacked) == outside(result.content, loop, repacked, added)


def outside(content: bytes, loop: set[str], repacked: set[str], added: Collection[str] = ()) -> list[str]:
    """Lines of a PDB file but those of a loop, of repacked side chains, of atoms added, and of what counts atoms."""
    structure = read(content)
    own, turned = (
        np.isin(structure.residue_of, [k for k, one in enumerate(structure.residues) if one.label in labels])
        for labels in (loop, repacked)
    )
    gone = own | (turned & ~np.isin(structure.name, list(KEPT)))
    labels = [structure.residues[k].label for k in structure.residue_of]
    gone |= np.array([f"{label}@{name}" in added for label, name in zip(labels, structure.name, strict=True)])
    lines = content.decode("latin-1").splitlines()
    dropped = set(structure.document.atom_lines[gone].tolist())  # type: ignore[union-attr]
    return [
        line for k, line in enumerate(lines)
        if k not in dropped and not line.startswith(("TER", "MASTER"))
    ]  # fmt: skip


def _short(numbers: Numbers) -> Numbers:
    ramachandran = numbers.get("ramachandran", {})
    return {
        "overlaps": numbers.get("severe_overlaps"), "outliers": ramachandran.get("outliers"),
        "cis": numbers.get("cis_peptide_bonds"), "energy": numbers.get("energy_kj_mol"),
    }  # fmt: skip
