"""Chains read back: torsions, ends, windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geofold import resources
from geofold.errors import InputFileError
from geofold.geometry import wrap
from geofold.learn.data.chains import AMINO_ACIDS, read_chains
from geofold.molecule.io.read import read
from geofold.plugins.mdtraj import trajectory_from

NAMES = (
    "ALA", "CYS", "ASP", "GLU", "PHE", "GLY", "HIS", "ILE", "LYS", "LEU", "MET", "ASN", "PRO", "GLN", "ARG", "SER",
    "THR", "VAL", "TRP", "TYR",
)  # fmt: skip
LETTERS = dict(zip(NAMES, AMINO_ACIDS, strict=True))


@pytest.fixture(scope="module")
def ubiquitin():
    return read(resources.find("structures", "1ubi.pdb"))


def written(folder: Path, structure, cut: int = 40) -> Path:
    """Ubiquitin as two chains, in the format of the data: 16-bit steps of 0.01 A."""
    rows = [k for k in range(len(structure.residues)) if structure.residues[k].resname in LETTERS]
    places = [[structure.atom(k, name, structure.conformer_mask) for name in ("N", "CA", "C", "O")] for k in rows]
    grid = np.rint(1000 * structure.xyz[np.array(places)].reshape(-1, 3)).astype(np.int16)
    path = folder / "backbones.npz"
    np.savez_compressed(
        path, dxyz=np.diff(grid, axis=0, prepend=np.zeros((1, 3), np.int16)).reshape(-1, 4, 3),
        aa=np.array([AMINO_ACIDS.index(LETTERS[structure.residues[k].resname]) for k in rows], np.uint8),
        start=np.array([0, cut]), length=np.array([cut, len(rows) - cut]), split=np.array([0, 2], np.uint8),
    )  # fmt: skip
    return path


def test_torsions_are_mdtrajs(tmp_path: Path, ubiquitin) -> None:
    import mdtraj

    chains = read_chains(written(tmp_path, ubiquitin))
    trajectory = trajectory_from(ubiquitin, ubiquitin.xyz[None])
    phi, psi = (compute(trajectory)[1][0] for compute in (mdtraj.compute_phi, mdtraj.compute_psi))
    inner = np.r_[1:39, 41:75]
    assert np.abs(wrap(chains.torsions[inner, 0] - phi[inner - 1])).max() < 0.02  # coordinates are rounded to 0.01 A
    assert np.abs(wrap(chains.torsions[inner, 1] - psi[inner])).max() < 0.02
    assert "".join(AMINO_ACIDS[k] for k in chains.residue[:8]) == "MQIFVKTL"


def test_ends_of_chains_have_no_torsions_across_them(tmp_path: Path, ubiquitin) -> None:
    chains = read_chains(written(tmp_path, ubiquitin))
    missing = np.isnan(chains.torsions)
    assert missing[[0, 40]][:, [0, 2]].all() and missing[[39, 75], 1].all()
    assert missing.sum() == 6


def test_windows_stay_in_their_chain_and_split(tmp_path: Path, ubiquitin) -> None:
    chains = read_chains(written(tmp_path, ubiquitin))
    assert chains.windows("train", 16).tolist() == [0, 16]
    assert chains.windows("test", 36).tolist() == [40]
    assert chains.windows("valid", 16).tolist() == []
    assert chains.windows("train", 41).tolist() == []


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    np.savez(path, xyz=np.zeros(3))
    with pytest.raises(InputFileError, match="holds no backbones"):
        read_chains(path)
    with pytest.raises(InputFileError, match="holds no backbones"):
        read_chains(tmp_path / "nothing.npz")
