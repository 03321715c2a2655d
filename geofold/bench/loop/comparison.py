"""Comparison of files outside a loop: which lines of the start must be in the output."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from geofold.app.result import Result
from geofold.bench.loop.sets import Episode
from geofold.molecule.io.edit import without_atoms
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.sidechains.repacking import BACKBONE_AND_CB


def is_rest_identical(episode: Episode, result: Result) -> bool:
    """Whether the output has every line of the start, except those of the loop and of repacked side chains.

    Atoms that the report lists as added are ignored.
    """
    repacked = set(result.report.get("repacked", {}).get("residues", []))
    first, last = episode.span
    loop = {episode.native.residues[k].label for k in range(first, last + 1)}
    before = render(episode.start, episode.start.xyz, np.zeros(len(episode.start), dtype=bool))
    added = set(result.report.get("added_atoms", []))
    return lines_outside(before, loop, repacked) == lines_outside(result.content, loop, repacked, added)


def lines_outside(content: bytes, loop: set[str], repacked: set[str], added: Collection[str] = ()) -> list[str]:
    """Lines of a PDB file without the loop, repacked side chains, added atoms, and records that count atoms.

    Parameters
    ----------
    content : bytes
        The file.
    loop, repacked : set of str
        Labels of the residues of the loop, and of those with repacked side chains.
    added : collection of str
        Added atoms, as 'label@name'.
    """
    structure = read(content)
    in_loop, in_repacked = (
        np.isin(structure.residue_of, [k for k, residue in enumerate(structure.residues) if residue.label in labels])
        for labels in (loop, repacked)
    )
    dropped = in_loop | (in_repacked & ~np.isin(structure.name, list(BACKBONE_AND_CB)))
    labels = [structure.residues[k].label for k in structure.residue_of]
    dropped |= np.array([f"{label}@{name}" in added for label, name in zip(labels, structure.name, strict=True)])
    rest = without_atoms(structure, dropped)
    lines = render(rest, rest.xyz, np.zeros(len(rest), dtype=bool)).decode("latin-1").splitlines()
    return [line for line in lines if not line.startswith(("TER", "MASTER"))]
