"""Structures with a loop taken out, and what holds of any loop that was built, for the tests of building."""

from __future__ import annotations

import numpy as np
import pytest
from app_cases import STRUCTURES

from geofold.app.result import Result
from geofold.geometry import dihedral
from geofold.molecule.io.read import read
from geofold.molecule.residues import one_letter_code
from geofold.molecule.selection import find_range
from geofold.molecule.structure import Structure

QUICK = {"streams": 2, "rounds": 1, "energy": False}


def without(source: str | bytes, *spans: tuple[int, int], chain: str = "A") -> bytes:
    """A shipped file, or a file's content, without the atoms of some residues; every other line stays."""
    content = (STRUCTURES / source).read_bytes() if isinstance(source, str) else source
    lines = content.decode().splitlines(keepends=True)
    inside = _cif if content.lower().startswith(b"data_") else _pdb
    return "".join(line for line in lines if not any(inside(line, chain, *span) for span in spans)).encode()


def without_records(content: bytes, *names: str) -> bytes:
    """A PDB file without some kinds of records."""
    starts = tuple(name.encode() for name in names)
    return b"".join(line for line in content.splitlines(keepends=True) if not line.startswith(starts))


def renumbered(content: bytes, above: int, shift: int) -> bytes:
    """A PDB file whose residues above a number have other numbers."""
    lines = content.splitlines(keepends=True)
    for k, line in enumerate(lines):
        if line.startswith(b"ATOM") and int(line[22:26]) > above:
            lines[k] = line[:22] + b"%4d" % (int(line[22:26]) + shift) + line[26:]
    return b"".join(lines)


def checked(result: Result, span: str, sequence: str) -> Structure:
    """The written structure, after everything that holds for any loop was looked at."""
    structure = read(result.content)
    first, last = find_range(structure, span)  # all there, bonded to each other, in order
    built = structure.residues[first : last + 1]
    assert "".join(one_letter_code(residue.resname) for residue in built) == sequence
    mask = structure.conformer_mask

    def place(k: int, name: str) -> np.ndarray:
        return structure.xyz[structure.atom(k, name, mask)]

    for k in range(first - 1, last + 1):
        assert np.linalg.norm(place(k, "C") - place(k + 1, "N")) == pytest.approx(0.133, abs=0.002)
        omega = dihedral(place(k, "CA"), place(k, "C"), place(k + 1, "N"), place(k + 1, "CA"))
        assert abs(float(omega)) > np.radians(175)
    for k in range(first, last + 1):
        if structure.atom(k, "CB", mask) is not None:
            arms = [place(k, name) - place(k, "CA") for name in ("N", "C", "CB")]
            assert np.linalg.det(np.stack(arms)) > 0
    # as the audit sees it
    values = {check["name"]: check["passed"] for check in result.report["audit"]["checks"]}
    kept = ("other_atoms_moved_angstrom", "closure_error_angstrom", "bond_change_angstrom", "angle_change_degrees",
            "omega_from_trans_degrees", "joint_bond_error_angstrom", "joint_angle_error_degrees",
            "d_amino_acids_built")  # fmt: skip
    assert all(values[name] for name in kept)
    return structure


def _pdb(line: str, chain: str, first: int, last: int) -> bool:
    atom = line.startswith(("ATOM", "ANISOU"))
    return atom and line[21] == chain and first <= int(line[22:26]) <= last


def _cif(line: str, chain: str, first: int, last: int) -> bool:
    words = line.split()
    return line.startswith("ATOM ") and words[6] == chain and first <= int(words[8]) <= last
