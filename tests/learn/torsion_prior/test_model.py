"""The torsion prior: its inputs, predictions and samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from geofold.learn.torsion_prior.model import ALPHABET_SIZE, TorsionPrior
from geofold.learn.von_mises import log_density


def prior(**options) -> TorsionPrior:
    return TorsionPrior(width=16, components=3, ahead=8, **options).double()


def chain(length: int = 20, rows: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    noise = torch.Generator().manual_seed(seed)
    letters = torch.randint(ALPHABET_SIZE, (length, rows), generator=noise)
    torsions = (torch.rand(length, rows, 3, generator=noise, dtype=torch.float64) - 0.5) * 2 * math.pi
    torsions[..., 2] = math.pi
    torsions[0, :, [0, 2]] = torch.nan
    torsions[-1, :, 1] = torch.nan
    return letters, torsions


@torch.no_grad()
def test_torsions_to_come_are_not_seen_and_letters_are() -> None:
    model = prior()
    letters, torsions = chain()
    prediction = model.predict(letters, torsions)
    later = torsions.clone()
    later[8:] += 0.5
    difference = (model.predict(letters, later).odds - prediction.odds).abs().amax(1)
    # a convolution by FFT spreads its rounding over all steps
    assert float(difference[:9].max()) < 1e-12, "a residue depends on itself or on later torsions"
    assert float(difference[9:].max()) > 1e-6
    changed_letters = letters.clone()
    changed_letters[15] = (changed_letters[15] + 1) % ALPHABET_SIZE
    changed = ((model.predict(changed_letters, torsions).odds - prediction.odds).abs() > 1e-10).any(1)
    assert bool(changed[:16].all()), "the sequence after a residue has no effect"


@torch.no_grad()
def test_streaming_says_what_the_scan_says() -> None:
    model = prior()
    letters, _ = chain()
    drawn = torch.stack(list(model.stream_sample(letters, np.random.default_rng(0))))
    prediction = model.predict(letters, drawn)
    context, state = model.context(letters), model.stream.init_state(2)
    from geofold.learn.torsion_prior.model import encode_previous

    before = torch.full((2, 3), torch.nan, dtype=torch.float64)
    for t in range(len(letters)):
        z, state = model.stream.step(torch.cat([context[t], encode_previous(before)], -1), state)
        torch.testing.assert_close(model.read(z).odds, prediction.odds[t], rtol=1e-9, atol=1e-9)
        before = drawn[t]


@torch.no_grad()
def test_likelihood_is_that_of_the_mixtures() -> None:
    model = prior()
    letters, torsions = chain()
    torsions[5, 0, 2] = 0.1
    torsion, turn = model.log_likelihood(letters, torsions)
    prediction = model.predict(letters, torsions)
    assert float(torsion[0].abs().max()) == float(torsion[-1].abs().max()) == float(turn[0].abs().max()) == 0.0
    expected = log_density(type(prediction.cis)(*(part[5, 0] for part in prediction.cis)), torsions[5, 0, :2])
    assert float(torsion[5, 0]) == pytest.approx(float(expected))
    assert float(turn[5, 0]) == pytest.approx(math.log(torch.sigmoid(prediction.odds[5, 0])))
    assert float(turn[5, 1]) == pytest.approx(math.log(1 - torch.sigmoid(prediction.odds[5, 1])))


def test_gradients_reach_every_weight() -> None:
    model = prior()
    letters, torsions = chain()
    torsions[5:9, :, 2] = 0.1
    sum(part.sum() for part in model.log_likelihood(letters, torsions)).backward()  # type: ignore[union-attr]
    missing = [name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.isfinite().all())]
    # nothing corrects the latent in training: the innovations have no say
    assert all("innovation" in name for name in missing)


def test_it_learns_a_rule_of_the_sequence() -> None:
    """Letters of one kind stand at one place of the map, the others at another; a few steps tell them apart."""
    model = TorsionPrior(width=16, components=2, ahead=8)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    noise = torch.Generator().manual_seed(0)
    found = []
    for _ in range(100):
        letters = torch.randint(ALPHABET_SIZE, (24, 8), generator=noise)
        place = torch.where(letters[..., None] < 10, torch.tensor([-1.1, -0.7]), torch.tensor([-2.1, 2.3]))
        angles = place + 0.1 * torch.randn(place.shape, generator=noise)
        torsions = torch.cat([angles, torch.full((*letters.shape, 1), math.pi)], -1)
        loss = -model.log_likelihood(letters, torsions)[0].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(float(loss.detach()))
    assert found[-1] < 0.0 < found[0] - 1.0


def test_same_seed_same_draw() -> None:
    model = prior()
    letters, _ = chain()
    one, changed_letters = (torch.stack(list(model.stream_sample(letters, np.random.default_rng(1)))) for _ in range(2))
    assert torch.equal(one, changed_letters) and bool(one.isfinite().all())
