"""Loops of packed training chains, with the atoms around them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geofold.errors import InputFileError
from geofold.learn.data.chains import AMINO_ACIDS, DSSP, SPLITS, Chains
from geofold.learn.loop_denoiser.batched_backbone import CB, FLANK
from geofold.learn.loop_denoiser.dataset import LoopDataset, LoopWindow
from geofold.molecule.datasets.packed_chains import PackedChains
from geofold.molecule.residues import names_of
from geofold.molecule.sidechains.rotamer_library import backbone_frames, built, side_chain

Floats = NDArray[np.float64]
LENGTHS = (5, 16)
EVERY = 3
"""One window is drawn for so many residues of a chain."""
IRREGULAR = 0.5
"""Share of a loop's residues that are in no helix or strand."""
REGULAR = tuple(DSSP.index(letter) for letter in "HGIE")
MORE_DATA = "give `geofold data build` more structures and pack more of their chains"
RADIUS = 12.0
"""A: atoms around within this of the loop's."""


def loop_windows(
    chains: Chains, packed: PackedChains, split: str, *, seed: int = 0, lengths: tuple[int, int] = LENGTHS,
    most: int | None = None, told: Callable[[int, int], None] | None = None,
) -> LoopDataset:  # fmt: skip
    """Loops of the packed chains of a split, drawn by a seed.

    Parameters
    ----------
    most
        Chains to look at.
    """
    own = [int(c) for c in packed.chain if chains.split[c] == SPLITS.index(split)][:most]
    found: list[LoopWindow] = []
    for done, number in enumerate(own):
        noise = np.random.default_rng([seed, number])
        places = [draw_loop(chains, number, noise, lengths) for _ in range(int(chains.length[number]) // EVERY)]
        wanted = sorted({place for place in places if place is not None})
        if wanted:
            found += cut_windows(chains, packed, number, wanted)
        if told is not None:
            told(done + 1, len(own))
    return LoopDataset.of(found)


def require_loops(loops: LoopDataset, path: str | Path, packed: PackedChains, chains: Chains, split: str) -> None:
    """Make sure that the packed chains of a file gave a split some loops.

    Raises
    ------
    InputFileError
        If they gave none.
    """
    if not len(loops):
        count = int((chains.split[packed.chain] == SPLITS.index(split)).sum())
        raise InputFileError(
            f"{path} has no loop of {LENGTHS[0]} to {LENGTHS[1]} residues in its split {split!r} ({len(packed.chain)}"
            f" packed chains in all, {count} in this split)", "loops in both train and valid", MORE_DATA,
        )  # fmt: skip


def draw_loop(
    chains: Chains, number: int, noise: np.random.Generator, lengths: tuple[int, int], irregular: float = IRREGULAR
) -> tuple[int, int] | None:  # fmt: skip
    """First residue and length of a loop of a chain; None if what was drawn is none.

    Parameters
    ----------
    irregular
        Share of its residues that have to be in no helix or strand.
    """
    length = int(noise.integers(lengths[0], lengths[1] + 1))
    first, size = int(chains.start[number]), int(chains.length[number])
    if size < length + 2 * FLANK:
        return None
    start = int(noise.integers(FLANK, size - length - FLANK + 1))
    if chains.dssp is None:
        return start, length
    here = chains.dssp[first + start : first + start + length]
    return (start, length) if np.mean(~np.isin(here, REGULAR)) >= irregular else None


def cut_windows(
    chains: Chains, packed: PackedChains, number: int, places: list[tuple[int, int]]
) -> list[LoopWindow]:  # fmt: skip
    """Windows of a chain: (first residue, length) each."""
    xyz, letters = chains.xyz(number), chains.letters(number)
    side, owner = place_side_chains(letters, xyz, packed.of(number, len(letters)))
    beta = pseudo_beta(xyz)
    glycine = np.array([letter == "G" for letter in letters])
    backbone = np.concatenate([xyz, beta[:, None]], 1)
    kept = np.ones(backbone.shape[:2], dtype=bool)
    kept[glycine, 4] = False
    residue = np.repeat(np.arange(len(letters)), 5)[kept.ravel()]
    atoms = np.concatenate([backbone.reshape(-1, 3)[kept.ravel()], side])
    of = np.concatenate([residue, owner])
    beyond = np.arange(len(atoms)) >= len(residue)
    codes = np.array([AMINO_ACIDS.index(letter) for letter in letters], dtype=np.uint8)
    found = []
    for start, length in places:
        end = start + length
        near = cKDTree(xyz[start:end].reshape(-1, 3)).query(atoms, distance_upper_bound=RADIUS)[0] <= RADIUS
        # the piece's own backbone is told apart from what is around it; side chains of its flanks are around it
        piece = (of >= start - FLANK) & (of < end + FLANK)
        near &= ~(piece & ~beyond) & ~((of >= start) & (of < end))
        part = slice(start - FLANK, end + FLANK)
        found.append(
            LoopWindow(xyz[part].astype(np.float32), codes[part], atoms[near].astype(np.float32), beyond[near])
        )
    return found


def place_side_chains(letters: str, xyz: Floats, chi: NDArray[np.float16]) -> tuple[Floats, NDArray[np.int64]]:
    """Atoms beyond CB (m, 3) in A of a packed chain, and the residue (m,) of each."""
    rotation, origin = backbone_frames(xyz[:, 0] / 10, xyz[:, 1] / 10, xyz[:, 2] / 10)
    atoms, owner = [np.zeros((0, 3))], [np.zeros(0, dtype=np.int64)]
    for letter in sorted(set(letters)):
        chain = side_chain(names_of(letter)[0])
        own = np.flatnonzero(np.array(list(letters)) == letter)
        if chain is None:
            continue
        places = built(chain, chi[own, : len(chain.axes)].astype(float), rotation[own], origin[own])
        known = np.isfinite(places).all((1, 2))
        atoms.append(10 * places[known].reshape(-1, 3))
        owner.append(np.repeat(own[known], places.shape[1]))
    return np.concatenate(atoms), np.concatenate(owner)


def pseudo_beta(xyz: Floats) -> Floats:
    """CB (n, 3) of backbones (n, 4, 3), ideal, glycine's too."""
    b, c = xyz[:, 1] - xyz[:, 0], xyz[:, 2] - xyz[:, 1]
    return np.asarray(CB[0] * np.cross(b, c) + CB[1] * b + CB[2] * c + xyz[:, 1])
