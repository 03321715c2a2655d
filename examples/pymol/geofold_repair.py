"""The command `geofold_repair` for PyMOL: repair the loops of a selection.

In PyMOL, whose Python has to have geofold (`pip install geofold`):

    run examples/pymol/geofold_repair.py
    fetch 1ubi, async=0
    geofold_repair 1ubi and resi 45-56

The repaired protein is a new object, `1ubi_repaired`; what was there stays as it is.
"""

from __future__ import annotations

from typing import Any

from pymol import CmdException, cmd

import geofold as gf
from geofold.errors import GeofoldError


def loops_of(selection: str, _self: Any = cmd) -> tuple[str, list[str]]:
    """Object of a selection, and its runs of neighbouring residues as ranges such as A:45-56."""
    names = _self.get_object_list(f"({selection})") or []
    if len(names) != 1:
        raise CmdException(f"{len(names)} objects in ({selection}); expected one; select residues of one object")
    every: list[tuple[str, str]] = []
    chosen: set[tuple[str, str]] = set()
    _self.iterate(f"{names[0]} and name CA and polymer", "every.append((chain, resi))", space={"every": every})
    _self.iterate(f"byres ({selection})", "chosen.add((chain, resi))", space={"chosen": chosen})
    runs: list[list[tuple[str, str]]] = []
    going = False
    for residue in dict.fromkeys(every):
        if residue in chosen and going and residue[0] == runs[-1][-1][0]:
            runs[-1].append(residue)
        elif residue in chosen:
            runs.append([residue])
        going = residue in chosen
    if not runs:
        raise CmdException(f"no amino acid in ({selection}); expected residues of a protein; select others")
    return names[0], [f"{run[0][0]}:{run[0][1]}-{run[-1][1]}" for run in runs]


def geofold_repair(
    selection: str, name: str = "", seed: int = 0, streams: int = 12, rounds: int = 6, energy: int = 1,
    predictor: str = "trained", quiet: int = 1, _self: Any = cmd,
) -> Any:  # fmt: skip
    """Repair the residues of a selection; the rest of the object stays.

    USAGE

        geofold_repair selection [, name [, seed [, streams [, rounds [, energy [, predictor ]]]]]]

    ARGUMENTS

        name = string: of the new object {default: the object's with _repaired}

        seed, streams, rounds, energy, predictor: as for geofold.repair
    """
    source, loops = loops_of(selection, _self)
    content = _self.get_pdbstr(source, state=_self.get_state()).encode()
    try:
        result = gf.repair(
            content, loops, seed=int(seed), streams=int(streams), rounds=int(rounds), energy=bool(int(energy)),
            predictor=predictor, name=source,
        )  # fmt: skip
    except GeofoldError as error:
        raise CmdException(str(error)) from None
    _self.read_pdbstr(result.content.decode(), name or f"{source}_repaired")
    if not int(quiet):
        result.summary()
    return result


cmd.extend("geofold_repair", geofold_repair)
