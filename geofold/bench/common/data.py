"""Data sets and weights that several benchmarks need, and the messages if they are missing."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from geofold import resources
from geofold.errors import OptionError
from geofold.learn.data.chains import Chains, read_chains
from geofold.learn.weights import data_hash
from geofold.molecule.datasets.packed_chains import PackedChains, read_packed

PROTEINS = (
    "1ubi.pdb", "1pwc.pdb", "1ajj.pdb", "1orc.pdb", "2cviA.pdb", "2xcjA.pdb", "2va0A.pdb", "1pdoA.pdb", "1ahsA.pdb",
    "3ny7A.pdb", "1lpbA.pdb", "2gu3A.pdb", "1dx5I.pdb", "1bhl.pdb", "5pti.cif", "1fas.cif",
)  # fmt: skip
"""Sixteen proteins of `structures/`, from which bent loops are drawn and on which side chains are packed."""


def require_data(data: str | None, benchmark: str, files: str = "backbones.npz and packed.npz") -> str:
    """Return the folder of `--data`.

    Raises
    ------
    OptionError
        If there is none.
    """
    if data is None:
        made_by = " (geofold data pack)" if "packed" in files else ""
        raise OptionError(f"{benchmark} without --data", f"the folder of {files}{made_by}", "add --data FOLDER")
    return data


@cache
def read_chains_and_side_chains(folder: str) -> tuple[Chains, PackedChains]:
    """Read `backbones.npz` and `packed.npz` of a folder; the result is kept for the rest of the process."""
    file = Path(folder) / "backbones.npz"
    return read_chains(file), read_packed(Path(folder) / "packed.npz", data_hash(file))


def require_weights(weights: str, command: str) -> None:
    """Check that a file of weights is in the package's `rivals` folder.

    Raises
    ------
    OptionError
        If it is missing; the message names the `command` that trains it.
    """
    try:
        resources.find("rivals", weights)
    except FileNotFoundError:
        raise OptionError(
            f"a benchmark without the weights of the rival {weights.split('.')[0]}",
            f"geofold/data/rivals/{weights} with its card",
            f"train it with {command}, and put it there",
        ) from None
