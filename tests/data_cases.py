"""Small training data made from shipped structures, one chain in each split."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geofold import resources
from geofold.app.train.chain_dataset import build_data
from geofold.learn.data.chains import read_chains
from geofold.learn.weights import data_hash
from geofold.molecule.datasets.packed_chains import pack_chains

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
