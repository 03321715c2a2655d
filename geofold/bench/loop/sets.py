"""Sets of the loop benchmark: starting structures and natives.

``bent`` and ``tuning`` are made from `structures/`. Published sets are in a folder with a MANIFEST.tsv: in
``sellers_...`` a bent loop is repaired; in the others the loop is removed from its native together with all side chains
within 10 A, as the published methods were measured. In ``short`` and ``valid``, loops are removed from packed chains of
the test split and of the validation split; the surrounding side chains stay, except in ``valid_bare``, and in ``short``
where that is surely better, as by default. In ``shell`` and ``near`` the loop is perturbed strongly or slightly, and
the side chains are packed around it. In ``intact`` the start is the native itself.
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
from geofold.bench.common.data import read_chains_and_side_chains
from geofold.bench.loop import bent_set
from geofold.errors import InputFileError, OptionError
from geofold.modelling.option_table import AUTO
from geofold.modelling.options import RunOptions
from geofold.modelling.repair.side_chain_shell import ANGSTROM, SideChainShell
from geofold.molecule.datasets.bent_loops import PerturbedLoop as ChainLoop
from geofold.molecule.datasets.bent_loops import choose_loops as chain_loops
from geofold.molecule.datasets.bent_loops import perturb_structure
from geofold.molecule.datasets.loop_windows import IRREGULAR
from geofold.molecule.datasets.packed_chains import packed_structure
from geofold.molecule.io.edit import without_atoms
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.residues import one_letter_code
from geofold.molecule.selection import find_range
from geofold.molecule.sidechains.repacking import BACKBONE_AND_CB
from geofold.molecule.structure import Structure

SEEDED_SETS = {"bent": bent_set.TEST_SEED, "tuning": bent_set.TUNING_SEED}
CHAIN_SEED, MAX_RESIDUES = 23, 350
HALVED_SETS = ("structured_16res", "fread_16res")
"""Sets of which a fixed random half is run."""
SIDE_CHAIN_REACH = 1.0
"""Distance (nm) from a removed loop within which side chains are removed, too."""
SHELL_RADIUS = 8.0
"""`repack_shell` (A) if surrounding side chains are missing or wrong."""


class ChainSet(NamedTuple):
    """A set of loops of packed chains.

    Attributes
    ----------
    split : str
        Split of the chains.
    lengths : tuple of int
        Lengths of the loops, in rotation.
    irregular : float
        Minimum fraction of residues outside helices and strands.
    bare : bool
        Whether surrounding side chains are removed with the loop, as in the published sets.
    bent : tuple of float or None
        Range (A) of the perturbation, after which loop and surroundings are packed and refined; None: the loop is
        removed.
    intact : bool
        Whether the native itself is the start.
    loops : int
        Number of loops.
    shell : float or 'auto'
        `repack_shell` (A).
    """

    split: str
    lengths: tuple[int, ...]
    irregular: float = IRREGULAR
    bare: bool = False
    bent: tuple[float, float] | None = None
    intact: bool = False
    loops: int = 100
    shell: float | str = 0.0


CHAIN_SETS = {
    "short": ChainSet("test", (4, 5, 6, 7, 8), shell=AUTO),
    "valid": ChainSet("valid", (12, 8, 6, 16)),
    "valid_bare": ChainSet("valid", (12, 12, 12, 16), bare=True, shell=SHELL_RADIUS),
    "calibration": ChainSet("valid", (4, 12, 6, 10, 8, 5, 16, 7)),
    "shell": ChainSet("valid", (12, 10, 12, 14), irregular=0.8, bent=(3.5, 6.0), loops=40, shell=AUTO),
    "intact": ChainSet("valid", (12, 8, 10, 6), intact=True, loops=60),
    "near": ChainSet("valid", (12, 10, 12, 14), irregular=0.8, bent=(0.5, 1.5), shell=AUTO),
}


@dataclass(frozen=True)
class Episode:
    """A starting structure, its loop and the native.

    Attributes
    ----------
    name : str
        Key of its records.
    start : Structure
        Input of the agents.
    loop : str
        Residue range, as in the option `--loop`.
    native : Structure
        Experimental structure; atoms are matched by residue and name.
    sequence : str or None
        Sequence of a loop that is missing from the start.
    shell : float or 'auto'
        `repack_shell` (A).
    """

    name: str
    start: Structure
    loop: str
    native: Structure
    sequence: str | None = None
    shell: float | str = 0.0

    @property
    def span(self) -> tuple[int, int]:
        """First and last residue of the loop in the native."""
        return find_range(self.native, self.loop)


def episodes(set_name: str, data: str | None, limit: int | None) -> Iterator[Episode]:
    """Yield the episodes of a set.

    Raises
    ------
    OptionError, InputFileError
        If the set is unknown, or its data is missing.
    """
    if set_name in SEEDED_SETS:
        for case, native, bent in bent_set.make_cases(limit or bent_set.CASE_COUNT, seed=SEEDED_SETS[set_name]):
            is_moved = np.abs(bent - native.xyz).max(1) > 0
            yield Episode(case.name, read(render(native, bent, is_moved), name=case.file), case.loop, native)
        return
    if data is None:
        raise OptionError(f"set {set_name} without --data", "the folder that holds it", "add --data FOLDER")
    if set_name in CHAIN_SETS:
        yield from _chain_episodes(set_name, data, limit or CHAIN_SETS[set_name].loops)
    else:
        yield from _published_episodes(set_name, Path(data), limit)


def _chain_episodes(set_name: str, data: str, count: int) -> Iterator[Episode]:
    chain_set = CHAIN_SETS[set_name]
    chains, packed = read_chains_and_side_chains(data)
    sites = chain_loops(
        chains,
        packed,
        chain_set.split,
        count,
        seed=CHAIN_SEED,
        lengths=chain_set.lengths,
        max_residues=MAX_RESIDUES,
        irregular=chain_set.irregular,
        rmsd_range=chain_set.bent or (0.0, 0.0),
    )
    for site in sites:
        native = packed_structure(chains, packed, site.chain)
        native = read(render(native, native.xyz, np.zeros(len(native), dtype=bool)), name=site.name)
        label = f"{native.residues[site.first].label}-{native.residues[site.last].resnum}"
        if chain_set.intact:
            yield Episode(site.name, native, label, native)
        elif chain_set.bent is not None:
            yield Episode(site.name, bend_and_refine(native, site), label, native, shell=chain_set.shell)
        else:
            reach = SIDE_CHAIN_REACH if chain_set.bare else 0.0
            yield remove_loop(site.name, native, label, reach=reach, shell=chain_set.shell)


def bend_and_refine(native: Structure, loop: ChainLoop) -> Structure:
    """Bend a loop of a native with its ends closed, pack it with the surrounding side chains, and refine it."""
    bent = perturb_structure(native, loop)
    shell = SideChainShell(bent, loop.first, loop.last, ANGSTROM * SHELL_RADIUS, RunOptions())
    xyz = shell.refine(bent.xyz, ()).outcome.apply(bent.xyz)
    return read(render(bent, xyz, np.abs(xyz - native.xyz).max(1) > 0), name=loop.name)


def _published_episodes(set_name: str, folder: Path, limit: int | None) -> Iterator[Episode]:
    manifest = folder / "MANIFEST.tsv"
    if not manifest.is_file():
        raise InputFileError(f"{folder} has no MANIFEST.tsv", "the folder of the loop benchmarks", "check --data")
    with manifest.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["set"] == set_name]
    if not rows:
        names = ", ".join((*SEEDED_SETS, *CHAIN_SETS))
        raise OptionError(f"set {set_name}", f"{names} or a set of {manifest}", "check the name")
    if set_name in HALVED_SETS:
        selected = np.random.default_rng(0).permutation(len(rows))[: len(rows) // 2]
        rows = [rows[k] for k in np.sort(selected)]

    def read_named(path: Path) -> Structure:
        return read(path, name=path.name)  # so that no record has a path of this machine

    for row in rows[:limit]:
        chain = "" if row["chain"] == "_" else row["chain"]
        loop = f"{chain}:{row['start_resid']}-{row['end_resid']}"
        name, native = Path(row["pdb_file"]).name.split(".")[0], read_named(folder / row["pdb_file"])
        if set_name.startswith("sellers"):
            yield Episode(name, read_named(folder / row["start_model"]), loop, native, shell=SHELL_RADIUS)
        else:
            yield remove_loop(name, native, loop, reach=SIDE_CHAIN_REACH, shell=SHELL_RADIUS)


def remove_loop(name: str, native: Structure, loop: str, *, reach: float = 0.0, shell: float | str = 0.0) -> Episode:
    """Make an episode by removing a loop from its native.

    Parameters
    ----------
    name : str
        Name of the episode.
    native : Structure
        Experimental structure.
    loop : str
        Residue range, as in the option `--loop`.
    reach : float
        Distance (nm) from the loop within which side chains are removed, too.
    shell : float or 'auto'
        `repack_shell` (A) of the episode.
    """
    first, last = find_range(native, loop)
    inside = native.atoms_within(first, last)
    removed = inside.copy()
    if reach:
        side = ~np.isin(native.name, list(BACKBONE_AND_CB)) & ~native.hetatm & ~inside
        near = cKDTree(native.xyz[inside]).query(native.xyz, distance_upper_bound=reach)[0] < reach
        removed |= side & np.isin(native.residue_of, native.residue_of[side & near])
    sequence = "".join(one_letter_code(native.residues[k].resname) for k in range(first, last + 1))
    return Episode(name, without_atoms(native, removed), loop, native, sequence, shell)


def count_native_cis(episode: Episode) -> int:
    """Return the number of cis peptide bonds of the native loop, including those to its anchors."""
    native, (first, last) = episode.native, episode.span
    return int((np.abs(backbone(native, native.xyz).omega[first : last + 2]) < CIS).sum())
