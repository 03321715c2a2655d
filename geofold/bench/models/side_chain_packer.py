"""Side-chain packing on native backbones, compared with PDBFixer.

Both rebuild all side chains on the backbones (N, CA, C, O) of shipped structures.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from geofold import resources
from geofold.bench.common.data import PROTEINS
from geofold.bench.common.records import Records, table_of, write_summary
from geofold.geometry import wrap
from geofold.molecule.analysis.clashes import count_severe_overlaps
from geofold.molecule.datasets.packed_chains import relabel_row, with_added_atoms
from geofold.molecule.energy.all_atom import platform
from geofold.molecule.energy.pdbfixer_input import pdb_text
from geofold.molecule.io.read import read
from geofold.molecule.sidechains.packing import find_shell, pack, place_side_chains
from geofold.molecule.sidechains.rotamer_library import SYMMETRIC_RESIDUES, chi_angles
from geofold.molecule.structure import AddedAtom, Structure

CHI_TOLERANCE = math.radians(40.0)
"""Largest deviation (radian) of a chi that counts as right."""
BURIED_NEIGHBOURS = 20
"""Number of CA atoms within 10 A above which a residue is buried."""
SHELL_LOOP = 12
"""Length of the loop whose shell is timed."""


def run(out: str, *, quick: bool, limit: int | None, seed: int) -> None:
    """Pack every protein with geofold and with PDBFixer, then write the table.

    Parameters
    ----------
    out : str
        Folder of the records.
    quick : bool
        Pack four proteins only.
    limit : int or None
        Number of proteins.
    seed : int
        Seed of both packers.
    """
    began = time.time()
    records = Records(out)
    agents: dict[str, Callable[[Structure], Sequence[AddedAtom]]] = {
        "geofold": lambda bare: place_side_chains(bare, pack(bare, seed=seed))[1],
        "pdbfixer": lambda bare: complete_with_pdbfixer(bare, seed),
    }
    pack(strip_side_chains(read(resources.find("structures", "1ajj.pdb"))))  # loads the libraries before timing
    for file in track(PROTEINS[: limit or (4 if quick else None)], description="packer"):
        native = read(resources.find("structures", file))
        bare, index_of = strip_side_chains(native), _index_residues(native)
        for agent, build in agents.items():
            if not records.has(file, agent):
                records.add(file, agent, **_measure_packing(native, bare, index_of, build))
        if not records.has(file, "shell"):
            records.add(file, "shell", seconds=_time_shell(native))
    summarise(records, quick=quick or limit is not None, began=began)


def complete_with_pdbfixer(bare: Structure, seed: int) -> list[AddedAtom]:
    """Build side chains on a bare backbone with PDBFixer."""
    import openmm.unit
    import pdbfixer

    fixer = pdbfixer.PDBFixer(pdbfile=io.StringIO(pdb_text(bare, bare.conformer_mask, list(range(len(bare.residues))))))
    fixer.platform, fixer.missingResidues = platform(), {}
    fixer.findMissingAtoms()
    fixer.addMissingAtoms(seed=seed + 1)
    xyz = fixer.positions.value_in_unit(openmm.unit.nanometer)
    return [
        AddedAtom(atom.residue.index, atom.name, atom.element.symbol.upper(), np.array(position, dtype=float))
        for atom, position in zip(fixer.topology.atoms(), xyz, strict=True)
        if atom.name != "OXT" and bare.atom(atom.residue.index, atom.name, bare.conformer_mask) is None
    ]


def strip_side_chains(structure: Structure) -> Structure:
    """Make a structure of the backbone atoms N, CA, C and O only."""
    atoms = np.flatnonzero(structure.conformer_mask & np.isin(structure.name, ("N", "CA", "C", "O")))
    backbone_atoms = [a for a in atoms.tolist() if structure.is_amino_acid(int(structure.residue_of[a]))]
    return Structure.from_rows(
        [relabel_row(structure, a, structure.xyz[a]) for a in backbone_atoms],
        f"backbone of {structure.source}",
        [int(structure.residue_of[a]) for a in backbone_atoms],
    )


def _index_residues(structure: Structure) -> dict[tuple[str, int, str], int]:
    return {(r.chain, r.resnum, r.icode): k for k, r in enumerate(structure.residues)}


def _measure_packing(
    native: Structure,
    bare: Structure,
    index_of: dict[tuple[str, int, str], int],
    build: Callable[[Structure], Sequence[AddedAtom]],
) -> dict[str, Any]:
    began = time.perf_counter()
    added = build(bare)
    seconds = time.perf_counter() - began
    model = with_added_atoms(bare, added)
    ca = bare.xyz[bare.name == "CA"]
    counts = dict.fromkeys(("residues", "chi1", "buried", "buried_chi1", "both", "chi12"), 0)
    for k, residue in enumerate(bare.residues):
        native_chi = chi_angles(native, index_of[residue.chain, residue.resnum, residue.icode], native.conformer_mask)
        if residue.resname == "PRO" or not len(native_chi) or not np.isfinite(native_chi[0]):
            continue
        agree = _chi_agree(chi_angles(model, k, model.conformer_mask), native_chi, residue.resname)
        ca_position = bare.xyz[bare.atom(k, "CA", bare.conformer_mask)]
        buried = int((np.linalg.norm(ca - ca_position, axis=1) < 1.0).sum()) > BURIED_NEIGHBOURS
        counts["residues"] += 1
        counts["chi1"] += int(agree[0])
        counts["buried"] += int(buried)
        counts["buried_chi1"] += int(buried and agree[0])
        if len(agree) > 1:
            counts["both"] += 1
            counts["chi12"] += int(agree[0] and agree[1])
    return counts | {"seconds": seconds, "overlaps": count_severe_overlaps(model), "of": len(bare.residues)}


def _chi_agree(chi: NDArray[np.float64], native_chi: NDArray[np.float64], name: str) -> NDArray[np.bool_]:
    """Mask of chi within 40 degrees of the native; the last one of a symmetric group is compared modulo 180 degrees."""
    turn = np.abs(wrap(chi - native_chi))
    if name in SYMMETRIC_RESIDUES:
        turn[-1] = min(turn[-1], math.pi - turn[-1])
    return turn < CHI_TOLERANCE


def _time_shell(native: Structure) -> float:
    """Seconds to pack twelve residues in the middle of the chain and their neighbours."""
    middle = len(native.residues) // 2
    shell_residues = find_shell(native, list(range(middle - SHELL_LOOP // 2, middle + SHELL_LOOP // 2)))
    began = time.perf_counter()
    pack(native, shell_residues)
    return time.perf_counter() - began


def summarise(records: Records, *, quick: bool, began: float) -> None:
    """Write table and summary of the records."""
    metrics: dict[str, float] = {}
    body = []
    for agent in ("geofold", "pdbfixer"):
        rows = records.of(agent)
        total = {key: sum(row[key] for row in rows) for key in rows[0] if isinstance(rows[0][key], int | float)}
        numbers = {
            "chi1": total["chi1"] / total["residues"],
            "chi1_buried": total["buried_chi1"] / total["buried"],
            "chi12": total["chi12"] / total["both"],
            "overlaps_per_100": 100 * total["overlaps"] / total["of"],
            "seconds_per_300": 300 * total["seconds"] / total["of"],
            "residues": total["residues"],
        }
        metrics |= {f"{agent}.{key}": float(value) for key, value in numbers.items()}
        body.append(
            [
                agent,
                str(total["residues"]),
                *(f"{100 * numbers[k]:.1f} %" for k in ("chi1", "chi1_buried", "chi12")),
                f"{numbers['overlaps_per_100']:.1f}",
                f"{numbers['seconds_per_300']:.2f}",
            ]
        )
    shells = [row["seconds"] for row in records.of("shell")]
    metrics |= {"geofold.shell_seconds": float(np.median(shells)), "geofold.shell_seconds_most": max(shells)}
    columns = [
        "agent",
        "residues",
        "chi1 within 40 degrees",
        "of buried residues",
        "chi1 and chi2",
        "severe overlaps per 100 residues",
        "s per 300 residues",
    ]
    write_summary(records.folder, metrics, quick=quick, began=began, table=table_of(columns, body), note="packer")
