"""Decoys: candidate conformations of one loop, with their RMSD to the native.

Glossary: ``K`` candidates, ``L`` residues.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from geofold.learn.arrays import FLOATS, INTEGERS, Field, read_arrays
from geofold.learn.loop_score.features import LoopEnvironment

SAMPLED, PERTURBED, GUIDED, EVOLVED, CROSSOVER, SEARCH_END = range(6)
"""Origin of a candidate: sampled from the prior; torsions of the native perturbed; guided by the loop model and
minimised on a potential; found by an evolutionary search with an earlier potential; crossover of candidates near the
native; end of a complete search with the potential itself."""
MIN_CANDIDATES = 60
"""Loops with fewer candidates are left out of training."""
DECOY_FIELDS: dict[str, Field] = {
    "xyz": (FLOATS, ("K", "L", 4, 3)),
    "rmsd": (FLOATS, ("K",)),
    "kind": (INTEGERS, ("K",)),
    "around": (FLOATS, ("N", 4, 3)),
    "letters": (INTEGERS, ("N",)),
    "number": (INTEGERS, ("N",)),
    "first": (INTEGERS, ()),
}
"""Arrays of a decoy file."""


class Decoys(NamedTuple):
    """Candidates of one loop.

    xyz : (K, L, 4, 3) float32
        N, CA, C, O (A).
    rmsd : (K,)
        RMSD (A) to the native backbone.
    kind : (K,) int
        Origin, `SAMPLED` to `SEARCH_END`.
    around : LoopEnvironment
        The rest of the protein.
    """

    xyz: Tensor
    rmsd: Tensor
    kind: Tensor
    around: LoopEnvironment


def decoys_to_arrays(decoys: Decoys) -> dict[str, np.ndarray]:
    """Arrays of a decoy file."""
    around = decoys.around
    return {
        "xyz": decoys.xyz.numpy(),
        "rmsd": decoys.rmsd.numpy(),
        "kind": decoys.kind.numpy(),
        "around": around.xyz.numpy(),
        "letters": around.letters.numpy(),
        "number": around.number.numpy(),
        "first": np.array(around.first),
    }


def decoys_from_arrays(arrays: Mapping[str, Any]) -> Decoys:
    """Decoys from the arrays of a decoy file."""
    xyz, rmsd, kind, around, letters, number = (
        torch.as_tensor(arrays[name]) for name in ("xyz", "rmsd", "kind", "around", "letters", "number")
    )
    return Decoys(xyz, rmsd, kind, LoopEnvironment(around, letters, number, int(arrays["first"]), xyz.shape[1]))


def read_decoy_file(path: Path) -> Decoys | None:
    """Read a decoy file; None if the loop has no decoys.

    Raises
    ------
    InputFileError
        If the file cannot be read or has other arrays.
    """
    read_fields = partial(
        read_arrays,
        path,
        DECOY_FIELDS,
        content="decoys",
        expected="what an earlier run of `geofold train score` wrote",
        remedy="remove it, and the command that wrote it makes it again",
    )
    return decoys_from_arrays(read_fields()) if read_fields(optional=tuple(DECOY_FIELDS)) else None
