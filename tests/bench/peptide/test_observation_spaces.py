"""Observations of the ablation: derivatives against finite differences, and the domain's own where nothing is added."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from geofold.bench.peptide.observation_spaces import DISTANCES, EVERYTHING, SPACES, TORSIONS, ObservedPeptide
from geofold.core.linearise import differentiate
from geofold.modelling.options import TORSION_CAP
from geofold.modelling.peptide.streaming import goal_of
from geofold.molecule.ideal_peptide import peptide
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.predictor import PeptideSense

STRUCTURE = peptide("AEPKTWYN")


def domain() -> PeptideDomain:
    made = PeptideDomain.of(STRUCTURE, 0, len(STRUCTURE.residues) - 1, cap=TORSION_CAP)
    return replace(made, sense=PeptideSense.of(STRUCTURE, made.fold))


def latent(of: PeptideDomain, seed: int, scale: float = 0.05) -> torch.Tensor:
    return scale * torch.as_tensor(np.random.default_rng(seed).standard_normal((1, of.latent_dim)))


@pytest.mark.parametrize("space", SPACES)
def test_derivatives_agree_with_differentiation(space: str) -> None:
    seen = ObservedPeptide.through(domain(), space)
    state = seen.start(STRUCTURE.xyz)
    z, v = latent(seen, 1), latent(seen, 2, 1.0)
    closed, other = seen.expand(z, state), differentiate(seen, z, state)
    cotangent = torch.as_tensor(np.random.default_rng(3).standard_normal((1, 1, len(seen.wide))))
    weight = seen.wide.expand(1, -1)
    for one, two in (
        (closed.prediction.mean, other.prediction.mean), (closed.push(v[None]), other.push(v[None])),
        (closed.pull(cotangent), other.pull(cotangent)), (closed.bend(v), other.bend(v)),
        (closed.gram(weight), other.gram(weight)),
    ):  # fmt: skip
        torch.testing.assert_close(one, two, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("space", SPACES)
def test_loss_and_slope_are_the_domains(space: str) -> None:
    own = domain()
    seen = ObservedPeptide.through(own, space)
    state, goal = own.start(STRUCTURE.xyz), goal_of((parse_contact(STRUCTURE, "A:1-A:6<6.0"),))
    z = latent(own, 4)
    one = own.loss_and_gradient(own.decode(z, state), state, goal)
    two = seen.loss_and_gradient(seen.decode(z, state), state, goal)
    torch.testing.assert_close(one.loss.total, two.loss.total)
    slope, wide = one.gradient(), two.gradient()
    torch.testing.assert_close(slope, wide[:, : slope.shape[1]])
    assert not wide[:, slope.shape[1] :].any()
    torch.testing.assert_close(seen.loss(seen.decode(z, state), state, goal).total, one.loss.total)
    torch.testing.assert_close(
        seen.commit(seen.decode(z, state), state).fold.xyz, own.commit(own.decode(z, state), state).fold.xyz
    )


def test_what_is_weighed() -> None:
    own, n = domain(), len(domain().tree)
    count = len(own.fold.weight)
    torsions, distances, everything = (
        ObservedPeptide.through(own, space) for space in (TORSIONS, DISTANCES, EVERYTHING)
    )
    assert not torsions.wide[n:].any() and len(torsions.wide) == count
    assert not distances.wide[n:count].any() and (distances.wide[count:] > 0).all()
    torch.testing.assert_close(everything.wide[:count], own.fold.weight)
    # distances together weigh as one coordinate of all positions
    assert float(everything.wide[count:].sum()) == pytest.approx(float(own.fold.weight[n:].sum()) / 3)


def test_other_names_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one of"):
        ObservedPeptide.through(domain(), "angles")
    with pytest.raises(ValueError, match="sense"):
        ObservedPeptide.through(replace(domain(), sense=None), TORSIONS)
