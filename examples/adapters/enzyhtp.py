"""EnzyHTP: a method of `add_missing_residues` without MODELLER or Rosetta.

from enzy_htp.preparation import remedy
from enzy_htp.structure import PDBParser
remedy.RESIDUE_ADDER_MAPPER["geofold"] = adder(PDBParser())
remedy.add_missing_residues(structure, missing, method="geofold")
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geofold as gf


def ranges(missing: list[Any]) -> list[str]:
    """Consecutive missing residues (EnzyHTP's SeqRes) as requests to build: A:45-47=GSE."""
    runs: list[list[Any]] = []
    for one in sorted(missing, key=lambda residue: (residue.chain, residue.idx)):
        if runs and (runs[-1][-1].chain, runs[-1][-1].idx + 1) == (one.chain, one.idx):
            runs[-1].append(one)
        else:
            runs.append([one])
    return [
        f"{run[0].chain}:{run[0].idx}-{run[-1].idx}={''.join(residue.one_letter() for residue in run)}" for run in runs
    ]


def adder(parser: Any) -> Callable[..., None]:
    """Return the method; `parser` is EnzyHTP's PDBParser, which writes and reads its structures.

    The method builds the residues, all in one run, and adds them to the structure in place; the others do not move.
    Residues beyond the ends of a chain are refused by `geofold.repair`, as is a sequence with unknown residues.
    """

    def add_missing_residues(stru: Any, missing_residues: list[Any], work_dir: str = ".", **options: Any) -> None:
        before, after = Path(work_dir) / "geofold_before.pdb", Path(work_dir) / "geofold_after.pdb"
        parser.save_structure(str(before), stru)
        gf.repair(before, build=ranges(missing_residues), **options).save(after)
        wanted = {(residue.chain, residue.idx) for residue in missing_residues}
        for filled in parser.get_structure(str(after)).chains:
            chain = stru.get_chain(filled.name)
            for residue in list(filled.residues):
                if (filled.name, residue.idx) in wanted:
                    chain.add(residue, sort=False)
            chain.sort_residues()

    return add_missing_residues
