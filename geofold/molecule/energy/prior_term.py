"""The torsion prior as a term of a loss: what a stretch's phi and psi cost, given its sequence and what stands before.

Glossary: ``B`` rows, ``n`` torsions, ``R`` residues with phi and psi, ``S`` residues from the start of the look-back to
the end of the look-ahead.

The mixtures of a residue follow from the torsions before it. They are read by the stream once and held until they are
read again, so that between two readings the term is a sum over residues with a gradient in closed form by automatic
differentiation of the mixtures alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geofold.learn.data.chains import AMINO_ACIDS
from geofold.learn.torsion_prior.model import TorsionPrior
from geofold.learn.von_mises import Mixture, log_density
from geofold.molecule.energy.ramachandran_term import BackboneAngles
from geofold.molecule.sidechains.packing import backbone_torsions
from geofold.molecule.sidechains.rotamer_library import SAME_AS, letter_of
from geofold.molecule.structure import Structure

CONTEXT = 16
"""Residues that are read on either side of the stretch."""


def letters_of(structure: Structure, first: int, last: int) -> Tensor:
    """Letters (T, 1) of residues as the prior counts them; what is no amino acid it knows has a number of its own."""
    names = [structure.residues[k].resname for k in range(first, last + 1)]
    found = [AMINO_ACIDS.find(letter_of(SAME_AS.get(name, name))) for name in names]
    return torch.tensor([[k if k >= 0 else len(AMINO_ACIDS)] for k in found])


@dataclass(frozen=True)
class PriorTerm:
    """Negative log-likelihood of a stretch under a torsion prior.

    Attributes
    ----------
    prior
    angles
        Of the stretch.
    letters : (S, 1)
    torsions : (S, 3)
        phi, psi and omega of the input.
    place : (R,) int
        Rows of `torsions` that `angles` speaks of.
    """

    prior: TorsionPrior
    angles: BackboneAngles
    letters: Tensor
    torsions: Tensor
    place: Tensor

    @classmethod
    def of(cls, structure: Structure, first: int, last: int, angles: BackboneAngles, prior: TorsionPrior) -> PriorTerm:
        """Term of residues `first` to `last` of a structure."""
        begin, end = first, last
        while begin > max(first - CONTEXT, 0) and structure.bonded(begin - 1, begin):
            begin -= 1
        most = min(last + CONTEXT, len(structure.residues) - 1)
        while end < most and structure.bonded(end, end + 1):
            end += 1
        weight = prior.stream.enter.weight
        torsions = torch.as_tensor(backbone_torsions(structure)[begin : end + 1, :3]).to(weight)
        return cls(
            prior, angles, letters_of(structure, begin, end).to(weight.device), torsions,
            (angles.residue + first - begin).to(weight.device),
        )  # fmt: skip

    @torch.no_grad()
    def read(self, angle: Tensor) -> Mixture:
        """Mixtures (B, R, K) of the residues after total increments (B, n)."""
        phi, psi = self.angles.at(angle)
        torsions = self.torsions[:, None].repeat(1, len(angle), 1)
        torsions[self.place, :, 0], torsions[self.place, :, 1] = phi.mT.to(torsions), psi.mT.to(torsions)
        said = self.prior.predict(self.letters.expand(-1, len(angle)), torsions)
        is_cis = (self.torsions[self.place, 2].abs() < torch.pi / 2)[:, None]
        parts = []
        for trans, cis in zip(said.trans, said.cis, strict=True):
            wide = is_cis.reshape(-1, *[1] * (trans.dim() - 1))
            parts.append(torch.where(wide, cis[self.place], trans[self.place]).transpose(0, 1).to(angle))
        return Mixture(*parts)

    def cost(self, angle: Tensor, mixtures: Mixture) -> Tensor:
        """Negative log-likelihood (B, R), nat, after total increments (B, n); differentiable in them."""
        return -log_density(mixtures, torch.stack(self.angles.at(angle), -1))
