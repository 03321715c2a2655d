"""Candidates of a loop: the environment is embedded once, and that changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from app_cases import STRUCTURES

from geofold.kernels.library import library, plain
from geofold.learn.data.chains import AMINO_ACIDS
from geofold.learn.judge import scoring
from geofold.learn.judge.compiled import is_compiled
from geofold.learn.judge.crops import Crops
from geofold.learn.judge.encoder import InverseFolding
from geofold.learn.judge.pretraining import predict_task
from geofold.learn.judge.scoring import embed_surroundings
from geofold.learn.judge.task import make_task
from geofold.learn.loop_score.features import LoopEnvironment
from geofold.molecule.energy.loop_score_input import make_loop_environment
from geofold.molecule.io.read import read

FIRST, LENGTH = 44, 9
OWN = slice(FIRST, FIRST + LENGTH)


@pytest.fixture(scope="module")
def network() -> InverseFolding:
    return InverseFolding(width=24, message=16, seed=1).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def around() -> LoopEnvironment:
    structure = read(STRUCTURES / "1ubi.pdb")
    return make_loop_environment(structure, FIRST, FIRST + LENGTH - 1, structure.conformer_mask)


@pytest.fixture(scope="module")
def candidates(around: LoopEnvironment) -> torch.Tensor:
    """The native loop shifted about."""
    noise = torch.Generator().manual_seed(0)
    shift = torch.randn(70, 1, 1, 3, generator=noise) + 0.2 * torch.randn(70, LENGTH, 4, 3, generator=noise)
    return around.xyz[OWN] + shift


def crops_of(around: LoopEnvironment, candidate: torch.Tensor) -> Crops:
    """The protein with a candidate in place as one crop, as in training."""
    xyz, masked = around.xyz.clone(), torch.zeros(len(around.letters), dtype=torch.bool)
    xyz[OWN], masked[OWN] = candidate, True
    return Crops(xyz, around.letters, around.letters, masked, (len(xyz),))


@pytest.mark.parametrize("neighbours", [32, 100])
def test_the_environment_once_equals_the_full_computation(
    around: LoopEnvironment, candidates: torch.Tensor, neighbours: int
) -> None:
    network = InverseFolding(width=24, message=16, neighbours=neighbours, seed=1).eval().requires_grad_(False)
    predictions = embed_surroundings(network, around).predict(candidates[:5])
    for k in range(5):
        full = predict_task(network, make_task(crops_of(around, candidates[k]), network.neighbours))
        torch.testing.assert_close(predictions.structure[k], full.structure, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(predictions.conditional[k], full.conditional, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(predictions.rank[k], full.rank, rtol=1e-4, atol=1e-5)


def test_scores_are_log_likelihoods_of_the_loops_own_letters(
    network: InverseFolding, around: LoopEnvironment, candidates: torch.Tensor
) -> None:
    place = embed_surroundings(network, around)
    scores = place.score(candidates)
    assert scores.shape == (70, LENGTH) and bool((scores < 0).all())
    for k in (0, 69):
        logs = place.predict(candidates[k : k + 1]).conditional[0].log_softmax(-1)
        own = torch.stack([logs[i, int(letter)] for i, letter in enumerate(around.letters[OWN])])
        torch.testing.assert_close(scores[k], own, rtol=1e-4, atol=1e-5)


def test_a_candidate_in_a_batch_is_scored_as_by_itself(
    network: InverseFolding, around: LoopEnvironment, candidates: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = embed_surroundings(network, around)
    together = place.score(candidates)
    torch.testing.assert_close(place.score(candidates[33:34])[0], together[33], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(place.score(candidates.flip(0)).flip(0), together, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(scoring, "MAX_BATCH_RESIDUES", 1)
    torch.testing.assert_close(place.score(candidates[:4]), together[:4], rtol=1e-4, atol=1e-5)


def test_scores_do_not_change_when_all_is_moved_as_a_rigid_body_but_do_in_the_mirror(
    network: InverseFolding, around: LoopEnvironment, candidates: torch.Tensor
) -> None:
    exact = InverseFolding(width=24, message=16, seed=1).double().eval().requires_grad_(False)
    axis = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64))[0]
    turn = axis * torch.linalg.det(axis)

    def scores(matrix: torch.Tensor, shift: float) -> torch.Tensor:
        moved = replace(around, xyz=around.xyz.double() @ matrix.T + shift)
        return embed_surroundings(exact, moved).score(candidates[:6].double() @ matrix.T + shift)

    still = scores(torch.eye(3, dtype=torch.float64), 0.0)
    torch.testing.assert_close(scores(turn, 17.0), still, rtol=1e-6, atol=1e-6)
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    assert not torch.allclose(scores(mirror, 0.0), still, atol=1e-3)


def test_the_loop_in_its_surroundings_is_not_looked_at(
    network: InverseFolding, around: LoopEnvironment, candidates: torch.Tensor
) -> None:
    xyz = around.xyz.clone()
    xyz[OWN] += 50.0
    away = embed_surroundings(network, replace(around, xyz=xyz))
    assert torch.equal(away.score(candidates[:3]), embed_surroundings(network, around).score(candidates[:3]))


@pytest.mark.parametrize("residue", [0, 4, LENGTH - 1])
def test_a_residues_logits_do_not_depend_on_its_own_letter(
    network: InverseFolding, around: LoopEnvironment, candidates: torch.Tensor, residue: int
) -> None:
    letters = around.letters.clone()
    letters[FIRST + residue] = (letters[FIRST + residue] + 7) % len(AMINO_ACIDS)
    native, mutant = (
        embed_surroundings(network, a).predict(candidates[:2]) for a in (around, replace(around, letters=letters))
    )
    assert torch.equal(native.structure, mutant.structure), "the first step knows no letter of the loop"
    assert torch.equal(native.conditional[:, residue], mutant.conditional[:, residue])
    others = torch.arange(LENGTH) != residue
    assert not torch.equal(native.conditional[:, others], mutant.conditional[:, others]), "neighbours know it"
    assert not torch.equal(native.rank[:, residue], mutant.rank[:, residue]), "the ranking score knows all letters"


def test_letters_of_the_environment_matter(
    network: InverseFolding, around: LoopEnvironment, candidates: torch.Tensor
) -> None:
    letters = around.letters.clone()
    letters[FIRST + LENGTH + 1] = (letters[FIRST + LENGTH + 1] + 7) % len(AMINO_ACIDS)
    native, mutant = (
        embed_surroundings(network, a).predict(candidates[:2]) for a in (around, replace(around, letters=letters))
    )
    assert not torch.equal(native.structure, mutant.structure)


def test_scores_have_gradients_with_respect_to_candidates(
    network: InverseFolding, around: LoopEnvironment, candidates: torch.Tensor
) -> None:
    exact = InverseFolding(width=24, message=16, seed=1).double().eval().requires_grad_(False)
    place = embed_surroundings(exact, replace(around, xyz=around.xyz.double()))
    given = candidates[:1].double().requires_grad_()
    place.predict(given).conditional.log_softmax(-1)[..., 3].sum().backward()
    assert given.grad is not None
    step = 1e-5 * given.grad / given.grad.norm()
    with torch.no_grad():
        up, down = (
            float(place.predict(candidates[:1].double() + s).conditional.log_softmax(-1)[..., 3].sum())
            for s in (step, -step)
        )  # fmt: skip
    assert (up - down) / 2e-5 == pytest.approx(float(given.grad.norm()), rel=1e-3)


@pytest.mark.skipif(library() is None, reason="no compiler here")
@pytest.mark.parametrize("width, message, rounds, neighbours", [(128, 64, 3, 32), (32, 16, 1, 100)])
def test_energies_by_the_kernel_are_those_of_the_network(
    around: LoopEnvironment, candidates: torch.Tensor, width: int, message: int, rounds: int, neighbours: int
) -> None:
    options = {"width": width, "message": message, "rounds": rounds, "neighbours": neighbours}
    network = InverseFolding(seed=4, **options).double().eval().requires_grad_(False)
    number = around.number + 1000 * (torch.arange(len(around.number)) > 60)  # a second chain
    apart = replace(around, xyz=around.xyz.double(), number=number)
    judge = embed_surroundings(network, apart)
    fast = judge.energy(candidates[:12].double())
    with plain():
        slow = judge.energy(candidates[:12].double())
    assert float(slow.std()) > 1e-3
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)
    single = embed_surroundings(network.float(), apart)
    energies = single.energy(candidates[:12])
    torch.testing.assert_close(energies.double(), slow, rtol=1e-3, atol=1e-4)
    assert torch.equal(energies[3:4], single.energy(candidates[3:4])), "a row of a batch is the row alone"


def test_a_network_that_the_kernel_does_not_serve_is_evaluated_plainly(
    around: LoopEnvironment, candidates: torch.Tensor, network: InverseFolding
) -> None:
    judge = embed_surroundings(network, around)
    torch.testing.assert_close(judge.energy(candidates[:2]), judge.predict(candidates[:2]).rank.sum(-1))
    with torch.no_grad():
        assert not is_compiled(network), "24 channels"
        assert not is_compiled(InverseFolding(seed=1).train())
