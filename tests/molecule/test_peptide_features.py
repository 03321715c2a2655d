"""Features of a peptide by kernels against the plain ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from geofold.kernels.library import library, plain
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.io.read import read
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.features import PeptideFeatures
from geofold.molecule.peptide.state import PeptideGoal
from geofold.resources import find

pytestmark = pytest.mark.skipif(library() is None, reason="no compiler here")
GOALS = ((), ("A:3-A:10<6.0",), ("A:1-A:5<30.0", "A:9@CA-A:2@CA>12.0", "A:4-A:8<5.0", "A:2-A:11>3.0"))


@pytest.mark.parametrize("texts", GOALS, ids=len)
@pytest.mark.parametrize("source, last", [("AEGKTWPNSVQL", 11), ("1yjp.cif", 6), ("CCC", 2)])
def test_the_features_are_the_plain_ones(source: str, last: int, texts: tuple[str, ...]) -> None:
    structure = read(find("structures", source)) if "." in source else peptide(source)
    texts = texts if last == 11 else ()
    domain = PeptideDomain.of(structure, 0, last, cap=0.5)
    domain = replace(domain, features=PeptideFeatures.of(structure, domain.decoder))
    goal = PeptideGoal(tuple(parse_contact(structure, text) for text in texts))
    state, noise = domain.start(structure.xyz, 2), torch.Generator().manual_seed(2)
    with torch.no_grad():
        for _ in range(4):
            fast = domain.observe(state, goal)
            with plain():
                slow = domain.observe(state, goal)
            torch.testing.assert_close(fast, slow, rtol=0, atol=1e-10)
            z = torch.randn(2, domain.latent_dim, generator=noise, dtype=torch.float64)
            state = domain.commit(domain.decode(z, state), state)
        assert torch.equal(domain.observe(state, None)[:, -2:], torch.zeros(2, 2, dtype=torch.float64))
