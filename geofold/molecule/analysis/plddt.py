"""B-factors of predicted structures that are pLDDT, the confidence of AlphaFold and its relatives (0 to 100).

Jumper et al., Nature 596:583 (2021): residues below 70 are to be treated with caution, those below 50 are not to be
interpreted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geofold.molecule.structure import Floats, Structure

CAUTION = 70.0
"""pLDDT below which a residue is in trouble."""
SURE = 50.0
"""pLDDT that some residue reaches, in files whose records say nothing."""
SAME = 0.011
"""Difference of B-factors (two rounded decimals) up to which they are the same."""
UNSAID = "no record names an experiment, and the atoms of each residue have one B-factor between 0 and 100"


@dataclass(frozen=True, eq=False)
class Plddt:
    """Confidence of a prediction.

    Attributes
    ----------
    value : (n_residues,)
        pLDDT, 0 to 100; NaN for other residues than amino acids, and for those that geofold modelled.
    evidence : str
        Why the B-factors are taken to be pLDDT.
    """

    value: Floats
    evidence: str


def read_plddt(structure: Structure) -> Plddt | None:
    """Return the pLDDT of the residues, if the B-factors are pLDDT.

    They are if a record says so (`ma_qa_metric` of mmCIF, a title or remark that names the program) and no record names
    an experiment. Without such a record they are if each residue's atoms have the same one, as only predictions have.
    """
    prediction = None if structure.document is None else structure.document.prediction()
    amino = np.array([structure.is_amino_acid(k) for k in range(len(structure.residues))])
    if structure.document is None or prediction is None or not amino.any():
        return None
    low, high = (np.full(len(amino), start) for start in (np.inf, -np.inf))
    np.minimum.at(low, structure.residue_of, structure.bfactor)
    np.maximum.at(high, structure.residue_of, structure.bfactor)
    modelled = structure.document.modelled_residues()
    known = amino & np.array([(r.chain, r.resnum, r.icode) not in modelled for r in structure.residues])
    if not known.any() or low[known].min() < 0 or high[known].max() > 100 or np.ptp(high[known]) <= SAME:
        return None
    if not prediction and ((high - low)[known].max() > SAME or high[known].max() < SURE):
        return None
    atoms = np.bincount(structure.residue_of)
    mean = np.bincount(structure.residue_of, structure.bfactor) / np.maximum(atoms, 1)
    scale = 100.0 if prediction and high[known].max() <= 1.0 else 1.0
    return Plddt(np.where(known, scale * mean, np.nan), prediction or UNSAID)
