"""Multi-model PDB files of any structure, and a PDB document for a structure without a file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geofold.molecule.io.hybrid36 import DIGITS36
from geofold.molecule.io.pdb_fields import LINE, coordinate_field, name_field, resnum_field
from geofold.molecule.io.pdb_writer import PdbDocument
from geofold.molecule.structure import Floats, Structure

CHAIN_LETTERS = DIGITS36[10:] + DIGITS36[10:].lower() + DIGITS36[:10]
"""Characters that replace chain ids of several characters."""


def _per_frame(values: Floats, frames: int, structure: Structure, atoms: NDArray[np.int64]) -> Floats:
    """Values (T, m, ...) of the chosen atoms, from (T, n or m, ...)."""
    chosen = values[:, atoms] if values.shape[1] == len(structure) else values
    if chosen.shape[:2] != (frames, len(atoms)):
        raise ValueError(f"values of shape {values.shape} do not fit {frames} frames of {len(atoms)} atoms")
    return chosen


def format_models(
    structure: Structure, frames: Floats, bfactors: Floats | None, atoms: NDArray[np.int64], *, bare: bool = False
) -> bytes:
    """PDB text of several frames.

    Parameters
    ----------
    structure : Structure
    frames : (T, n, 3) or (T, m, 3)
        Coordinates (nm) of all atoms or of `atoms`.
    bfactors : (T, n) or (T, m), optional
        Values of the B-factor column; the structure's own if not given.
    atoms : (m,) int
        Atoms to write.
    bare : bool
        Write one frame as a file of its own: without MODEL records, with altloc letters.

    Raises
    ------
    OutputError
        If a coordinate is not finite or does not fit the columns.
    """
    s, count = structure, len(frames)
    positions = _per_frame(np.asarray(frames, dtype=np.float64) * 10.0, count, s, atoms)
    values = np.tile(s.bfactor, (count, 1)) if bfactors is None else np.asarray(bfactors, dtype=np.float64)
    values = np.clip(_per_frame(values, count, s, atoms), -99.99, 999.99)
    for t, a, axis in np.argwhere(~((positions > -999.9995) & (positions < 9999.9995)))[:1]:
        coordinate_field(float(positions[t, a, axis]), "", f"{s.source}, frame {t + 1}, atom {s.name[atoms[a]]}")
    longer = [chain for chain in dict.fromkeys(s.chain.tolist()) if len(chain) > 1]
    spare = [c for c in CHAIN_LETTERS if c not in set(s.chain.tolist())] or list(CHAIN_LETTERS)
    letter = {chain: spare[k % len(spare)] for k, chain in enumerate(longer)}
    heads, tails, serial = [], [], 0
    for k, i in enumerate(atoms):
        serial, residue, chain = serial + 1, s.residue_of[i], letter.get(str(s.chain[i]), str(s.chain[i]))
        record, altloc = "HETATM" if s.hetatm[i] else "ATOM", str(s.altloc[i]) if bare else ""
        place = f"{s.resname[i][:4]:>3s}".ljust(4) + f"{chain:1s}{resnum_field(int(s.resnum[i]))}{s.icode[i][:1]:1s}"
        name = name_field(str(s.name[i]), str(s.element[i]))
        heads.append(f"{record:6s}{serial % 100000:5d} {name}{altloc:1s}{place}   ")
        tail = f"{s.element[i]:>12s}  \n"
        following = s.residue_of[atoms[k + 1]] if k + 1 < len(atoms) else -1
        if s.is_amino_acid(residue) and following != residue and not (
            following >= 0 and s.is_amino_acid(following) and s.chain[atoms[k + 1]] == s.chain[i]
        ):  # fmt: skip
            serial += 1
            tail += f"TER   {serial % 100000:5d}      {place}\n"
        tails.append(tail)
    text = [f"TITLE     {s.title[:70]}\n"] if s.title else []
    for t in range(count):
        text.append("" if bare else f"MODEL     {(t + 1) % 10000:4d}\n")
        rows = zip(heads, positions[t].tolist(), s.occupancy[atoms].tolist(), values[t].tolist(), tails, strict=True)
        text += [f"{head}{x:8.3f}{y:8.3f}{z:8.3f}{o:6.2f}{b:6.2f}{tail}" for head, (x, y, z), o, b, tail in rows]
        text.append("" if bare else "ENDMDL\n")
    return "".join([*text, "END\n"]).encode()


def document_of(structure: Structure) -> PdbDocument:
    """PDB document of a structure without a file; see `geofold.molecule.io.edit.with_document`."""
    text = format_models(structure, structure.xyz[None], None, np.arange(len(structure)), bare=True).decode()
    return PdbDocument.of_lines(LINE.findall(text))
