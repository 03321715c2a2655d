"""The loop benchmark: bent loops repaired, beside OpenMM's minimiser on the same starts.

Sets: ``bent`` (forty loops made from `structures/`), ``tuning`` (the same with another seed), and folders of
the published benchmarks under ``--data`` with a MANIFEST.tsv.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from geofold.app import api
from geofold.app.audit import ANGLE, BOND, CLOSURE, OMEGA, audit
from geofold.app.measure import measure
from geofold.bench import bent_set
from geofold.bench.agents.openmm_min import loop_in_place
from geofold.bench.records import Records, mean_and_half_width, table_of, write_summary
from geofold.errors import InputFileError, OptionError
from geofold.molecule.bends import backbone_rmsd
from geofold.molecule.energy import EnergyModel
from geofold.molecule.residue_range import find_range
from geofold.molecule.structure import Structure, read
from geofold.molecule.torsions import TorsionTree, torsion_tree


@dataclass(frozen=True)
class Episode:
    """A start, its loop and its native (same atoms where they can be matched by name)."""

    name: str
    start: Structure
    loop: str
    native: Structure


def episodes(set_name: str, data: str | None, limit: int | None) -> Iterator[Episode]:
    """Episodes of a set."""
    if set_name in ("bent", "tuning"):
        seed = bent_set.TEST_SEED if set_name == "bent" else bent_set.TUNING_SEED
        for case, native, bent in bent_set.cases(limit or bent_set.COUNT, seed=seed):
            moved = np.abs(bent - native.xyz).max(1) > 0
            yield Episode(case.name, read(native.render(bent, moved), name=case.file), case.loop, native)
        return
    if data is None:
        raise OptionError(f"set {set_name} without --data", "the folder that holds it", "add --data FOLDER")
    manifest = Path(data) / "MANIFEST.tsv"
    if not manifest.is_file():
        raise InputFileError(f"{data} has no MANIFEST.tsv", "the folder of the loop benchmarks", "check --data")
    with manifest.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["set"] == set_name]
    if not rows:
        raise OptionError(f"set {set_name}", f"bent, tuning or a set of {manifest}", "check the name")
    for row in rows[:limit]:
        chain = "" if row["chain"] == "_" else row["chain"]
        start = read(Path(data) / row["start_model"])
        loop = f"{chain}:{row['start_resid']}-{row['end_resid']}"
        name = Path(row["pdb_file"]).name.split(".")[0]
        yield Episode(name, start, loop, read(Path(data) / row["pdb_file"]))


def run(set_name: str, out: str, *, data: str | None, quick: bool, limit: int | None, seed: int) -> None:
    """Run both agents over a set, then write the table and the summary."""
    began = time.time()
    records = Records(out)
    count = limit or (8 if quick else None)
    for episode in track(list(episodes(set_name, data, count)), description=f"loop {set_name}"):
        if not records.has(episode.name, "geofold"):
            records.add(episode.name, "geofold", **_geofold(episode, seed))
        if not records.has(episode.name, "openmm_min"):
            records.add(episode.name, "openmm_min", **_openmm(episode, seed))
    summarise(records, set_name, quick=quick or limit is not None, began=began)


def _geofold(episode: Episode, seed: int) -> dict[str, Any]:
    first, last = find_range(episode.start, episode.loop)
    began, cpu = time.perf_counter(), time.process_time()
    result = api.repair(episode.start, episode.loop, seed=seed)
    clock = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    checks = {c["name"]: c["value"] for c in result.report["audit"]["checks"]}
    numbers = _numbers(episode, result.structure, first, last, result.xyz)
    return clock | numbers | {
        "status": result.report["stream"]["status"][0], "before": _short(result.report["before"]),
        "after": _short(result.report["after"]), "checks": checks, "finite": bool(np.isfinite(result.xyz).all()),
        "others_identical": _others_identical(episode.start, result.content, first, last),
        "latency_ms_mean": result.report["stream"]["latency_ms"]["mean"],
    }  # fmt: skip


def _openmm(episode: Episode, seed: int) -> dict[str, Any]:
    first, last = find_range(episode.start, episode.loop)
    began, cpu = time.perf_counter(), time.process_time()
    outcome = loop_in_place(episode.start, first, last, seed=seed)
    clock = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    tree = torsion_tree(episode.start, first, last)
    before, after = (_measured(episode.start, tree, x) for x in (episode.start.xyz, outcome.xyz))
    checks = audit(episode.start, [tree], episode.start.xyz, outcome.xyz, (before, after))
    numbers = _numbers(episode, episode.start, first, last, outcome.xyz)
    return clock | numbers | {
        "before": _short(before), "after": _short(after), "checks": {c.name: c.value for c in checks},
        "finite": bool(np.isfinite(outcome.xyz).all()),
    }  # fmt: skip


def _measured(structure: Structure, tree: TorsionTree, xyz: np.ndarray) -> dict[str, Any]:
    model = EnergyModel.of(replace(structure, xyz=xyz), structure.steering_mask)
    return measure(structure, [tree], xyz, model)


def _numbers(episode: Episode, structure: Structure, first: int, last: int, xyz: np.ndarray) -> dict[str, Any]:
    """RMSD before and after, and the native's own clashes and outliers."""
    one, two = find_range(episode.native, episode.loop)
    native = measure(episode.native, [torsion_tree(episode.native, one, two, altloc=_letter(episode.native, one, two))],
                     episode.native.xyz, None)  # fmt: skip
    reference = _matched(structure, episode.native, first, one, last - first + 1)
    return {
        "native": _short(native), "residues": last - first + 1,
        "rmsd_start": backbone_rmsd(structure, first, last, structure.xyz, reference),
        "rmsd": backbone_rmsd(structure, first, last, xyz, reference),
    }  # fmt: skip


def _letter(structure: Structure, first: int, last: int) -> str | None:
    found = [str(structure.altloc[a]) for k in range(first, last + 1) for a in structure.residues[k].atoms]
    return next((letter for letter in found if letter), None)


def _matched(structure: Structure, native: Structure, first: int, native_first: int, length: int) -> np.ndarray:
    """Native coordinates of the loop's backbone under the start's atom numbers."""
    xyz = np.full_like(structure.xyz, np.nan)
    for k in range(length):
        for name in ("N", "CA", "C", "O"):
            here = structure.atom(first + k, name, structure.steering_mask)
            there = native.atom(native_first + k, name, native.steering_mask)
            if here is not None and there is not None:
                xyz[here] = native.xyz[there]
    return xyz


def _others_identical(start: Structure, content: bytes, first: int, last: int) -> bool:
    """Whether every line of the output but those of the loop's atoms is byte-identical to the input's."""
    untouched = np.zeros(len(start), dtype=bool)
    before = start.render(start.xyz, untouched).splitlines()
    after = content.splitlines()
    changed = sum(one != other for one, other in zip(before, after, strict=False))
    loop = sum(len(start.residues[k].atoms) for k in range(first, last + 1))
    end = read(content)
    outside = np.ones(len(end), dtype=bool)
    for k in range(first, last + 1):
        outside[end.residues[k].atoms] = False
    added = len(end) - len(start)
    if added:
        return changed <= loop + added or len(after) == len(before) + added
    return len(before) == len(after) and changed <= loop and bool((end.xyz[outside] == start.xyz[outside]).all())


def _short(numbers: dict[str, Any]) -> dict[str, Any]:
    return {
        "overlaps": numbers["severe_overlaps"], "outliers": numbers["ramachandran"]["outliers"],
        "cis": numbers["cis_peptide_bonds"], "energy": numbers.get("energy_kj_mol"),
    }  # fmt: skip


def came_down(row: dict[str, Any]) -> bool:
    """At most one overlap more than the native, and no more outliers than it."""
    after, native = row["after"], row["native"]
    return after["overlaps"] <= native["overlaps"] + 1 and after["outliers"] <= native["outliers"]


def kept_promises(row: dict[str, Any]) -> bool:
    """Geometry kept: other atoms, closure, bonds, angles, omega, chirality."""
    limits = {
        "other_atoms_moved_angstrom": 0.0, "closure_error_angstrom": CLOSURE, "bond_change_angstrom": BOND,
        "angle_change_degrees": ANGLE, "omega_change_degrees": OMEGA, "cis_peptide_bonds_made": 0.0,
        "chiralities_changed": 0.0,
    }  # fmt: skip
    return bool(row["finite"]) and all(row["checks"][name] <= limit for name, limit in limits.items())


def summarise(records: Records, set_name: str, *, quick: bool, began: float) -> None:
    """Table and summary of the records."""
    metrics: dict[str, float] = {}
    body = []
    for agent in ("geofold", "openmm_min"):
        rows = records.of(agent)
        if not rows:
            continue
        rmsd = np.array([row["rmsd"] for row in rows])
        mean, half = mean_and_half_width(rmsd)
        metrics |= {
            f"{agent}.{name}": value
            for name, value in {
                "episodes": len(rows),
                "kept_promises": np.mean([kept_promises(r) for r in rows]),
                "success": np.mean([came_down(r) for r in rows]),
                "energy_below_start": np.mean([r["after"]["energy"] < r["before"]["energy"] for r in rows]),
                "median_rmsd": np.median(rmsd),
                "mean_rmsd": mean,
                "mean_rmsd_ci": half,
                "start_median_rmsd": np.median([r["rmsd_start"] for r in rows]),
                "below_1": np.mean(rmsd < 1),
                "below_2": np.mean(rmsd < 2),
                "closure_error": max(r["checks"]["closure_error_angstrom"] for r in rows),
                "bond_change": max(r["checks"]["bond_change_angstrom"] for r in rows),
                "angle_change": max(r["checks"]["angle_change_degrees"] for r in rows),
                "cis_made": sum(max(r["checks"]["cis_peptide_bonds_made"], 0) for r in rows),
                "chirality_changed": sum(r["checks"]["chiralities_changed"] for r in rows),
                "rama_outliers": np.mean([r["after"]["outliers"] for r in rows]),
                "overlaps": np.mean([r["after"]["overlaps"] for r in rows]),
                "energy": np.median([r["after"]["energy"] for r in rows]),
                "seconds": np.median([r["seconds"] for r in rows]),
                "cpu_seconds": np.median([r["cpu_seconds"] for r in rows]),
            }.items()
        }
        if agent == "geofold":
            metrics["geofold.others_identical"] = float(np.mean([r["others_identical"] for r in rows]))
        get = {name.split(".")[1]: value for name, value in metrics.items() if name.startswith(f"{agent}.")}
        body.append(
            [
                agent,
                str(len(rows)),
                f"{get['success']:.3f}",
                f"{get['kept_promises']:.3f}",
                f"{get['energy_below_start']:.3f}",
                f"{get['start_median_rmsd']:.2f} -> {get['median_rmsd']:.2f}",
                f"{get['overlaps']:.2f}",
                f"{get['rama_outliers']:.2f}",
                f"{get['cis_made']:.0f}",
                f"{get['closure_error']:.4f}",
                f"{get['angle_change']:.2f}",
                f"{get['seconds']:.1f}",
            ]
        )
    columns = [
        "agent",
        "loops",
        "down to the native's overlaps + 1 and outliers",
        "geometry kept",
        "energy below start",
        "median RMSD (A)",
        "overlaps",
        "outliers",
        "cis made",
        "closure (A)",
        "angle (deg)",
        "median s",
    ]
    table = table_of(columns, body) + "\n" + _each(records)
    write_summary(records.folder, metrics, quick=quick, began=began, table=table, note=f"loop set {set_name}")


def _each(records: Records) -> str:
    rows = []
    for row in records.of("geofold"):
        rows.append(
            [
                row["episode"],
                str(row["residues"]),
                f"{row['rmsd_start']:.2f} -> {row['rmsd']:.2f}",
                f"{row['before']['overlaps']} -> {row['after']['overlaps']} ({row['native']['overlaps']})",
                f"{row['before']['outliers']} -> {row['after']['outliers']} ({row['native']['outliers']})",
                f"{row['after']['energy']:.0f}",
                f"{row['seconds']:.1f}",
                row["status"],
            ]
        )
    head = ["loop", "residues", "RMSD (A)", "overlaps (native)", "outliers (native)", "energy (kJ/mol)", "s", "status"]
    return table_of(head, rows)
