"""Peptides whose torsions are drawn from the torsion prior."""

from __future__ import annotations

import numpy as np

from geofold.learn.torsion_prior.model import shipped_prior
from geofold.molecule.encoding import encode_residues
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.structure import Structure

DRAWS = 8
"""Number of peptides that are drawn; the first with the fewest severe overlaps is taken."""


def draw_peptide(sequence: str, seed: int) -> Structure:
    """Peptide of a sequence with torsions drawn from the torsion prior.

    Parameters
    ----------
    sequence : str
        One-letter codes.
    seed : int

    Raises
    ------
    SequenceError
        See `geofold.molecule.io.ideal_peptide.peptide`.
    """
    extended = peptide(sequence)
    last = len(extended.residues) - 1
    letters = encode_residues(extended, 0, last).expand(-1, DRAWS)
    noise = np.random.default_rng(seed)
    torsions = np.degrees([part.double().numpy() for part in shipped_prior()[0].stream_sample(letters, noise)])
    peptides = [peptide(sequence, torsions[:, row].tolist()) for row in range(DRAWS)]
    return min(peptides, key=_count_overlaps)


def _count_overlaps(structure: Structure) -> int:
    """Return the number of severe overlaps."""
    domain = PeptideDomain.of(structure, 0, len(structure.residues) - 1)
    state = domain.start(structure.xyz)
    return int(domain.sterics.count_severe(state.conformation.xyz, state.pairs)[0])
