"""A new mmCIF file of a structure that came from a file of another format, or from none."""

from __future__ import annotations

import re

import numpy as np

from geofold.molecule.structure import Floats, Structure

ITEMS = (
    "group_PDB",
    "id",
    "type_symbol",
    "label_atom_id",
    "label_alt_id",
    "label_comp_id",
    "label_asym_id",
    "label_entity_id",
    "label_seq_id",
    "pdbx_PDB_ins_code",
    "Cartn_x",
    "Cartn_y",
    "Cartn_z",
    "occupancy",
    "B_iso_or_equiv",
    "auth_seq_id",
    "auth_comp_id",
    "auth_asym_id",
    "auth_atom_id",
    "pdbx_PDB_model_num",
)
"""Items of the table of atoms, in the order of wwPDB files."""


def new_mmcif(structure: Structure, xyz: Floats, altloc: str | None = None) -> bytes:
    """Write the atoms of one conformer as mmCIF.

    Parameters
    ----------
    structure : Structure
    xyz : (n_atoms, 3)
        Coordinates (nm).
    altloc : str, optional
        Conformer.
    """
    lines = [f"data_{re.sub(r'[^A-Za-z0-9_.-]', '_', structure.source) or 'geofold'}", "#", "loop_"]
    lines += [f"_atom_site.{item}" for item in ITEMS]
    chains = dict.fromkeys(structure.chain.tolist())
    entity = {chain: str(number) for number, chain in enumerate(chains, 1)}
    for serial, a in enumerate(np.flatnonzero(structure.conformer(altloc)).tolist(), 1):
        chain = str(structure.chain[a])
        x, y, z = 10 * xyz[a]
        hetero = bool(structure.hetatm[a])
        values = (
            "HETATM" if hetero else "ATOM",
            str(serial),
            str(structure.element[a]) or ".",
            _quoted(str(structure.name[a])),
            ".",
            _quoted(str(structure.resname[a])),
            _quoted(chain),
            entity[chain],
            "." if hetero else str(int(structure.residue_of[a]) + 1),
            str(structure.icode[a]) or "?",
            f"{x:.3f}",
            f"{y:.3f}",
            f"{z:.3f}",
            f"{structure.occupancy[a]:.2f}",
            f"{structure.bfactor[a]:.2f}",
            str(int(structure.resnum[a])),
            _quoted(str(structure.resname[a])),
            _quoted(chain),
            _quoted(str(structure.name[a])),
            "1",
        )
        lines.append(" ".join(values))
    return ("\n".join([*lines, "#"]) + "\n").encode()


def _quoted(text: str) -> str:
    """Quote a value where mmCIF needs it; a blank one is a dot."""
    if not text:
        return "."
    if re.fullmatch(r"[A-Za-z0-9][^\s'\"]*", text) and not re.match(r"(?i)(loop_|data_|save_|stop_|global_)", text):
        return text
    return f'"{text}"' if '"' not in text else f"'{text}'"
