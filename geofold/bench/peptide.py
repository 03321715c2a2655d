"""The peptide benchmark: random sequences and contacts, from an extended chain, beside OpenMM's own way."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.progress import track

from geofold.app import api
from geofold.app.audit import audit
from geofold.app.constrain_peptide import HELD
from geofold.app.measure import measure
from geofold.bench.agents.openmm_min import peptide_to_contact
from geofold.bench.records import Records, mean_and_half_width, table_of, write_summary
from geofold.molecule.builder import LETTERS, peptide
from geofold.molecule.contacts import CLOSEST, parse_contact
from geofold.molecule.torsions import torsion_tree

EPISODES, QUICK, RIVAL = 256, 64, 16
TEST_SEED, TUNING_SEED = 7000, 6000
LIMIT = 128
RIVALS = {"openmm_min": 10.0, "openmm_min_loose": 30.0}
"""Tolerance of the minimiser in kJ/mol/nm: OpenMM's default, which damages least, and a looser, faster one."""


@dataclass(frozen=True)
class Episode:
    """A sequence and the contact that is wanted of it."""

    name: str
    sequence: str
    contact: str


def episodes(count: int, *, seed: int = TEST_SEED) -> list[Episode]:
    """Random sequences of 8-12 residues over the twenty amino acids, random i, j with |i - j| >= 3."""
    noise = np.random.default_rng(seed)
    made = []
    for number in range(count):
        length = int(noise.integers(8, 13))
        sequence = "".join(noise.choice(list(LETTERS), length))
        while True:
            i, j = sorted(int(k) for k in noise.integers(1, length + 1, 2))
            if j - i >= CLOSEST:
                break
        made.append(Episode(f"{number:03d}_{sequence}_{i}_{j}", sequence, f"A:{i}-A:{j}<6.0"))
    return made


def run(out: str, *, quick: bool, limit: int | None, seed: int, split: str = "test") -> None:
    """Run geofold on every episode and OpenMM's minimiser on the first sixteen, one after the other."""
    began = time.time()
    records = Records(out)
    count = limit or (QUICK if quick else EPISODES)
    chosen = episodes(count, seed=TEST_SEED if split == "test" else TUNING_SEED)
    if not all(records.has(e.name, "geofold") for e in chosen):
        api.constrain(
            sequence="GAGAGAGA", contacts=["A:1-A:8<6.0"], energy=False
        )  # libraries loaded before the clock runs
    for number, episode in enumerate(track(chosen, description="peptide")):
        if not records.has(episode.name, "geofold"):
            records.add(episode.name, "geofold", **_geofold(episode, seed))
        for agent, tolerance in RIVALS.items():
            if number < RIVAL and not records.has(episode.name, agent):
                records.add(episode.name, agent, **_openmm(episode, seed, tolerance))
    summarise(records, quick=quick or limit is not None, began=began)


def _geofold(episode: Episode, seed: int) -> dict[str, Any]:
    result = api.constrain(sequence=episode.sequence, contacts=[episode.contact], seed=seed, energy=True, steps=LIMIT)
    report = result.report
    success = report["stream"]["status"] == ["done"]
    steps = report["stream"]["steps"] - HELD + 1 if success else LIMIT
    checks = {c["name"]: c["value"] for c in report["audit"]["checks"]}
    return {
        "success": success, "steps": steps, "stream_seconds": report["stream"]["seconds"],
        "seconds_to_contact": report["stream"]["seconds_to_goal"], "latency_ms": report["stream"]["latency_ms"],
        "overlaps": report["after"]["severe_overlaps"], "outliers": report["after"]["ramachandran"]["outliers"],
        "cis_made": checks["cis_peptide_bonds_made"], "chirality_changed": checks["chiralities_changed"],
        "energy": report["after"]["energy_kj_mol"], "distance_angstrom": report["contacts"][0]["after_angstrom"],
    }  # fmt: skip


def _openmm(episode: Episode, seed: int, tolerance: float) -> dict[str, Any]:
    structure = peptide(episode.sequence)
    outcome = peptide_to_contact(
        structure, (parse_contact(structure, episode.contact),), seed=seed, tolerance=tolerance
    )
    tree = torsion_tree(structure, 0, len(structure.residues) - 1)
    before, after = (measure(structure, [tree], x, None) for x in (structure.xyz, outcome.xyz))
    checks = {c.name: c.value for c in audit(structure, [tree], structure.xyz, outcome.xyz, (before, after))}
    contact = parse_contact(structure, episode.contact)
    return {
        "success": bool(outcome.reached and after["severe_overlaps"] == 0 and after["ramachandran"]["outliers"] == 0),
        "reached": bool(outcome.reached), "seconds_to_contact": outcome.seconds, "overlaps": after["severe_overlaps"],
        "outliers": after["ramachandran"]["outliers"], "cis_made": checks["cis_peptide_bonds_made"],
        "chirality_changed": checks["chiralities_changed"],
        "distance_angstrom": float(10 * np.linalg.norm(outcome.xyz[contact.i] - outcome.xyz[contact.j])),
    }  # fmt: skip


def summarise(records: Records, *, quick: bool, began: float) -> None:
    """Table and summary of the records."""
    rivals = records.of("openmm_min")
    shared = {row["episode"] for row in rivals}
    metrics: dict[str, float] = {}
    body = []
    for agent in ("geofold", *RIVALS):
        rows = records.of(agent)
        if not rows:
            continue
        steps = [row["steps"] for row in rows if "steps" in row]
        metrics |= {
            f"{agent}.{name}": float(value)
            for name, value in {
                "episodes": len(rows),
                "success": np.mean([r["success"] for r in rows]),
                "cis_made": sum(max(r["cis_made"], 0) for r in rows),
                "chirality_changed": sum(r["chirality_changed"] for r in rows),
                "rama_outliers": np.mean([r["outliers"] for r in rows]),
                "overlaps": np.mean([r["overlaps"] for r in rows]),
                "seconds_to_contact": np.median([r["seconds_to_contact"] for r in rows]),
                "seconds_to_contact_shared": np.median(
                    [r["seconds_to_contact"] for r in rows if r["episode"] in shared] or [0.0]
                ),
            }.items()
        }
        if steps:
            metrics[f"{agent}.steps"], metrics[f"{agent}.steps_ci"] = mean_and_half_width(steps)
            metrics[f"{agent}.median_steps"] = float(np.median(steps))
            metrics[f"{agent}.latency_ms_mean"] = float(np.mean([r["latency_ms"]["mean"] for r in rows]))
            metrics[f"{agent}.latency_ms_p99"] = float(np.median([r["latency_ms"]["p99"] for r in rows]))
        get = {name.split(".")[1]: value for name, value in metrics.items() if name.startswith(f"{agent}.")}
        body.append(
            [
                agent,
                str(len(rows)),
                f"{get['success']:.3f}",
                f"{get['steps']:.1f} +- {get['steps_ci']:.1f}" if steps else "-",
                f"{get['cis_made']:.0f}",
                f"{get['chirality_changed']:.0f}",
                f"{get['rama_outliers']:.2f}",
                f"{get['overlaps']:.2f}",
                f"{get['seconds_to_contact_shared']:.3f}",
            ]
        )
    ours = np.median([r["seconds_to_contact"] for r in records.of("geofold") if r["episode"] in shared] or [np.nan])
    for agent in RIVALS:
        rows = records.of(agent)
        if rows:
            ratio = ours / np.median([r["seconds_to_contact"] for r in rows])
            metrics[f"geofold.time_over_{agent}"] = float(ratio)
            metrics[f"{agent}.reached"] = float(np.mean([r["reached"] for r in rows]))
    columns = [
        "agent",
        "episodes",
        "success",
        "steps",
        "cis made",
        "chirality changed",
        "outliers",
        "overlaps",
        f"median s to contact (first {len(shared)})",
    ]
    write_summary(records.folder, metrics, quick=quick, began=began, table=table_of(columns, body), note="peptide")
