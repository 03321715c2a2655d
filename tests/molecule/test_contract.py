"""Peptide and loop keep the contract that `check_domain` holds."""

from __future__ import annotations

import pytest
import torch

from geofold.core.checks import check_domain
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.io.read import read
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.state import LoopGoal
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.state import PeptideGoal
from geofold.resources import find


def small_latent(domain, batch: int) -> torch.Tensor:
    """Inside the cap: beyond it the decoder has a kink where the largest torsion changes."""
    noise = torch.Generator().manual_seed(2)
    return 0.02 * torch.randn(batch, domain.latent_dim, generator=noise, dtype=torch.float64)


@pytest.mark.parametrize("batch", [1, 3])
def test_peptide(batch):
    structure = peptide("AEGKTWYNSV")
    domain = PeptideDomain.of(structure, 0, 9)
    goal = PeptideGoal((parse_contact(structure, "A:2-A:9<6.0"),))
    check_domain(domain, domain.start(structure.xyz, batch), goal, latent=small_latent(domain, batch))


@pytest.mark.parametrize("batch", [1, 3])
def test_loop(batch):
    structure = read(find("structures", "1ubi_bent.pdb"))
    domain = LoopDomain.of(structure, 44, 55)
    check_domain(domain, domain.start(structure.xyz, batch), LoopGoal(), latent=small_latent(domain, batch))
