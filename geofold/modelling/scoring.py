"""Cost of a loop model: named terms, one table of weights, totals that add up.

Lower is better everywhere. A candidate of a search and a refined model have the same terms; what differs is which of
them are known, and how much each is to be trusted at that stage (`BREEDING`, `SEARCH`, `FOUND`, `REFINED`). To add
a term, add a field to `Scores` and a weight of the same name to `Weights`.

Glossary: ``K`` candidates or models of one loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
COINCIDENT_ENERGY = 1e12
"""Energy (kJ/mol) assigned to a model with coincident atoms."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weight of each term of `Scores`, in units of the learned potential per unit of the term.

    Parameters
    ----------
    potential : float
    judge : float
        Per unit of the judge's energy.
    clash : float
        Per unit of the loop domain's cost of overlaps and Ramachandran outliers (one severe overlap costs about one).
    log_clash : float
        Per unit of log(1 + clash). Used before guided sampling, which removes most clashes.
    unclean : float
        Of a refined model that still has a severe overlap or an outlier.
    outlier_after : float
        Of an outlier at the residue after the loop, which no later stage can move.
    cis : float
        Per nat of the torsion prior's log-odds against the model's cis peptide bonds.
    searched : float
        Of a model found by a search, compared with one refined from the input.
    density : float
        Per residue that lies in full density of a map.
    energy : float
        Per kJ/mol of the force field.
    """

    potential: float = 1.0
    judge: float = 0.0
    clash: float = 0.0
    log_clash: float = 0.0
    unclean: float = 0.0
    outlier_after: float = 0.0
    cis: float = 0.0
    searched: float = 0.0
    density: float = 3.0
    energy: float = 0.0


BREEDING = Weights(log_clash=0.5, outlier_after=5.0)
"""Candidates before guided sampling."""
GUIDING = replace(BREEDING, judge=3.0)
"""Candidates of which the best are guided, and the parents of the last generations."""
SEARCH = Weights(judge=3.0, clash=0.2, outlier_after=5.0, cis=1.0)
"""Candidates after guided sampling, during a search."""
FOUND = replace(SEARCH, judge=0.5)
"""Candidates of a finished search. In 43 searches for loops of 6-16 residues of validation proteins (in sixteen the
side chains around were removed), the first choice is 2.26 A off on average (median 1.59) at 0, 2.30 A (1.20) at 0.5,
2.48 A (1.22) at 1 and 2.47 A (1.19) at 3."""
REFINED = Weights(judge=3.0, clash=0.2, unclean=0.2, cis=1.0, searched=0.1, energy=0.003)
"""Refined models with all their atoms. In 28 of these loops, 4 models each on average, the first is 2.37 A off on
average (median 1.38), 2.55 A at judge=2, 2.46 A at 1 and 2.44 A at 0. Margins between models are in units of this cost.
The larger energy weight prefers the native of 1ubi to a wrong loop. The torsion prior's odds against cis bonds hold
for a refined model as for a candidate; in four loops whose native has cis bonds, six models each, weights from 0 to 2
choose the same model."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Terms of the cost of K candidates or models; each is (K,), and zero where it is not known or does not apply.

    Attributes
    ----------
    potential
        Learned potential of the backbone.
    judge
        Energy of the judge, the network that was pretrained by inverse folding; `geofold.learn.judge`.
    clash
        Cost of overlaps and Ramachandran outliers.
    unclean
        One if a severe overlap or an outlier is left after refinement.
    outlier_after
        One if the residue after the loop is an outlier.
    cis
        Log-odds of the torsion prior against the cis peptide bonds (nat).
    searched
        One if the model was found by a search.
    density
        Minus the density of a map at the atoms, in units of one residue; zero without a map.
    energy
        Energy of the force field (kJ/mol); NaN where it was not evaluated.
    """

    potential: Floats
    judge: Floats
    clash: Floats
    unclean: Floats
    outlier_after: Floats
    cis: Floats
    searched: Floats
    density: Floats
    energy: Floats

    @classmethod
    def of(cls, potential: Floats, **terms: Floats | float) -> Scores:
        """Scores of K candidates from the terms that are known.

        Parameters
        ----------
        potential : (K,)
        **terms : (K,) or float
            Other terms by name.
        """
        shape = np.shape(potential)
        known = {name: np.broadcast_to(np.asarray(value, dtype=float), shape) for name, value in terms.items()}
        defaults = {field.name: np.zeros(shape) for field in fields(cls)} | {"energy": np.full(shape, np.nan)}
        return cls(**defaults | {"potential": np.asarray(potential, dtype=float)} | known)

    def __len__(self) -> int:
        return len(self.potential)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Scores:
        """Scores of some of the candidates, in the given order."""
        return Scores(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def concatenate(parts: Sequence[Scores]) -> Scores:
        """Scores of all candidates of several sets."""
        return Scores(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Scores)))

    def contributions(self, weights: Weights) -> dict[str, Floats]:
        """Weighted terms (K,) by name; `total` is their sum."""
        terms = {field.name: getattr(self, field.name) for field in fields(self)}
        terms["energy"] = finite_energies(self.energy)
        weighted = {name: getattr(weights, name) * term for name, term in terms.items()}
        if weights.log_clash:
            weighted["log_clash"] = weights.log_clash * np.log1p(self.clash)
        return weighted

    def total(self, weights: Weights) -> Floats:
        """Cost (K,) under the given weights; lower is better."""
        return sum_terms(self.contributions(weights))


def sum_terms(terms: dict[str, Floats]) -> Floats:
    """Sum (K,) of weighted terms, always in the same order, so that equal terms give equal bits."""
    total = np.zeros_like(terms["potential"])
    for term in terms.values():
        total = total + term
    return total


def finite_energies(energy: Floats) -> Floats:
    """Energies (K,) that can be compared.

    An infinite energy (coincident atoms) ranks its model last; if every energy that is known is infinite, all are
    ignored. Energies that were not evaluated (NaN) count as zero.
    """
    known = np.isfinite(energy)
    infinite = np.isinf(energy)
    return np.where(known, energy, np.where(infinite & known.any(), COINCIDENT_ENERGY, 0.0))
