"""Training data from a folder of structures: chains end to end, their torsions' atoms, their loops.

The format is that of `geofold.learn.data.chains`: N, CA, C and O in steps of 0.01 A, sequence, DSSP, accessibility and
depth per residue, a split by groups of related chains, and the loops between regular secondary structure.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from scipy.spatial import cKDTree

from geofold.errors import GeofoldError, InputFileError
from geofold.files import require_writable, write_all
from geofold.geometry import dihedral
from geofold.learn.data.chains import AMINO_ACIDS, DSSP, SPLITS
from geofold.molecule.io.read import read
from geofold.molecule.residues import SAME_AS, letter_of
from geofold.molecule.structure import Structure
from geofold.paths import require_apart
from geofold.plugins.mdtraj import trajectory_from
from geofold.streams import say
from geofold.terminal import printable

SUFFIXES = (".pdb", ".ent", ".cif", ".pdb.gz", ".ent.gz", ".cif.gz")
BONDS = {"n_ca": 1.458, "ca_c": 1.525, "c_o": 1.231, "c_n": 1.329}
BOND_OFF, CA_CA, ANGLE, OMEGA_OFF = 0.10, (2.7, 4.1), (95.0, 128.0), 40.0
"""Angstrom and degrees beyond which a residue is cut out, or a chain is split."""
SHORTEST = 40
WORD, ALIKE = 5, 0.3
"""Chains of which this share of the words of five residues is common are related and go to the same split."""
SHARES = (0.90, 0.05, 0.05)
HELIX, STRAND = 3, 2
"""Residues from which a helix or a strand counts as regular structure."""
EXPOSED = 0.01
"""nm^2 of accessible area from which an atom is at the surface."""
COINCIDENT = 1e-4
"""nm: two atoms nearer than this are in one place."""
RUN_COLUMNS = ("chain", "start", "length", "ss_before", "ss_after", "len_before", "len_after")
LIGHT = ("H", "D", "VS")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Segment:
    """An unbroken stretch of one chain with sane geometry.

    xyz : (n, 4, 3) in A; letters : (n,) index in AMINO_ACIDS; dssp : (n,) index in DSSP; area, depth : (n,) in A^2, A.
    """

    name: str
    chain: str
    first: int
    xyz: Floats
    letters: NDArray[np.int64]
    dssp: NDArray[np.int64]
    area: Floats
    depth: Floats


def build_data(
    folder: str | Path, *, shortest: int = SHORTEST, seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[bytes, dict[str, int], list[str]]:  # fmt: skip
    """Content of a `backbones.npz`, counts, and a line for each file that could not be used.

    Parameters
    ----------
    folder
        Searched with all it holds for PDB and mmCIF files, plain or gzip.
    shortest : int
        Residues that a stretch has to have.
    seed : int
        Of the split.

    Raises
    ------
    InputFileError
        If the folder holds no structure, or no stretch is long enough.
    """
    files = structure_files(folder)
    if not files:
        raise InputFileError(f"{folder} holds no structure", f"files named {', '.join(SUFFIXES)}", "check the folder")
    found: list[Segment] = []
    left: list[str] = []
    for number, file in enumerate(files):
        if progress is not None:
            progress(number, len(files), file.name)
        try:
            made = cut_segments(read(file), file.name.split(".")[0], shortest)
        except GeofoldError as error:
            left.append(f"{file.name}: {error}")
            continue
        if not made:
            left.append(f"{file.name}: no stretch of {shortest} residues with sane geometry")
        found += made
    if not found:
        raise InputFileError(
            f"{folder} holds no stretch of {shortest} residues", "proteins with complete backbones",
            "give more structures, or a smaller --shortest",
        )  # fmt: skip
    arrays = _arrays(found, seed)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    counts = {"files": len(files) - len(left), "chains": len(found), "residues": len(arrays["aa"])}
    return buffer.getvalue(), counts | {"loops": len(arrays["runs"])}, left


def structure_files(folder: str | Path) -> list[Path]:
    """Files of a folder and all it holds that are named as structures are."""
    return sorted(p for p in Path(folder).rglob("*") if p.name.lower().endswith(SUFFIXES))


def write_data(folder: str, output: str, *, shortest: int, seed: int) -> None:
    """Build, write, and say what was used; what could not be used is told on standard error."""
    require_writable(output)
    require_apart([output], {f"input {file.name}": str(file) for file in structure_files(folder)})
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("structures")
        content, counts, left = build_data(
            folder, shortest=shortest, seed=seed,
            progress=lambda done, total, name: bar.update(
                task, completed=done, total=total, description=escape(printable(name))
            ),
        )  # fmt: skip
    write_all({output: content})
    for line in left:
        say(f"left out: {line}", err=True)
    say(f"{printable(output)}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))


def cut_segments(structure: Structure, name: str, shortest: int = SHORTEST) -> list[Segment]:
    """Stretches of a structure, the steering conformer."""
    import mdtraj

    steering = structure.steering_mask
    whole = trajectory_from(structure, structure.xyz[None])
    letters = mdtraj.compute_dssp(whole, simplified=False)[0]
    dssp = np.array([DSSP.find(letter) if letter in DSSP else DSSP.index("C") for letter in letters])
    heavy = _apart([a for a in whole.topology.atoms if a.residue.is_protein and a.element.symbol not in LIGHT], whole)
    protein = whole.atom_slice([a.index for a in heavy])
    area = mdtraj.shrake_rupley(protein)[0]
    area_of = np.zeros(len(structure.residues))
    np.add.at(area_of, [a.residue.index for a in heavy], 100 * area)
    surface = cKDTree(protein.xyz[0][area > EXPOSED]) if (area > EXPOSED).any() else None
    xyz, kinds = _backbones(structure, steering)
    depth = np.zeros(len(xyz))
    there = np.isfinite(xyz[:, 1]).all(-1)
    if surface is not None:
        depth[there] = 10 * surface.query(xyz[there, 1] / 10)[0]
    return [
        Segment(name, structure.residues[k].chain, k, xyz[k:end], kinds[k:end], dssp[k:end], area_of[k:end],
                depth[k:end])
        for k, end in _stretches(xyz, kinds, shortest)
    ]  # fmt: skip


def _apart(atoms: list[Any], whole: Any) -> list[Any]:
    """Atoms of a trajectory's first frame without those in the place of an earlier one.

    The C code behind `mdtraj.shrake_rupley` ends the process where two atoms coincide.
    """
    pairs = cKDTree(whole.xyz[0][[a.index for a in atoms]]).query_pairs(COINCIDENT, output_type="ndarray")
    later = set(pairs.max(1, initial=-1).tolist())
    return [atom for k, atom in enumerate(atoms) if k not in later]


def _backbones(structure: Structure, steering: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.int64]]:
    """N, CA, C and O (n, 4, 3) in A, NaN where one is missing, and letters (n,), -1 for other residues."""
    xyz = np.full((len(structure.residues), 4, 3), np.nan)
    kinds = np.full(len(xyz), -1)
    for k, residue in enumerate(structure.residues):
        kinds[k] = AMINO_ACIDS.find(letter_of(SAME_AS.get(residue.resname, residue.resname)))
        for level, atom in enumerate(("N", "CA", "C", "O")):
            found = structure.atom(k, atom, steering)
            if found is not None:
                xyz[k, level] = 10 * structure.xyz[found]
    return xyz, kinds


def _stretches(xyz: Floats, kinds: NDArray[np.int64], shortest: int) -> list[tuple[int, int]]:
    """First and one past the last residue of the stretches that are long and sane."""
    n, ca, c, o = (xyz[:, k] for k in range(4))

    def far(one: Floats, two: Floats) -> Floats:
        return np.asarray(np.linalg.norm(one - two, axis=-1))

    with np.errstate(invalid="ignore"):
        u, v = n - ca, c - ca
        angle = np.degrees(np.arccos(np.clip((u * v).sum(-1) / (far(n, ca) * far(c, ca)), -1, 1)))
        sane = (kinds >= 0) & (ANGLE[0] < angle) & (angle < ANGLE[1])
        for one, two, bond in ((n, ca, "n_ca"), (ca, c, "ca_c"), (c, o, "c_o")):
            sane &= np.abs(far(one, two) - BONDS[bond]) < BOND_OFF
        step, omega = far(ca[:-1], ca[1:]), np.abs(np.degrees(dihedral(ca[:-1], c[:-1], n[1:], ca[1:])))
        joined = (np.abs(far(c[:-1], n[1:]) - BONDS["c_n"]) < BOND_OFF) & (CA_CA[0] < step) & (step < CA_CA[1])
        joined &= np.minimum(omega, 180 - omega) < OMEGA_OFF
    found, start = [], None
    for k in range(len(sane) + 1):
        ends = k == len(sane) or not sane[k] or (start is not None and k > start and not joined[k - 1])
        if ends and start is not None:
            if k - start >= shortest:
                found.append((start, k))
            start = None
        if k < len(sane) and sane[k] and start is None:
            start = k
    return found


def _arrays(found: list[Segment], seed: int) -> dict[str, NDArray[np.generic]]:
    length = np.array([len(s.letters) for s in found], dtype=np.int32)
    start = np.concatenate([[0], np.cumsum(length)[:-1]]).astype(np.int64)
    grid = np.concatenate([np.rint(100 * (s.xyz - s.xyz.mean((0, 1)))) for s in found]).astype(np.int16)
    group = group_related(["".join(AMINO_ACIDS[k] for k in s.letters) for s in found], [s.name for s in found])
    runs = np.array([(c, *run) for c, s in enumerate(found) for run in find_loops(s.dssp)], dtype=np.int32)
    return {
        "dxyz": np.diff(grid.reshape(-1, 3), axis=0, prepend=np.zeros((1, 3), np.int16)).reshape(-1, 4, 3),
        "aa": np.concatenate([s.letters for s in found]).astype(np.uint8),
        "dssp": np.concatenate([s.dssp for s in found]).astype(np.uint8),
        "acc": np.concatenate([s.area for s in found]).astype(np.float16),
        "depth": np.concatenate([s.depth for s in found]).astype(np.float16),
        "pdb_id": np.array([s.name for s in found]), "chain": np.array([s.chain for s in found]),
        "db_offset": np.array([s.first for s in found], dtype=np.int32), "start": start, "length": length,
        "split": assign_splits(group, length, seed), "group": group,
        "cluster_size": np.bincount(group)[group].astype(np.int32),
        "runs": runs.reshape(-1, len(RUN_COLUMNS)), "run_columns": np.array(RUN_COLUMNS),
        "aa_letters": np.array(AMINO_ACIDS), "dssp_letters": np.array(DSSP), "split_names": np.array(SPLITS),
    }  # fmt: skip


def group_related(sequences: list[str], names: list[str]) -> NDArray[np.int32]:
    """Group (C,) of each chain: the same file, or a share of common words (of the shorter chain's)."""
    parent = list(range(len(sequences)))

    def top(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = parent[k]
        return k

    words = [{s[k : k + WORD] for k in range(len(s) - WORD + 1)} for s in sequences]
    where: dict[str, list[int]] = {}
    first: dict[str, int] = {}
    for c, own in enumerate(words):
        shared: dict[int, int] = {}
        for word in own:
            for other in where.get(word, ()):
                shared[other] = shared.get(other, 0) + 1
            where.setdefault(word, []).append(c)
        for other, count in shared.items():
            if count >= ALIKE * min(len(own), len(words[other])):
                parent[top(c)] = top(other)
        parent[top(c)] = top(first.setdefault(names[c], c))
    return np.unique([top(k) for k in range(len(sequences))], return_inverse=True)[1].astype(np.int32)


def assign_splits(group: NDArray[np.int32], length: NDArray[np.int32], seed: int) -> NDArray[np.uint8]:
    """Split (C,) of each chain: whole groups, drawn until each split has its share of the residues.

    No split stays empty as long as there are groups enough: training needs one that is held out.
    """
    order = np.random.default_rng(seed).permutation(group.max() + 1)
    size = np.bincount(group, weights=length)[order]
    edge = np.cumsum(SHARES) * size.sum()
    where = np.minimum(np.searchsorted(edge, np.cumsum(size) - size / 2), len(SHARES) - 1)
    count = np.bincount(where, minlength=len(SHARES))
    needed = range(min(len(order), len(SHARES)))
    for empty in (k for k in needed if not count[k]):
        giver = max((int(count[k]), k) for k in range(len(SHARES)) if count[k] > 1 or k not in needed)[1]
        count[giver] -= 1
        count[empty] += 1
    split = np.zeros(len(order), dtype=np.uint8)
    split[order] = np.repeat(np.arange(len(SHARES)), count)
    return np.asarray(split[group])


def find_loops(dssp: NDArray[np.int64]) -> list[tuple[int, int, int, int, int, int]]:
    """Loops between regular structure: start, length, kind (1 helix, 2 strand) and length of what is on either side."""
    helix, strand = np.isin(dssp, [DSSP.index(k) for k in "HGI"]), dssp == DSSP.index("E")
    spans = []
    for kind, mask, least in ((1, helix, HELIX), (2, strand, STRAND)):
        edge = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
        spans += [(int(a), int(b), kind) for a, b in edge.reshape(-1, 2) if b - a >= least]
    spans.sort()
    return [
        (end, start - end, one, other, end - begin, stop - start)
        for (begin, end, one), (start, stop, other) in pairwise(spans) if start > end
    ]  # fmt: skip
