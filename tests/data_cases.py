"""Small training data made from shipped structures, one chain in each split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geofold import resources
from geofold.app.train.chain_dataset import build_data
from geofold.learn.data.chains import Chains, read_chains
from geofold.learn.weights import data_hash
from geofold.molecule.datasets.packed_chains import pack_chains
from geofold.molecule.encoding import encode_residues
from geofold.molecule.structure import Structure

NAMES = ("1ubi.pdb", "1ajj.pdb", "1orc.pdb")


def small_data(folder: Path, *, packed: bool = False, times: int = 1) -> Path:
    """Write `backbones.npz` (and `packed.npz`) into a folder; each chain is in it `times` times."""
    source = folder / "structures"
    source.mkdir(parents=True)
    for name in NAMES:
        (source / name).write_bytes(Path(str(resources.find("structures", name))).read_bytes())
    (folder / "raw.npz").write_bytes(build_data(source, shortest=20)[0])
    with np.load(folder / "raw.npz") as file:
        arrays = dict(file)
    count = len(arrays["start"])
    for name in ("dxyz", "aa", "dssp", "length"):
        arrays[name] = np.concatenate([arrays[name]] * times)
    arrays["split"] = np.tile(np.arange(count, dtype=np.uint8) % 3, times)
    arrays["start"] = np.concatenate([[0], np.cumsum(arrays["length"])[:-1]])
    path = folder / "backbones.npz"
    np.savez(path, **arrays)
    if packed:
        pack_chains(read_chains(path), data_hash(path), folder / "packed.npz", count=1)
    return path


def single_chain(structure: Structure) -> Chains:
    """A bare backbone as training data, coordinates on their grid of 0.01 A."""
    count = len(structure.residues)
    grid = np.rint(1000 * structure.xyz.reshape(count, 4, 3)).astype(np.int16)
    steps = np.diff(grid.reshape(-1, 3), axis=0, prepend=np.zeros((1, 3), np.int16)).reshape(-1, 4, 3)
    letters = encode_residues(structure, 0, count - 1)[:, 0].numpy().astype(np.uint8)
    none = np.zeros((count, 3), np.float32)
    return Chains(letters, none, np.array([0]), np.array([count]), np.array([0]), steps)
