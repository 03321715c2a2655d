"""What is learned or looked up, held against nature: here the packer of side chains, beside PDBFixer's.

Both get the same bare backbones (N, CA, C, O) of shipped structures and give every side chain back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from scipy.spatial import cKDTree

from geofold import resources
from geofold.bench.common.records import Records, table_of, write_summary
from geofold.bench.loop.bent_set import FILES
from geofold.errors import OptionError
from geofold.geometry import wrap
from geofold.molecule.datasets.packed_chains import relabel_row, with_added_atoms
from geofold.molecule.energy.all_atom import missing_atoms
from geofold.molecule.energy.vdw_radii import EXCLUDED_BONDS, POLAR, POLAR_ALLOWANCE, SEVERE_OVERLAP, radius_of
from geofold.molecule.sidechains.packing import pack, placed, shell
from geofold.molecule.sidechains.rotamer_library import FLIPPED, chi_angles
from geofold.molecule.structure import WATER, AddedAtom, Structure, read
from geofold.molecule.topology.bonds import bond_list, neighbours, separations

RIGHT = math.radians(40.0)
BURIED = 20
"""CA atoms within 10 A from which a residue counts as buried."""
LOOP = 12
PARTS = ("packer", "prior", "backbones", "controller", "peptide", "esm")


def run(out: str, *, part: str, data: str | None, quick: bool, limit: int | None, seed: int) -> None:
    """Run one part.

    Raises
    ------
    OptionError
        For an unknown part.
    """
    if part not in PARTS:
        raise OptionError(f"part {part}", " or ".join(PARTS), "choose one of them")
    if part == "prior":
        from geofold.bench.models import torsion_prior as learning_prior

        learning_prior.run(out, data=data, quick=quick, seed=seed)
        return
    if part == "backbones":
        from geofold.bench.models import prior_backbones as learning_backbones

        learning_backbones.run(out, data=data, quick=quick, limit=limit, seed=seed)
        return
    if part == "controller":
        from geofold.bench.models import loop_controller as learning_controller

        learning_controller.run(out, data=data, quick=quick, limit=limit, seed=seed)
        return
    if part == "peptide":
        from geofold.bench.peptide import policy as learning_peptide

        learning_peptide.run(out, quick=quick, limit=limit, seed=seed)
        return
    if part == "esm":
        from geofold.bench.models import elastic_loop as learning_esm

        learning_esm.run(out, data=data, quick=quick, limit=limit, seed=seed)
        return
    began = time.time()
    records = Records(out)
    agents: dict[str, Callable[[Structure], Sequence[AddedAtom]]] = {
        "geofold": lambda bare: placed(bare, pack(bare, seed=seed))[1],
        "pdbfixer": lambda bare: missing_atoms(bare, 0, len(bare.residues) - 1, seed=seed),
    }
    pack(bare_backbone(read(resources.find("structures", "1ajj.pdb"))))  # libraries loaded before the clock runs
    for file in track(FILES[: limit or (4 if quick else None)], description="packer"):
        native = read(resources.find("structures", file))
        bare, places = bare_backbone(native), _places(native)
        for agent, build in agents.items():
            if not records.has(file, agent):
                records.add(file, agent, **_numbers(native, bare, places, build))
        if not records.has(file, "shell"):
            records.add(file, "shell", seconds=_shell_seconds(native))
    summarise(records, quick=quick or limit is not None, began=began)


def bare_backbone(structure: Structure) -> Structure:
    """The amino acids' N, CA, C and O alone."""
    atoms = np.flatnonzero(structure.steering_mask & np.isin(structure.name, ("N", "CA", "C", "O")))
    kept = [a for a in atoms.tolist() if structure.is_amino_acid(int(structure.residue_of[a]))]
    return Structure.from_rows(
        [relabel_row(structure, a, structure.xyz[a]) for a in kept], f"backbone of {structure.source}",
        [int(structure.residue_of[a]) for a in kept],
    )  # fmt: skip


def _places(structure: Structure) -> dict[tuple[str, int, str], int]:
    return {(r.chain, r.resnum, r.icode): k for k, r in enumerate(structure.residues)}


def _numbers(
    native: Structure, bare: Structure, places: dict[tuple[str, int, str], int],
    build: Callable[[Structure], Sequence[AddedAtom]],
) -> dict[str, Any]:  # fmt: skip
    began = time.perf_counter()
    added = build(bare)
    seconds = time.perf_counter() - began
    model = with_added_atoms(bare, added)
    ca = bare.xyz[bare.name == "CA"]
    counts = dict.fromkeys(("residues", "chi1", "buried", "buried_chi1", "both", "chi12"), 0)
    for k, residue in enumerate(bare.residues):
        wanted = chi_angles(native, places[residue.chain, residue.resnum, residue.icode], native.steering_mask)
        if residue.resname == "PRO" or not len(wanted) or not np.isfinite(wanted[0]):
            continue
        right = _right(chi_angles(model, k, model.steering_mask), wanted, residue.resname)
        here = bare.xyz[bare.atom(k, "CA", bare.steering_mask)]
        buried = int((np.linalg.norm(ca - here, axis=1) < 1.0).sum()) > BURIED
        counts["residues"] += 1
        counts["chi1"] += int(right[0])
        counts["buried"] += int(buried)
        counts["buried_chi1"] += int(buried and right[0])
        if len(right) > 1:
            counts["both"] += 1
            counts["chi12"] += int(right[0] and right[1])
    return counts | {"seconds": seconds, "overlaps": severe_overlaps(model), "of": len(bare.residues)}


def _right(found: NDArray[np.float64], wanted: NDArray[np.float64], name: str) -> NDArray[np.bool_]:
    """Which chi are within 40 degrees; the last one of a symmetric ring or acid also after half a turn."""
    turn = np.abs(wrap(found - wanted))
    if name in FLIPPED:
        turn[-1] = min(turn[-1], math.pi - turn[-1])
    return turn < RIGHT


def severe_overlaps(structure: Structure) -> int:
    """Pairs of heavy atoms, waters apart, more than three bonds apart, that overlap by 0.4 A or more."""
    radius = np.array([radius_of(str(element)) for element in structure.element])
    polar = np.isin(structure.element, list(POLAR))
    pairs = cKDTree(structure.xyz).query_pairs(2 * radius.max() - SEVERE_OVERLAP, output_type="ndarray")
    i, j = pairs.T
    counted = (radius > 0) & ~np.isin(structure.resname, list(WATER))
    touching = np.where(counted[i] & counted[j], radius[i] + radius[j] - POLAR_ALLOWANCE * (polar[i] & polar[j]), 0.0)
    overlap = touching - np.linalg.norm(structure.xyz[i] - structure.xyz[j], axis=1)
    deep = pairs[overlap >= SEVERE_OVERLAP]
    table = neighbours(bond_list(structure, structure.steering_mask), len(structure))
    bonded = {tuple(sorted(pair)) for pair in separations(table, np.unique(deep[:, 0]), EXCLUDED_BONDS)}
    return sum(tuple(sorted(pair)) not in bonded for pair in deep.tolist())


def _shell_seconds(native: Structure) -> float:
    """Seconds to pack twelve residues in the middle and their neighbours."""
    middle = len(native.residues) // 2
    around = shell(native, list(range(middle - LOOP // 2, middle + LOOP // 2)))
    began = time.perf_counter()
    pack(native, around)
    return time.perf_counter() - began


def summarise(records: Records, *, quick: bool, began: float) -> None:
    """Table and summary of the records."""
    metrics: dict[str, float] = {}
    body = []
    for agent in ("geofold", "pdbfixer"):
        rows = records.of(agent)
        total = {key: sum(row[key] for row in rows) for key in rows[0] if isinstance(rows[0][key], int | float)}
        numbers = {
            "chi1": total["chi1"] / total["residues"], "chi1_buried": total["buried_chi1"] / total["buried"],
            "chi12": total["chi12"] / total["both"], "overlaps_per_100": 100 * total["overlaps"] / total["of"],
            "seconds_per_300": 300 * total["seconds"] / total["of"], "residues": total["residues"],
        }  # fmt: skip
        metrics |= {f"{agent}.{key}": float(value) for key, value in numbers.items()}
        body.append(
            [
                agent, str(total["residues"]), *(f"{100 * numbers[k]:.1f} %" for k in ("chi1", "chi1_buried", "chi12")),
                f"{numbers['overlaps_per_100']:.1f}", f"{numbers['seconds_per_300']:.2f}",
            ]
        )  # fmt: skip
    shells = [row["seconds"] for row in records.of("shell")]
    metrics |= {"geofold.shell_seconds": float(np.median(shells)), "geofold.shell_seconds_most": max(shells)}
    columns = [
        "agent", "residues", "chi1 within 40 degrees", "of buried residues", "chi1 and chi2",
        "severe overlaps per 100 residues", "s per 300 residues",
    ]  # fmt: skip
    write_summary(records.folder, metrics, quick=quick, began=began, table=table_of(columns, body), note="packer")
