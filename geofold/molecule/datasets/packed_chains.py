"""Training chains with side chains, which are packed once, stored as chi torsions and rebuilt on demand.

Glossary: ``C`` chains packed, ``P`` their residues end to end, ``n`` residues of one chain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from geofold.errors import InputFileError
from geofold.files import write_npz
from geofold.learn.arrays import FLOATS, INTEGERS, TEXT, Field, read_arrays
from geofold.learn.data.chains import SPLITS, Chains
from geofold.molecule.residues import three_letter_names
from geofold.molecule.sidechains.packing import backbone_torsions, pack
from geofold.molecule.sidechains.rotamer_library import backbone_frames, build_rotamers, side_chain
from geofold.molecule.structure import AddedAtom, Row, Structure

Floats = NDArray[np.float64]
MAX_CHI = 4
FIELDS: dict[str, Field] = {
    "chain": (INTEGERS, ("C",)),
    "start": (INTEGERS, ("C",)),
    "chi": (FLOATS, ("P", MAX_CHI)),
    "data_sha256": (TEXT, ()),
}
"""Arrays of a file of packed chains."""
BATCH = 20
"""Chains per process between two writes of the file."""
TRAINING_RATIO = 10
"""Chains of the training split for each chain of another split."""


@dataclass(frozen=True)
class PackedChains:
    """Side-chain torsions of packed chains.

    Attributes
    ----------
    chain : (C,) int
        Numbers of the chains in their `backbones.npz`.
    start : (C,) int
        First residue of each in `chi`.
    chi : (P, 4) float16
        Torsions (radian), NaN for those that a residue lacks.
    data_sha256 : str
        Hash of the `backbones.npz`.
    """

    chain: NDArray[np.int64]
    start: NDArray[np.int64]
    chi: NDArray[np.float16]
    data_sha256: str

    def of(self, number: int, length: int) -> NDArray[np.float16]:
        """Torsions (n, 4) of a chain by its number."""
        position = int(np.flatnonzero(self.chain == number)[0])
        return self.chi[self.start[position] : self.start[position] + length]


def backbone_structure(chains: Chains, number: int) -> Structure:
    """Structure of a chain of the data, with N, CA, C and O of each residue."""
    letters, xyz = chains.letters(number), chains.xyz(number) / 10
    rows: list[Row] = []
    keys: list[int] = []
    for k, name in enumerate(three_letter_names(letters)):
        for atom, position in zip(("N", "CA", "C", "O"), xyz[k].tolist(), strict=True):
            rows.append(cast(Row, (atom, name, "A", "", "", atom[0], k + 1, len(rows) + 1, False, 1.0, 0.0, *position)))
            keys.append(k)
    return Structure.from_rows(rows, f"chain {number} of the data", keys)


def with_betas(structure: Structure) -> Structure:
    """Return a bare backbone with CB atoms added."""
    chi = np.zeros((len(structure.residues), MAX_CHI), dtype=np.float16)
    return with_added_atoms(structure, [atom for atom in side_chain_atoms(structure, chi) if atom.name == "CB"])


def pack_chi(chains: Chains, number: int) -> NDArray[np.float16]:
    """Pack the side chains of a chain; returns chi (n, 4) of the best rotamers (radian)."""
    packed = pack(backbone_structure(chains, number))
    chi = np.full((int(chains.length[number]), MAX_CHI), np.nan, dtype=np.float16)
    for k, angles in zip(packed.residue.tolist(), packed.chi, strict=True):
        chi[k, : len(angles)] = angles
    return chi


def side_chain_atoms(structure: Structure, chi: NDArray[np.float16]) -> list[AddedAtom]:
    """CB and the atoms beyond it for all residues of a bare backbone, from packed chi (n, 4)."""
    added = []
    complete = backbone_torsions(structure)[:, 3] == 1.0
    conformer = structure.conformer_mask
    for k, residue in enumerate(structure.residues):
        template = side_chain("SER" if residue.resname == "ALA" else residue.resname)
        if template is None or not complete[k]:
            continue
        atoms = [structure.atom(k, name, conformer) for name in ("N", "CA", "C")]
        rotation, origin = backbone_frames(*(structure.xyz[a] for a in atoms if a is not None))
        added.append(AddedAtom(k, "CB", "C", template.cb @ rotation + origin))
        if residue.resname != "ALA":
            angles = chi[k, : len(template.axes)].astype(float)[None]
            positions = build_rotamers(template, angles, rotation, origin)[0]
            for name, element, position in zip(template.names, template.elements, positions, strict=True):
                added.append(AddedAtom(k, name, element, position))
    return added


def with_added_atoms(structure: Structure, added: Sequence[AddedAtom]) -> Structure:
    """Return a structure with atoms added, each after the others of its residue."""
    rows, keys = [], []
    for k, residue in enumerate(structure.residues):
        residue_rows = [relabel_row(structure, a, structure.xyz[a]) for a in residue.atoms.tolist()]
        for atom in added:
            if atom.residue == k:
                first = residue.atoms[0]
                row = list(relabel_row(structure, int(first), atom.xyz))
                row[0], row[5] = atom.name, atom.element
                residue_rows.append(cast(Row, tuple(row)))
        rows += residue_rows
        keys += [k] * len(residue_rows)
    return Structure.from_rows(rows, structure.source, keys)


def relabel_row(structure: Structure, a: int, xyz: NDArray[np.float64]) -> Row:
    """Row of atom `a` of a structure, with other coordinates (3,) in nm."""
    labels = (structure.name[a], structure.resname[a], structure.chain[a], structure.icode[a], "", structure.element[a])
    numbers = (int(structure.resnum[a]), a, False, 1.0, 0.0, *map(float, xyz))
    return cast(Row, (*map(str, labels), *numbers))


def packed_structure(chains: Chains, packed: PackedChains, number: int) -> Structure:
    """Structure of a chain of the data with its packed side chains."""
    bare = backbone_structure(chains, number)
    return with_added_atoms(bare, side_chain_atoms(bare, packed.of(number, int(chains.length[number]))))


def choose_chains(chains: Chains, count: int, seed: int) -> NDArray[np.int64]:
    """Draw `count` training chains, and a tenth as many of each other split; returns their numbers in order."""
    noise = np.random.default_rng(seed)
    parts = []
    for split in SPLITS:
        members = np.flatnonzero(chains.split == SPLITS.index(split))
        size = count if split == "train" else -(-count // TRAINING_RATIO)
        parts.append(noise.permutation(members)[:size])
    return np.sort(np.concatenate(parts)).astype(np.int64)


def pack_chains(
    chains: Chains,
    data_sha256: str,
    path: str | Path,
    *,
    count: int,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> PackedChains:
    """Pack chains and store them in a file; chains that are in the file already are kept.

    Parameters
    ----------
    chains : Chains
        The data.
    data_sha256 : str
        Hash of the data.
    path : str or Path
        The file (.npz).
    count : int
        Number of training chains; see `choose_chains`.
    seed : int
        Seed of the choice.
    workers : int
        Number of processes.
    progress : callable, optional
        Called with the number of chains done and of all.

    Raises
    ------
    InputFileError
        If the file exists and was packed from other data.
    """
    path = Path(path)
    chosen = choose_chains(chains, count, seed)
    done: dict[int, NDArray[np.float16]] = {}
    if path.exists():
        packed = read_packed(path, data_sha256, chains)
        done = {int(c): packed.of(int(c), int(chains.length[c])) for c in packed.chain}
    missing = [int(c) for c in chosen if int(c) not in done]
    total = len(done) + len(missing)
    for batch, torsions in _pack_in_batches(chains, missing, workers):
        done |= dict(zip(batch, torsions, strict=True))
        _write(path, done, data_sha256)
        if progress is not None:
            progress(len(done), total)
    return read_packed(path, data_sha256, chains)


def _pack_in_batches(
    chains: Chains, numbers: list[int], workers: int
) -> Iterator[tuple[list[int], list[NDArray[np.float16]]]]:
    batches = [numbers[k : k + BATCH * workers] for k in range(0, len(numbers), BATCH * workers)]
    if workers == 1:
        for batch in batches:
            yield batch, [pack_chi(chains, c) for c in batch]
        return
    with ProcessPoolExecutor(workers, initializer=_store_chains, initargs=(chains,)) as pool:
        for batch in batches:
            yield batch, list(pool.map(_pack_number, batch))


def _store_chains(chains: Chains) -> None:
    """Keep the chains in a worker process, so that they are not sent with each job."""
    _WORKER["chains"] = chains


def _pack_number(number: int) -> NDArray[np.float16]:
    return pack_chi(_WORKER["chains"], number)


_WORKER: dict[str, Chains] = {}


def _write(path: Path, done: dict[int, NDArray[np.float16]], data_sha256: str) -> None:
    order = sorted(done)
    length = np.array([len(done[c]) for c in order])
    arrays = {
        "chain": np.array(order),
        "start": np.concatenate([[0], np.cumsum(length)[:-1]]),
        "chi": np.concatenate([done[c] for c in order]),
        "data_sha256": np.array(data_sha256),
    }
    write_npz(path, arrays)


def read_packed(path: str | Path, data_sha256: str | None = None, chains: Chains | None = None) -> PackedChains:
    """Read packed chains, and check that they belong to given data.

    Parameters
    ----------
    path : str or Path
        The file.
    data_sha256 : str, optional
        Hash of the backbones to which they must belong.
    chains : Chains, optional
        Those backbones, for a check of the lengths.

    Raises
    ------
    InputFileError
        If the file is not one of packed chains, contradicts itself, or was packed from other data.
    """
    content, expected = "packed chains", "a file that `geofold data pack` wrote"
    arrays = read_arrays(path, FIELDS, content=content, expected=expected, remedy="check the path")
    chain, start = arrays["chain"].astype(np.int64), arrays["start"].astype(np.int64)
    packed = PackedChains(chain, start, arrays["chi"].astype(np.float16), str(arrays["data_sha256"]))
    if data_sha256 is not None and packed.data_sha256 != data_sha256:
        raise InputFileError(
            f"{path} was packed from other backbones (sha256 {packed.data_sha256[:12]})",
            f"those of sha256 {data_sha256[:12]}",
            "pack again, to another file",
        )
    length = np.diff(np.append(start, len(packed.chi)))
    fits = start[:1].sum() == 0 and (length > 0).all() and len(np.unique(chain)) == len(chain)
    if fits and chains is not None:
        known = (chain >= 0) & (chain < len(chains.length))
        fits = known.all() and (chains.length[chain] == length).all()
    if not fits:
        raise InputFileError(
            f"{path} holds no {content} (chain, start and chi contradict one another)",
            expected,
            "pack again, to another file",
        )
    return packed
