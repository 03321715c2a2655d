"""Training chains with side chains: packed once, kept as chi torsions, built again when they are asked for.

Glossary: ``C`` chains packed, ``P`` their residues end to end, ``n`` residues of one chain.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from geofold.errors import InputFileError
from geofold.files import write_atomically
from geofold.learn.arrays import FLOATS, INTEGERS, TEXT, Field, read_arrays
from geofold.learn.data.chains import SPLITS, Chains
from geofold.molecule.residues import names_of
from geofold.molecule.sidechains.packing import backbone_torsions, pack
from geofold.molecule.sidechains.rotamer_library import backbone_frames, built, side_chain
from geofold.molecule.structure import AddedAtom, Row, Structure

Floats = NDArray[np.float64]
MAX_CHI = 4
FIELDS: dict[str, Field] = {
    "chain": (INTEGERS, ("C",)), "start": (INTEGERS, ("C",)), "chi": (FLOATS, ("P", MAX_CHI)),
    "data_sha256": (TEXT, ()),
}  # fmt: skip
BATCH = 20
"""Chains between two writes of the file."""
HELD_OUT = 10
"""One chain of the other splits for so many of the training split."""


@dataclass(frozen=True)
class PackedChains:
    """Chi torsions of packed chains.

    Attributes
    ----------
    chain : (C,) int
        Numbers of the chains in their `backbones.npz`.
    start : (C,) int
        First residue of each in `chi`.
    chi : (P, 4) float16
        Radian, NaN beyond a residue's last.
    data_sha256 : str
        Of the `backbones.npz`.
    """

    chain: NDArray[np.int64]
    start: NDArray[np.int64]
    chi: NDArray[np.float16]
    data_sha256: str

    def of(self, number: int, length: int) -> NDArray[np.float16]:
        """Chi (n, 4) of a chain by its number."""
        place = int(np.flatnonzero(self.chain == number)[0])
        return self.chi[self.start[place] : self.start[place] + length]


def backbone_structure(chains: Chains, number: int) -> Structure:
    """A chain of the data as a structure: N, CA, C and O of each residue."""
    letters, xyz = chains.letters(number), chains.xyz(number) / 10
    rows: list[Row] = []
    keys: list[int] = []
    for k, name in enumerate(names_of(letters)):
        for atom, place in zip(("N", "CA", "C", "O"), xyz[k].tolist(), strict=True):
            rows.append(cast(Row, (atom, name, "A", "", "", atom[0], k + 1, len(rows) + 1, False, 1.0, 0.0, *place)))
            keys.append(k)
    return Structure.from_rows(rows, f"chain {number} of the data", keys)


def with_betas(structure: Structure) -> Structure:
    """A bare backbone with the CB atoms of its residues."""
    chi = np.zeros((len(structure.residues), MAX_CHI), dtype=np.float16)
    return with_added_atoms(structure, [atom for atom in side_chain_atoms(structure, chi) if atom.name == "CB"])


def pack_chi(chains: Chains, number: int) -> NDArray[np.float16]:
    """Chi (n, 4) of the best rotamers of a chain."""
    found = pack(backbone_structure(chains, number))
    chi = np.full((int(chains.length[number]), MAX_CHI), np.nan, dtype=np.float16)
    for k, angles in zip(found.residue.tolist(), found.chi, strict=True):
        chi[k, : len(angles)] = angles
    return chi


def side_chain_atoms(structure: Structure, chi: NDArray[np.float16]) -> list[AddedAtom]:
    """Atoms from CB on of all residues of a bare backbone, with chi (n, 4) as they were packed."""
    added = []
    there = backbone_torsions(structure)[:, 3] == 1.0
    for k, residue in enumerate(structure.residues):
        chain = side_chain("SER" if residue.resname == "ALA" else residue.resname)
        if chain is None or not there[k]:
            continue
        steering = structure.steering_mask
        places = [structure.atom(k, atom, steering) for atom in ("N", "CA", "C")]
        rotation, origin = backbone_frames(*(structure.xyz[a] for a in places if a is not None))
        added.append(AddedAtom(k, "CB", "C", chain.cb @ rotation + origin))
        if residue.resname != "ALA":
            angles = chi[k, : len(chain.axes)].astype(float)[None]
            for name, element, place in zip(
                chain.names, chain.elements, built(chain, angles, rotation, origin)[0], strict=True
            ):
                added.append(AddedAtom(k, name, element, place))
    return added


def with_added_atoms(structure: Structure, added: Sequence[AddedAtom]) -> Structure:
    """A structure with its added atoms, each behind the others of its residue."""
    rows, keys = [], []
    for k, residue in enumerate(structure.residues):
        own = [relabel_row(structure, a, structure.xyz[a]) for a in residue.atoms.tolist()]
        for atom in added:
            if atom.residue == k:
                first = residue.atoms[0]
                row = list(relabel_row(structure, int(first), atom.xyz))
                row[0], row[5] = atom.name, atom.element
                own.append(cast(Row, tuple(row)))
        rows += own
        keys += [k] * len(own)
    return Structure.from_rows(rows, structure.source, keys)


def relabel_row(structure: Structure, a: int, xyz: NDArray[np.float64]) -> Row:
    """Row of an atom of a structure, elsewhere."""
    labels = (structure.name[a], structure.resname[a], structure.chain[a], structure.icode[a], "", structure.element[a])
    numbers = (int(structure.resnum[a]), a, False, 1.0, 0.0, *map(float, xyz))
    return cast(Row, (*map(str, labels), *numbers))


def packed_structure(chains: Chains, packed: PackedChains, number: int) -> Structure:
    """A chain of the data with its packed side chains."""
    bare = backbone_structure(chains, number)
    return with_added_atoms(bare, side_chain_atoms(bare, packed.of(number, int(chains.length[number]))))


def choose_chains(chains: Chains, count: int, seed: int) -> NDArray[np.int64]:
    """Numbers of `count` training chains drawn by a seed, and a tenth as many of each other split, in order."""
    noise = np.random.default_rng(seed)
    parts = []
    for split in SPLITS:
        own = np.flatnonzero(chains.split == SPLITS.index(split))
        most = count if split == "train" else -(-count // HELD_OUT)
        parts.append(noise.permutation(own)[:most])
    return np.sort(np.concatenate(parts)).astype(np.int64)


def pack_chains(
    chains: Chains, data_sha256: str, path: str | Path, *, count: int, seed: int = 0, workers: int = 1,
    told: Callable[[int, int], None] | None = None,
) -> PackedChains:  # fmt: skip
    """Pack chains and keep them in a file; what the file has already is not packed again.

    Parameters
    ----------
    count
        Training chains; see `chosen_chains`.
    told
        Called with the number of chains done and of all.
    """
    path = Path(path)
    wanted = choose_chains(chains, count, seed)
    done: dict[int, NDArray[np.float16]] = {}
    if path.exists():
        old = read_packed(path, data_sha256, chains)
        done = {int(c): old.of(int(c), int(chains.length[c])) for c in old.chain}
    left = [int(c) for c in wanted if int(c) not in done]
    total = len(done) + len(left)
    for batch, found in _packed_in_batches(chains, left, workers):
        done |= dict(zip(batch, found, strict=True))
        _write(path, done, data_sha256)
        if told is not None:
            told(len(done), total)
    return read_packed(path, data_sha256, chains)


def _packed_in_batches(
    chains: Chains, left: list[int], workers: int
) -> Iterator[tuple[list[int], list[NDArray[np.float16]]]]:
    batches = [left[k : k + BATCH * workers] for k in range(0, len(left), BATCH * workers)]
    if workers == 1:
        for batch in batches:
            yield batch, [pack_chi(chains, c) for c in batch]
        return
    with ProcessPoolExecutor(workers, initializer=_hold, initargs=(chains,)) as pool:
        for batch in batches:
            yield batch, list(pool.map(_packed_held, batch))


def _hold(chains: Chains) -> None:
    """Keep the chains in a worker, so that they are not sent with each job."""
    _HELD["chains"] = chains


def _packed_held(number: int) -> NDArray[np.float16]:
    return pack_chi(_HELD["chains"], number)


_HELD: dict[str, Chains] = {}


def _write(path: Path, done: dict[int, NDArray[np.float16]], data_sha256: str) -> None:
    order = sorted(done)
    length = np.array([len(done[c]) for c in order])
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, chain=np.array(order), start=np.concatenate([[0], np.cumsum(length)[:-1]]),
        chi=np.concatenate([done[c] for c in order]), data_sha256=np.array(data_sha256),
    )  # fmt: skip
    write_atomically(path, lambda name: Path(name).write_bytes(buffer.getvalue()))


def read_packed(
    path: str | Path, data_sha256: str | None = None, chains: Chains | None = None
) -> PackedChains:  # fmt: skip
    """Packed chains of a file.

    Parameters
    ----------
    data_sha256, chains
        Of the backbones that they have to belong to.

    Raises
    ------
    InputFileError
        If it is none, or was packed from other data.
    """
    content, expected = "packed chains", "a file that `geofold data pack` wrote"
    arrays = read_arrays(path, FIELDS, content=content, expected=expected, remedy="check the path")
    chain, start = arrays["chain"].astype(np.int64), arrays["start"].astype(np.int64)
    found = PackedChains(chain, start, arrays["chi"].astype(np.float16), str(arrays["data_sha256"]))
    if data_sha256 is not None and found.data_sha256 != data_sha256:
        raise InputFileError(
            f"{path} was packed from other backbones (sha256 {found.data_sha256[:12]})",
            f"those of sha256 {data_sha256[:12]}", "pack again, to another file",
        )  # fmt: skip
    length = np.diff(np.append(start, len(found.chi)))
    fits = start[:1].sum() == 0 and (length > 0).all() and len(np.unique(chain)) == len(chain)
    if fits and chains is not None:
        known = (chain >= 0) & (chain < len(chains.length))
        fits = known.all() and (chains.length[chain] == length).all()
    if not fits:
        raise InputFileError(f"{path} holds no {content} (chain, start and chi contradict one another)", expected,
                             "pack again, to another file")  # fmt: skip
    return found
