"""Loops of packed training chains, cut out with the atoms around them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geofold.errors import InputFileError
from geofold.learn.data.chains import AMINO_ACIDS, DSSP, SPLITS, Chains
from geofold.learn.loop_denoiser.batched_backbone import FLANK, pseudo_beta
from geofold.learn.loop_denoiser.dataset import LoopDataset, LoopWindow
from geofold.learn.loop_denoiser.model import TRAINED_LENGTHS
from geofold.molecule.datasets.packed_chains import PackedChains
from geofold.molecule.residues import three_letter_names
from geofold.molecule.sidechains.rotamer_library import backbone_frames, build_rotamers, side_chain

Floats = NDArray[np.float64]
RESIDUES_PER_WINDOW = 3
"""Residues of a chain for each window that is drawn."""
IRREGULAR = 0.5
"""Minimum fraction of a loop's residues outside helices and strands."""
REGULAR = tuple(DSSP.index(letter) for letter in "HGIE")
MORE_DATA = "give `geofold data build` more structures and pack more of their chains"
RADIUS = 12.0
"""Distance (A) from the loop's backbone within which atoms belong to its environment."""


def loop_windows(
    chains: Chains,
    packed: PackedChains,
    split: str,
    *,
    seed: int = 0,
    lengths: tuple[int, int] = TRAINED_LENGTHS,
    max_chains: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LoopDataset:
    """Draw loops of the packed chains of a split.

    Parameters
    ----------
    chains, packed : Chains, PackedChains
        The data.
    split : str
        One of `SPLITS`.
    seed : int
        Seed of the draw.
    lengths : (int, int)
        Shortest and longest loop.
    max_chains : int, optional
        Largest number of chains.
    progress : callable, optional
        Called with the number of chains done and of all.
    """
    numbers = [int(c) for c in packed.chain if chains.split[c] == SPLITS.index(split)][:max_chains]
    windows: list[LoopWindow] = []
    for done, number in enumerate(numbers):
        noise = np.random.default_rng([seed, number])
        count = int(chains.length[number]) // RESIDUES_PER_WINDOW
        draws = [draw_loop(chains, number, noise, lengths) for _ in range(count)]
        positions = sorted({position for position in draws if position is not None})
        if positions:
            windows += cut_windows(chains, packed, number, positions)
        if progress is not None:
            progress(done + 1, len(numbers))
    return LoopDataset.of(windows)


def require_loops(loops: LoopDataset, path: str | Path, packed: PackedChains, chains: Chains, split: str) -> None:
    """Make sure that a split of the packed chains of a file has loops.

    Parameters
    ----------
    loops : LoopDataset
        Loops of the split.
    path : str or Path
        File of the packed chains, for the message.
    packed, chains : PackedChains, Chains
        The data.
    split : str
        One of `SPLITS`.

    Raises
    ------
    InputFileError
        If it has none.
    """
    if not len(loops):
        count = int((chains.split[packed.chain] == SPLITS.index(split)).sum())
        raise InputFileError(
            f"{path} has no loop of {TRAINED_LENGTHS[0]} to {TRAINED_LENGTHS[1]} residues in its split {split!r}"
            f" ({len(packed.chain)} packed chains in all, {count} in this split)",
            "loops in both train and valid",
            MORE_DATA,
        )


def draw_loop(
    chains: Chains, number: int, noise: np.random.Generator, lengths: tuple[int, int], irregular: float = IRREGULAR
) -> tuple[int, int] | None:
    """Draw a loop of a chain.

    Parameters
    ----------
    chains : Chains
        The data.
    number : int
        The chain.
    noise : Generator
        Source of the draw.
    lengths : (int, int)
        Shortest and longest loop.
    irregular : float
        Minimum fraction of residues outside helices and strands.

    Returns
    -------
    (int, int) or None
        First residue and length; None if the draw is too regular or does not fit.
    """
    length = int(noise.integers(lengths[0], lengths[1] + 1))
    first, size = int(chains.start[number]), int(chains.length[number])
    if size < length + 2 * FLANK:
        return None
    start = int(noise.integers(FLANK, size - length - FLANK + 1))
    if chains.dssp is None:
        return start, length
    dssp = chains.dssp[first + start : first + start + length]
    return (start, length) if np.mean(~np.isin(dssp, REGULAR)) >= irregular else None


def cut_windows(
    chains: Chains, packed: PackedChains, number: int, positions: list[tuple[int, int]]
) -> list[LoopWindow]:
    """Cut windows out of a chain.

    Parameters
    ----------
    chains, packed : Chains, PackedChains
        The data.
    number : int
        The chain.
    positions : list of (int, int)
        First residue and length of each loop.
    """
    xyz, letters = chains.xyz(number), chains.letters(number)
    side, side_residue = place_side_chains(letters, xyz, packed.of(number, len(letters)))
    glycine = np.array([letter == "G" for letter in letters])
    backbone = np.concatenate([xyz, pseudo_beta(xyz)[:, None]], 1)
    exists = np.ones(backbone.shape[:2], dtype=bool)
    exists[glycine, 4] = False
    backbone_residue = np.repeat(np.arange(len(letters)), 5)[exists.ravel()]
    atoms = np.concatenate([backbone.reshape(-1, 3)[exists.ravel()], side])
    residue = np.concatenate([backbone_residue, side_residue])
    beyond_cb = np.arange(len(atoms)) >= len(backbone_residue)
    codes = np.array([AMINO_ACIDS.index(letter) for letter in letters], dtype=np.uint8)
    windows = []
    for start, length in positions:
        end = start + length
        near = cKDTree(xyz[start:end].reshape(-1, 3)).query(atoms, distance_upper_bound=RADIUS)[0] <= RADIUS
        # the backbone of loop and flanks is in the window itself; side chains of the flanks are environment
        in_window = (residue >= start - FLANK) & (residue < end + FLANK)
        near &= ~(in_window & ~beyond_cb) & ~((residue >= start) & (residue < end))
        part = slice(start - FLANK, end + FLANK)
        environment = atoms[near].astype(np.float32)
        windows.append(LoopWindow(xyz[part].astype(np.float32), codes[part], environment, beyond_cb[near]))
    return windows


def place_side_chains(letters: str, xyz: Floats, chi: NDArray[np.float16]) -> tuple[Floats, NDArray[np.int64]]:
    """Place the side chains of a packed chain.

    Parameters
    ----------
    letters : str
        Sequence of n residues.
    xyz : (n, 4, 3)
        N, CA, C, O (A).
    chi : (n, 4)
        Side-chain torsions (radian).

    Returns
    -------
    (m, 3), (m,)
        Atoms beyond CB (A), and the residue of each.
    """
    rotation, origin = backbone_frames(xyz[:, 0] / 10, xyz[:, 1] / 10, xyz[:, 2] / 10)
    atoms, residue = [np.zeros((0, 3))], [np.zeros(0, dtype=np.int64)]
    for letter in sorted(set(letters)):
        template = side_chain(three_letter_names(letter)[0])
        rows = np.flatnonzero(np.array(list(letters)) == letter)
        if template is None:
            continue
        positions = build_rotamers(
            template, chi[rows, : len(template.axes)].astype(float), rotation[rows], origin[rows]
        )
        known = np.isfinite(positions).all((1, 2))
        atoms.append(10 * positions[known].reshape(-1, 3))
        residue.append(np.repeat(rows[known], positions.shape[1]))
    return np.concatenate(atoms), np.concatenate(residue)
