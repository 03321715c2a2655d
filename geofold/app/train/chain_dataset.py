"""Training data from a folder of structures: chains end to end, the atoms of their torsions, and their loops.

The format is that of `geofold.learn.data.chains`: N, CA, C and O in steps of 0.01 A, sequence, DSSP, accessibility and
depth of each residue, a split by groups of related chains, and the loops between regular secondary structure.
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

from geofold.app.train.chain_groups import assign_splits, group_related
from geofold.errors import GeofoldError, InputFileError
from geofold.files import write_all
from geofold.geometry import dihedral
from geofold.learn.data.chains import AMINO_ACIDS, DSSP, SPLITS
from geofold.molecule.io.read import read
from geofold.molecule.residues import STANDARD_PARENT, one_letter_code
from geofold.molecule.structure import Structure
from geofold.paths import require_apart, require_writable
from geofold.plugins.mdtraj import trajectory_from
from geofold.streams import say
from geofold.terminal import printable

SUFFIXES = (".pdb", ".ent", ".cif", ".pdb.gz", ".ent.gz", ".cif.gz")
BONDS = {"n_ca": 1.458, "ca_c": 1.525, "c_o": 1.231, "c_n": 1.329}
"""Ideal bond lengths (A)."""
BOND_TOLERANCE, CA_CA_RANGE, ANGLE_RANGE, OMEGA_TOLERANCE = 0.10, (2.7, 4.1), (95.0, 128.0), 40.0
"""Deviation of bonds (A), CA-CA distances (A), N-CA-C angles and deviation of omega (degrees) beyond which a residue is
left out, or a chain is split."""
SHORTEST = 40
HELIX, STRAND = 3, 2
"""Smallest length of a helix and of a strand that counts as regular structure."""
EXPOSED = 0.01
"""Accessible area (nm^2) from which an atom is at the surface."""
COINCIDENT = 1e-4
"""Distance (nm) below which two atoms count as one."""
RUN_COLUMNS = ("chain", "start", "length", "ss_before", "ss_after", "len_before", "len_after")
LIGHT = ("H", "D", "VS")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Segment:
    """An unbroken part of one chain with regular geometry.

    Attributes
    ----------
    name, chain : str
        Names of the structure and of its chain.
    first : int
        First residue in the structure.
    xyz : (n, 4, 3)
        N, CA, C, O (A).
    letters : (n,) int
        Amino acids, as indices into `AMINO_ACIDS`.
    dssp : (n,) int
        Secondary structure, as indices into `DSSP`.
    area, depth : (n,)
        Accessible area (A^2) and distance of CA from the surface (A).
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
    folder: str | Path,
    *,
    shortest: int = SHORTEST,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[bytes, dict[str, int], list[str]]:
    """Build the content of a `backbones.npz`.

    Parameters
    ----------
    folder : str or Path
        Searched recursively for PDB and mmCIF files, plain or gzip.
    shortest : int
        Smallest number of residues of a segment.
    seed : int
        Seed of the split.
    progress : callable, optional
        Called with the number of files done, of all files, and the name of the next one.

    Returns
    -------
    bytes, dict, list of str
        Content, counts, and a line for each file that could not be used.

    Raises
    ------
    InputFileError
        If the folder holds no structure, or no segment is long enough.
    """
    files = structure_files(folder)
    if not files:
        raise InputFileError(f"{folder} holds no structure", f"files named {', '.join(SUFFIXES)}", "check the folder")
    segments: list[Segment] = []
    skipped: list[str] = []
    for number, file in enumerate(files):
        if progress is not None:
            progress(number, len(files), file.name)
        try:
            parts = cut_segments(read(file), file.name.split(".")[0], shortest)
        except GeofoldError as error:
            skipped.append(f"{file.name}: {error}")
            continue
        if not parts:
            skipped.append(f"{file.name}: no segment of {shortest} residues with regular geometry")
        segments += parts
    if not segments:
        raise InputFileError(
            f"{folder} holds no segment of {shortest} residues",
            "proteins with complete backbones",
            "give more structures, or a smaller --shortest",
        )
    arrays = _arrays(segments, seed)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    counts = {"files": len(files) - len(skipped), "chains": len(segments), "residues": len(arrays["aa"])}
    return buffer.getvalue(), counts | {"loops": len(arrays["runs"])}, skipped


def structure_files(folder: str | Path) -> list[Path]:
    """Files of a folder and all it holds that are named as structures are."""
    return sorted(p for p in Path(folder).rglob("*") if p.name.lower().endswith(SUFFIXES))


def write_data(folder: str, output: str, *, shortest: int, seed: int) -> None:
    """Build and write a data set; skipped files are reported on standard error, counts on standard output.

    Parameters
    ----------
    folder : str
        Folder of structures.
    output : str
        The data set (.npz).
    shortest, seed : int
        See `build_data`.
    """
    require_writable(output)
    require_apart([output], {f"input {file.name}": str(file) for file in structure_files(folder)})
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("structures")

        def progress(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, description=escape(printable(name)))

        content, counts, skipped = build_data(folder, shortest=shortest, seed=seed, progress=progress)
    write_all({output: content})
    for line in skipped:
        say(f"left out: {line}", err=True)
    say(f"{printable(output)}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))


def cut_segments(structure: Structure, name: str, shortest: int = SHORTEST) -> list[Segment]:
    """Cut a structure, in its main conformer, into segments of at least `shortest` residues."""
    import mdtraj

    conformer = structure.conformer_mask
    trajectory = trajectory_from(structure, structure.xyz[None])
    letters = mdtraj.compute_dssp(trajectory, simplified=False)[0]
    dssp = np.array([DSSP.find(letter) if letter in DSSP else DSSP.index("C") for letter in letters])
    protein_atoms = [a for a in trajectory.topology.atoms if a.residue.is_protein and a.element.symbol not in LIGHT]
    heavy = _distinct_atoms(protein_atoms, trajectory)
    protein = trajectory.atom_slice([a.index for a in heavy])
    area = mdtraj.shrake_rupley(protein)[0]
    residue_area = np.zeros(len(structure.residues))
    np.add.at(residue_area, [a.residue.index for a in heavy], 100 * area)
    surface = cKDTree(protein.xyz[0][area > EXPOSED]) if (area > EXPOSED).any() else None
    xyz, kinds = _backbones(structure, conformer)
    depth = np.zeros(len(xyz))
    known = np.isfinite(xyz[:, 1]).all(-1)
    if surface is not None:
        depth[known] = 10 * surface.query(xyz[known, 1] / 10)[0]
    segments = []
    for first, end in _regular_spans(xyz, kinds, shortest):
        part = slice(first, end)
        chain = structure.residues[first].chain
        segments.append(
            Segment(name, chain, first, xyz[part], kinds[part], dssp[part], residue_area[part], depth[part])
        )
    return segments


def _distinct_atoms(atoms: list[Any], trajectory: Any) -> list[Any]:
    """Atoms of a trajectory's first frame without those that coincide with an earlier one.

    The C code of `mdtraj.shrake_rupley` ends the process if two atoms coincide.
    """
    pairs = cKDTree(trajectory.xyz[0][[a.index for a in atoms]]).query_pairs(COINCIDENT, output_type="ndarray")
    later = set(pairs.max(1, initial=-1).tolist())
    return [atom for k, atom in enumerate(atoms) if k not in later]


def _backbones(structure: Structure, conformer: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.int64]]:
    """N, CA, C and O (n, 4, 3) in A, NaN for missing atoms, and amino acids (n,), -1 for other residues."""
    xyz = np.full((len(structure.residues), 4, 3), np.nan)
    kinds = np.full(len(xyz), -1)
    for k, residue in enumerate(structure.residues):
        kinds[k] = AMINO_ACIDS.find(one_letter_code(STANDARD_PARENT.get(residue.resname, residue.resname)))
        for column, name in enumerate(("N", "CA", "C", "O")):
            atom = structure.atom(k, name, conformer)
            if atom is not None:
                xyz[k, column] = 10 * structure.xyz[atom]
    return xyz, kinds


def _regular_spans(xyz: Floats, kinds: NDArray[np.int64], shortest: int) -> list[tuple[int, int]]:
    """First and one past the last residue of the spans of regular, bonded residues that are long enough."""
    n, ca, c, o = (xyz[:, k] for k in range(4))

    def distance(one: Floats, other: Floats) -> Floats:
        return np.asarray(np.linalg.norm(one - other, axis=-1))

    with np.errstate(invalid="ignore"):
        u, v = n - ca, c - ca
        angle = np.degrees(np.arccos(np.clip((u * v).sum(-1) / (distance(n, ca) * distance(c, ca)), -1, 1)))
        regular = (kinds >= 0) & (ANGLE_RANGE[0] < angle) & (angle < ANGLE_RANGE[1])
        for one, other, bond in ((n, ca, "n_ca"), (ca, c, "ca_c"), (c, o, "c_o")):
            regular &= np.abs(distance(one, other) - BONDS[bond]) < BOND_TOLERANCE
        step, omega = distance(ca[:-1], ca[1:]), np.abs(np.degrees(dihedral(ca[:-1], c[:-1], n[1:], ca[1:])))
        bonded = np.abs(distance(c[:-1], n[1:]) - BONDS["c_n"]) < BOND_TOLERANCE
        bonded &= (CA_CA_RANGE[0] < step) & (step < CA_CA_RANGE[1])
        bonded &= np.minimum(omega, 180 - omega) < OMEGA_TOLERANCE
    spans, start = [], None
    for k in range(len(regular) + 1):
        ends = k == len(regular) or not regular[k] or (start is not None and k > start and not bonded[k - 1])
        if ends and start is not None:
            if k - start >= shortest:
                spans.append((start, k))
            start = None
        if k < len(regular) and regular[k] and start is None:
            start = k
    return spans


def _arrays(segments: list[Segment], seed: int) -> dict[str, NDArray[np.generic]]:
    """Arrays of the data set."""
    length = np.array([len(s.letters) for s in segments], dtype=np.int32)
    start = np.concatenate([[0], np.cumsum(length)[:-1]]).astype(np.int64)
    grid = np.concatenate([np.rint(100 * (s.xyz - s.xyz.mean((0, 1)))) for s in segments]).astype(np.int16)
    group = group_related(["".join(AMINO_ACIDS[k] for k in s.letters) for s in segments], [s.name for s in segments])
    runs = np.array([(c, *run) for c, s in enumerate(segments) for run in find_loops(s.dssp)], dtype=np.int32)
    return {
        "dxyz": np.diff(grid.reshape(-1, 3), axis=0, prepend=np.zeros((1, 3), np.int16)).reshape(-1, 4, 3),
        "aa": np.concatenate([s.letters for s in segments]).astype(np.uint8),
        "dssp": np.concatenate([s.dssp for s in segments]).astype(np.uint8),
        "acc": np.concatenate([s.area for s in segments]).astype(np.float16),
        "depth": np.concatenate([s.depth for s in segments]).astype(np.float16),
        "pdb_id": np.array([s.name for s in segments]),
        "chain": np.array([s.chain for s in segments]),
        "db_offset": np.array([s.first for s in segments], dtype=np.int32),
        "start": start,
        "length": length,
        "split": assign_splits(group, length, seed),
        "group": group,
        "cluster_size": np.bincount(group)[group].astype(np.int32),
        "runs": runs.reshape(-1, len(RUN_COLUMNS)),
        "run_columns": np.array(RUN_COLUMNS),
        "aa_letters": np.array(AMINO_ACIDS),
        "dssp_letters": np.array(DSSP),
        "split_names": np.array(SPLITS),
    }


def find_loops(dssp: NDArray[np.int64]) -> list[tuple[int, int, int, int, int, int]]:
    """Find loops: start and length, then kind (1 helix, 2 strand) and length of the elements before and after."""
    helix, strand = np.isin(dssp, [DSSP.index(k) for k in "HGI"]), dssp == DSSP.index("E")
    spans = []
    for kind, mask, shortest in ((1, helix, HELIX), (2, strand, STRAND)):
        edge = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
        spans += [(int(a), int(b), kind) for a, b in edge.reshape(-1, 2) if b - a >= shortest]
    spans.sort()
    return [
        (end, start - end, kind_before, kind_after, end - begin, stop - start)
        for (begin, end, kind_before), (start, stop, kind_after) in pairwise(spans)
        if start > end
    ]
