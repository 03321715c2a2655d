"""Observations of the ablation: derivatives against automatic differentiation, loss and gradient against the domain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from geofold.bench.peptide.observation_spaces import ALL_OBSERVATIONS, DISTANCES, SPACES, TORSIONS, ObservedPeptide
from geofold.core.linearise import differentiate
from geofold.modelling.options import TORSION_CAP
from geofold.modelling.peptide.streaming import goal_of
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.features import PeptideFeatures

STRUCTURE = peptide("AEPKTWYN")


def domain() -> PeptideDomain:
    made = PeptideDomain.of(STRUCTURE, 0, len(STRUCTURE.residues) - 1, cap=TORSION_CAP)
    return replace(made, features=PeptideFeatures.of(STRUCTURE, made.decoder))


def latent(on: PeptideDomain, seed: int, scale: float = 0.05) -> torch.Tensor:
    return scale * torch.as_tensor(np.random.default_rng(seed).standard_normal((1, on.latent_dim)))


@pytest.mark.parametrize("space", SPACES)
def test_derivatives_agree_with_differentiation(space: str) -> None:
    observed = ObservedPeptide.observing(domain(), space)
    state = observed.start(STRUCTURE.xyz)
    z, v = latent(observed, 1), latent(observed, 2, 1.0)
    analytic, numeric = observed.expand(z, state), differentiate(observed, z, state)
    cotangent = torch.as_tensor(np.random.default_rng(3).standard_normal((1, 1, len(observed.observation_weight))))
    weight = observed.observation_weight.expand(1, -1)
    for expected, actual in (
        (analytic.prediction.mean, numeric.prediction.mean),
        (analytic.push(v[None]), numeric.push(v[None])),
        (analytic.pull(cotangent), numeric.pull(cotangent)),
        (analytic.bend(v), numeric.bend(v)),
        (analytic.gram(weight), numeric.gram(weight)),
    ):
        torch.testing.assert_close(expected, actual, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("space", SPACES)
def test_loss_and_gradient_are_those_of_the_domain(space: str) -> None:
    base = domain()
    observed = ObservedPeptide.observing(base, space)
    state, goal = base.start(STRUCTURE.xyz), goal_of((parse_contact(STRUCTURE, "A:1-A:6<6.0"),))
    z = latent(base, 4)
    expected, actual = (
        base.loss_and_gradient(base.decode(z, state), state, goal),
        observed.loss_and_gradient(observed.decode(z, state), state, goal),
    )
    torch.testing.assert_close(expected.loss.total, actual.loss.total)
    slope, observation_weight = expected.gradient(), actual.gradient()
    torch.testing.assert_close(slope, observation_weight[:, : slope.shape[1]])
    assert not observation_weight[:, slope.shape[1] :].any()
    torch.testing.assert_close(observed.loss(observed.decode(z, state), state, goal).total, expected.loss.total)
    torch.testing.assert_close(
        observed.commit(observed.decode(z, state), state).conformation.xyz,
        base.commit(base.decode(z, state), state).conformation.xyz,
    )


def test_observation_weights_of_each_space() -> None:
    base, n = domain(), len(domain().tree)
    count = len(base.decoder.weight)
    torsions, distances, complete = (
        ObservedPeptide.observing(base, space) for space in (TORSIONS, DISTANCES, ALL_OBSERVATIONS)
    )
    assert not torsions.observation_weight[n:].any() and len(torsions.observation_weight) == count
    assert not distances.observation_weight[n:count].any() and (distances.observation_weight[count:] > 0).all()
    torch.testing.assert_close(complete.observation_weight[:count], base.decoder.weight)
    # distances together weigh as one coordinate of all positions
    assert float(complete.observation_weight[count:].sum()) == pytest.approx(float(base.decoder.weight[n:].sum()) / 3)


def test_unknown_spaces_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one of"):
        ObservedPeptide.observing(domain(), "angles")
    with pytest.raises(ValueError, match="features"):
        ObservedPeptide.observing(replace(domain(), features=None), TORSIONS)
