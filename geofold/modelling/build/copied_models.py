"""Initial model of a missing loop that another chain of a homomer has."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geofold.errors import BuildError
from geofold.modelling.build.initial_models import InitialModels, with_side_chains
from geofold.modelling.options import RunOptions
from geofold.modelling.repair.copies import superposed_backbone, torsions_of
from geofold.modelling.scoring import FOUND, Scores
from geofold.modelling.search.candidates import LoopCandidates
from geofold.modelling.search.evolutionary import Candidates
from geofold.molecule.loop.build_plan import BuildPlan
from geofold.molecule.loop.copies import CopyPair, Range
from geofold.molecule.structure import Structure


def copied_initial_models(
    structure: Structure, build: BuildPlan, reference: Range, options: RunOptions
) -> InitialModels:
    """Return the initial model of a missing loop, from its copy in another chain.

    Parameters
    ----------
    structure : Structure
    build : BuildPlan
        Residues to build.
    reference : (int, int)
        First and last residue of the copy that is there.
    options : RunOptions

    Raises
    ------
    BuildError
        If the loop does not reach from one anchor to the other.
    """
    loop = LoopCandidates.of(structure, build, altloc=options.altloc, seed=options.seed, predicts=False)
    ends = build.before + 1, build.after - 1
    backbone = superposed_backbone(structure, CopyPair(reference, ends), structure.conformer(options.altloc))
    rows = loop.fit(torsions_of(structure, reference)[None], backbone[None])
    if not len(rows):
        raise BuildError(
            f"{build.label}: the loop of {structure.residues[reference[0]].label} does not meet both anchors there",
            "copies whose anchors are alike",
            "build it without --copies",
        )
    scores = Scores.of(np.zeros(len(rows)))
    models = with_side_chains(structure, build, Candidates.rank(rows, scores, FOUND), loop.structure, options)
    return replace(models, tried=len(rows))
