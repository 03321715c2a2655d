"""The loss of a peptide as one compiled kernel."""

from __future__ import annotations

import torch

from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.state import PeptideGoal


def test_compiled_loss_is_the_eager_one() -> None:
    structure = peptide("AEGKTW")
    domain = PeptideDomain.of(structure, 0, 5, cap=3.0)
    fused = domain.compiled()
    noise = torch.Generator().manual_seed(0)
    state = domain.start(structure.xyz, 2)
    for text in ("A:1-A:6<6.0", "A:2-A:5>8.0"):
        goal = PeptideGoal((parse_contact(structure, text),), contact=3.0)
        z = torch.randn(2, domain.latent_dim, generator=noise, dtype=torch.float64)
        prediction = domain.decode(z, state)
        one, other = domain.loss_and_gradient(prediction, state, goal), fused.loss_and_gradient(prediction, state, goal)
        torch.testing.assert_close(other.loss.total, one.loss.total, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(other.loss.violation, one.loss.violation, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(other.gradient(), one.gradient(), rtol=1e-10, atol=1e-10)
        assert float(one.loss.terms["sterics"].max()) > 0, "the problem has no overlap to compare"
