"""Loops of models from elsewhere (homology models, AlphaFold-like predictions) as candidates of a search.

A model is superposed on the residues on both sides of the loop, and its loop is fitted with ideal geometry between the
anchors. Then it is a candidate like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from geofold.errors import BuildError
from geofold.geometry import superpose
from geofold.modelling.search.candidates import LoopCandidates
from geofold.molecule.io.read import read
from geofold.molecule.loop.copies import FLANK, MIN_FLANK
from geofold.molecule.residues import BACKBONE, one_letter_code, standard_name
from geofold.molecule.selection import backbone_atoms
from geofold.molecule.sidechains.packing import backbone_torsions
from geofold.molecule.structure import Floats, Structure


def external_candidates(loop: LoopCandidates, paths: Sequence[str]) -> Floats:
    """Fit the loops of models to the anchors of a loop.

    Parameters
    ----------
    loop : LoopCandidates
    paths : sequence of str
        Files of the models.

    Returns
    -------
    (K, m, 3)
        Conformations of the loop (nm); a model whose loop cannot be closed gives none.

    Raises
    ------
    BuildError
        If a model lacks the loop or the residues next to it.
    InputFileError
        If a file cannot be read.
    """
    rows = [fit_model(loop, read(path)) for path in paths]
    return np.concatenate([*rows, np.empty((0, len(loop.atoms), 3))])


def fit_model(loop: LoopCandidates, model: Structure) -> Floats:
    """Fit the loop of one model; returns (1, m, 3), or (0, m, 3) if it cannot be closed."""
    first = _find_loop(loop, model)
    if first is None:
        flanks = f"with {MIN_FLANK} or more of the residues on each side"
        raise BuildError(
            f"candidate {model.source} has no residues {loop.build.label} of sequence {loop.build.sequence}",
            f"a model of the chain that contains this loop, {flanks}",
            "check the file, or leave it out",
        )
    count, origin = len(loop.build.names), loop.origin
    pairs = [(loop.build.before - k, first - 1 - k) for k in range(_flank(loop, model, first, -1))]
    pairs += [(loop.build.after + k, first + count + k) for k in range(_flank(loop, model, first, 1))]
    conformer = origin.conformer(loop.altloc)
    target, mobile = (
        np.array([structure.xyz[structure.atom(k, name, mask)] for k in residues for name in BACKBONE[:3]])
        for structure, residues, mask in (
            (origin, [own for own, _ in pairs], conformer),
            (model, [own for _, own in pairs], model.conformer_mask),
        )
    )
    atoms = np.array(backbone_atoms(model, first, first + count - 1, model.conformer_mask))
    backbone = superpose(model.xyz[atoms], mobile, target)
    torsions = backbone_torsions(model)[first : first + count + 1, :2]
    return loop.fit(torsions[None], backbone.reshape(1, count, 4, 3))


def _find_loop(loop: LoopCandidates, model: Structure) -> int | None:
    """Find the loop in a model: by residue numbers, in the same chain first, then by sequence."""
    count = len(loop.build.names)
    numbers = list(loop.build.numbers)
    starts = [
        k
        for k in range(1, len(model.residues) - count)
        if [(r.resnum, r.icode) for r in model.residues[k : k + count]] == numbers
    ]
    starts.sort(key=lambda k: model.residues[k].chain != loop.build.chain)
    for start in (*starts, *_places_of_sequence(model, loop.build.sequence)):
        if _matches(loop, model, start):
            return start
    return None


def _places_of_sequence(model: Structure, sequence: str) -> Iterator[int]:
    """Yield the residues of a model at which a sequence begins."""
    letters = "".join(one_letter_code(residue.resname) for residue in model.residues)
    place = letters.find(sequence)
    while place >= 0:
        yield place
        place = letters.find(sequence, place + 1)


def _matches(loop: LoopCandidates, model: Structure, start: int) -> bool:
    """Whether the residues of a model from `start` are the loop, complete, with enough residues on each side."""
    count = len(loop.build.names)
    inside = model.residues[start : start + count]
    if [standard_name(residue.resname) for residue in inside] != [standard_name(name) for name in loop.build.names]:
        return False
    if None in backbone_atoms(model, start, start + count - 1, model.conformer_mask):
        return False
    if not all(model.bonded(k, k + 1) for k in range(start - 1, start + count)):
        return False
    return min(_flank(loop, model, start, side) for side in (-1, 1)) >= MIN_FLANK


def _flank(loop: LoopCandidates, model: Structure, start: int, side: int) -> int:
    """Count residues next to the loop, before (-1) or after it (1), that are bonded and alike in both structures."""
    own = loop.build.before if side < 0 else loop.build.after
    other = start - 1 if side < 0 else start + len(loop.build.names)
    conformer, mask = loop.origin.conformer(loop.altloc), model.conformer_mask
    matched = 0
    for step in range(FLANK):
        k, j = own + side * step, other + side * step
        if not (0 <= k < len(loop.origin.residues) and 0 <= j < len(model.residues)):
            break
        names = [standard_name(structure.residues[n].resname) for structure, n in ((loop.origin, k), (model, j))]
        if names[0] != names[1]:
            break
        if None in backbone_atoms(loop.origin, k, k, conformer)[:3] or None in backbone_atoms(model, j, j, mask)[:3]:
            break
        if step and not all(
            structure.bonded(min(n, n - side), max(n, n - side)) for structure, n in ((loop.origin, k), (model, j))
        ):
            break
        matched += 1
    return matched
