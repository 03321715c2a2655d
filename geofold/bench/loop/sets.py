"""Sets of the loop benchmark: where each loop starts, and what its native is.

``bent`` and ``tuning`` are made from `structures/`. The published sets lie in a folder with a MANIFEST.tsv: in
``sellers_...`` a bent loop is repaired, in the others the loop is taken out of its native together with the side chains
that come within ten Angstrom of it, as the published methods were measured. ``short`` and ``valid`` take loops out of
packed chains of the test split and of the validation split; side chains around them stay, but in ``valid_bare``. In
``valid_wrong`` and ``valid_near`` a loop far from the native, or near it, stands among side chains packed around it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from geofold.app.report.measure import CIS, backbone
from geofold.bench.loop import bent_set
from geofold.bench.models.loop_controller import read_both
from geofold.errors import InputFileError, OptionError
from geofold.modelling.options import RunOptions
from geofold.modelling.repair.side_chain_shell import ANGSTROM, Shell
from geofold.molecule.datasets.bent_loops import BentLoop as ChainLoop
from geofold.molecule.datasets.bent_loops import choose_loops as chain_loops
from geofold.molecule.datasets.bent_loops import perturb_structure
from geofold.molecule.datasets.loop_windows import IRREGULAR
from geofold.molecule.datasets.packed_chains import packed_structure
from geofold.molecule.io.edit import without_atoms
from geofold.molecule.selection import find_range
from geofold.molecule.sidechains.repacking import KEPT
from geofold.molecule.sidechains.rotamer_library import letter_of
from geofold.molecule.structure import Structure, read

MADE = {"bent": bent_set.TEST_SEED, "tuning": bent_set.TUNING_SEED}
COUNT, SEED, MOST = 100, 23, 350
HALF = ("structured_16res", "fread_16res")
"""Sets of which a fixed random half is played."""
REACH = 1.0
"""nm: side chains nearer to a loop that is taken out go with it."""
SHELL = 8.0
"""A: `repack_shell` where side chains around are gone, or wrong."""


class ChainSet(NamedTuple):
    """A set of loops of packed chains.

    Attributes
    ----------
    split : str
    lengths : tuple of int
        Of the loops, by turns.
    irregular : float
        Share of their residues that have to be in no helix or strand.
    bare : bool
        Whether side chains around go with the loop, as in the published sets.
    bent : tuple of float or None
        How far the loop is bent (A), from and to, and then packed and settled with what is around it; None: it is
        taken out.
    """

    split: str
    lengths: tuple[int, ...]
    irregular: float = IRREGULAR
    bare: bool = False
    bent: tuple[float, float] | None = None


CHAINS = {
    "short": ChainSet("test", (4, 5, 6, 7, 8)),
    "valid": ChainSet("valid", (12, 8, 6, 16)),
    "valid_bare": ChainSet("valid", (12, 12, 12, 16), bare=True),
    "valid_wrong": ChainSet("valid", (12, 10, 12, 14), irregular=0.8, bent=(3.5, 6.0)),
    "valid_near": ChainSet("valid", (12, 10, 12, 14), irregular=0.8, bent=(0.5, 1.5)),
}


@dataclass(frozen=True)
class Episode:
    """A start, its loop and its native.

    Attributes
    ----------
    name : str
    start : Structure
    loop : str
        As users write it.
    native : Structure
        Atoms are matched by residue and name.
    sequence : str or None
        Of a loop that is missing from the start.
    shell : float
        `repack_shell` in A.
    """

    name: str
    start: Structure
    loop: str
    native: Structure
    sequence: str | None = None
    shell: float = 0.0

    @property
    def span(self) -> tuple[int, int]:
        """First and last residue of the loop in the native."""
        return find_range(self.native, self.loop)


def episodes(set_name: str, data: str | None, limit: int | None) -> Iterator[Episode]:
    """Episodes of a set.

    Raises
    ------
    OptionError, InputFileError
        For a set that is not known, or whose data is not there.
    """
    if set_name in MADE:
        for case, native, bent in bent_set.cases(limit or bent_set.COUNT, seed=MADE[set_name]):
            moved = np.abs(bent - native.xyz).max(1) > 0
            yield Episode(case.name, read(native.render(bent, moved), name=case.file), case.loop, native)
        return
    if data is None:
        raise OptionError(f"set {set_name} without --data", "the folder that holds it", "add --data FOLDER")
    if set_name in CHAINS:
        yield from _of_chains(set_name, data, limit or COUNT)
    else:
        yield from _published(set_name, Path(data), limit)


def _of_chains(set_name: str, data: str, count: int) -> Iterator[Episode]:
    asked = CHAINS[set_name]
    chains, packed = read_both(data)
    drawn = chain_loops(
        chains, packed, asked.split, count, seed=SEED, lengths=asked.lengths, most=MOST, irregular=asked.irregular,
        bent=asked.bent or (0.0, 0.0),
    )  # fmt: skip
    for one in drawn:
        native = packed_structure(chains, packed, one.chain)
        native = read(native.render(native.xyz, np.zeros(len(native), dtype=bool)), name=one.name)
        label = f"{native.residues[one.first].label}-{native.residues[one.last].resnum}"
        if asked.bent is not None:
            yield Episode(one.name, bent_and_settled(native, one), label, native, shell=SHELL)
        else:
            bare = {"reach": REACH, "shell": SHELL} if asked.bare else {}
            yield taken_out(one.name, native, label, **bare)


def bent_and_settled(native: Structure, loop: ChainLoop) -> Structure:
    """A native with a loop bent closed, packed with the side chains around it and settled among them."""
    bent = perturb_structure(native, loop)
    shell = Shell(bent, loop.first, loop.last, ANGSTROM * SHELL)
    end = shell.settled(bent.xyz, (), RunOptions()).move.apply(bent.xyz)
    return read(bent.render(end, np.abs(end - native.xyz).max(1) > 0), name=loop.name)


def _published(set_name: str, folder: Path, limit: int | None) -> Iterator[Episode]:
    manifest = folder / "MANIFEST.tsv"
    if not manifest.is_file():
        raise InputFileError(f"{folder} has no MANIFEST.tsv", "the folder of the loop benchmarks", "check --data")
    with manifest.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["set"] == set_name]
    if not rows:
        known = ", ".join((*MADE, *CHAINS))
        raise OptionError(f"set {set_name}", f"{known} or a set of {manifest}", "check the name")
    if set_name in HALF:
        chosen = np.random.default_rng(0).permutation(len(rows))[: len(rows) // 2]
        rows = [rows[k] for k in np.sort(chosen)]
    for row in rows[:limit]:
        chain = "" if row["chain"] == "_" else row["chain"]
        loop = f"{chain}:{row['start_resid']}-{row['end_resid']}"
        name, native = Path(row["pdb_file"]).name.split(".")[0], read(folder / row["pdb_file"])
        if set_name.startswith("sellers"):
            yield Episode(name, read(folder / row["start_model"]), loop, native, shell=SHELL)
        else:
            yield taken_out(name, native, loop, reach=REACH, shell=SHELL)


def taken_out(name: str, native: Structure, loop: str, *, reach: float = 0.0, shell: float = 0.0) -> Episode:
    """An episode of a native without a loop, and without the side chains within `reach` (nm) of it."""
    first, last = find_range(native, loop)
    inside = (native.residue_of >= first) & (native.residue_of <= last)
    gone = inside.copy()
    if reach:
        side = ~np.isin(native.name, list(KEPT)) & ~native.hetatm & ~inside
        near = cKDTree(native.xyz[inside]).query(native.xyz, distance_upper_bound=reach)[0] < reach
        gone |= side & np.isin(native.residue_of, native.residue_of[side & near])
    sequence = "".join(letter_of(native.residues[k].resname) for k in range(first, last + 1))
    return Episode(name, without_atoms(native, gone), loop, native, sequence, shell)


def native_cis(episode: Episode) -> int:
    """Cis peptide bonds of the native's loop, those to its anchors among them."""
    native, (first, last) = episode.native, episode.span
    return int((np.abs(backbone(native, native.xyz).omega[first : last + 2]) < CIS).sum())
