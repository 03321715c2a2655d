"""Rival policies stand where the peptide policy does: trained and run by the same lines, blind to pose and padding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from geofold.bench.peptide.agents.greedy_mlp import GreedyMlp
from geofold.bench.peptide.agents.memoryless import Memoryless
from geofold.core.backbone import take_rows
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate
from geofold.core.pullback import Pullback
from geofold.core.trust_region import TrustRegion
from geofold.learn.loop_denoiser.model import LATENT
from geofold.learn.peptide_policy.features import FEATURE_COUNT, TORSIONS
from geofold.learn.peptide_policy.model import PeptidePolicy
from geofold.learn.peptide_policy.training import Demonstration, imitation_loss, scan_latents, stack_demonstrations
from geofold.molecule.datasets.peptide_demonstrations import build_peptide
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.peptide.domain import PeptideGoal
from geofold.molecule.peptide.predictor import PeptidePredictor, PeptideSense

RIVALS = ("greedy", "se3")
SMALL: dict[str, dict[str, int]] = {"greedy": {"width": 32}, "se3": {"channels": 16}}
SEQUENCE, WANTED = "GSWTPENGKW", "A:3-A:9<6.0"


def made(name: str, **options) -> nn.Module:
    if name == "greedy":
        return GreedyMlp(**options)
    pytest.importorskip("e3nn")
    from geofold.bench.peptide.agents.se3_transformer import Se3Policy

    return Se3Policy(**options)


def turned(generator: torch.Generator, *shape: int) -> Tensor:
    """Rotations (..., 3, 3)."""
    q = torch.linalg.qr(torch.randn(*shape, 3, 3, generator=generator, dtype=torch.float64))[0]
    return q * q.det().sign()[..., None, None]


def toy(*shape: int, seed: int = 0) -> Demonstration:
    """Chains (..., L) that nobody folded, and turns that their features tell."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(*shape, FEATURE_COUNT, generator=generator, dtype=torch.float64)
    ca = (0.3 * torch.randn(*shape, 3, generator=generator, dtype=torch.float64)).cumsum(-2)
    return Demonstration(
        features, torch.cat([ca, turned(generator, *shape).flatten(-2)], -1), 0.3 * features[..., :TORSIONS]
    )


def test_turning_and_shifting_a_peptide_changes_no_latent_and_turns_its_vectors() -> None:
    policy = made("se3").double()
    _, pose, _ = lesson = toy(3, 9)
    turn = turned(torch.Generator().manual_seed(1))
    axes = pose[..., 3:].unflatten(-1, (3, 3)) @ turn.mT
    moved = torch.cat([pose[..., :3] @ turn.mT + torch.tensor([1.0, -2.0, 0.5]), axes.flatten(-2)], -1)
    with torch.no_grad():
        one, other = (policy.embed(lesson.features, at) for at in (pose, moved))
        mine, theirs = (policy.typed(lesson.features, at) for at in (pose, moved))
    torch.testing.assert_close(one, other, atol=1e-9, rtol=0)
    torch.testing.assert_close(theirs[..., :1, :], mine[..., :1, :], atol=1e-9, rtol=0)
    torch.testing.assert_close(theirs[..., 1:, :], turn @ mine[..., 1:, :], atol=1e-9, rtol=0)
    assert (theirs - mine)[..., 1:, :].abs().max() > 0.1, "there are vectors"


def test_the_kernels_are_those_of_the_paper() -> None:
    """Every path from a type to a type once, none of them zero, and none a mix of others."""
    pytest.importorskip("e3nn")
    from geofold.bench.peptide.agents.se3_transformer import paths

    flat = paths().flatten(1)
    assert len(flat) == 6 and int(torch.linalg.matrix_rank(flat)) == 6
    gram = flat @ flat.mT
    torch.testing.assert_close(gram, gram.diagonal().diag())


def test_residues_hear_one_another_or_do_not() -> None:
    lesson = toy(1, 8)
    farther = lesson.pose.clone()
    farther[..., -1, :3] += 0.4
    heard = {}
    for name in RIVALS:
        policy = made(name).double()
        with torch.no_grad():
            change = policy.embed(lesson.features, farther) - policy.embed(lesson.features, lesson.pose)
        heard[name] = change[0, :-1].abs().amax(-1)
    assert not heard["greedy"].any() and bool((heard["se3"] > 1e-6).all())


@pytest.mark.parametrize("name", RIVALS)
def test_residues_that_are_not_there_change_nothing(name: str) -> None:
    policy, (short, long) = made(name).double(), (toy(4, 6, seed=2), toy(4, 9, seed=3))
    with torch.no_grad():
        alone, beside = (
            scan_latents(policy, stack_demonstrations([short])),
            scan_latents(policy, stack_demonstrations([short, long])),
        )
    torch.testing.assert_close(beside[:, :1, :6], alone, atol=1e-12, rtol=0)
    nobody = policy.embed(torch.zeros(1, 3, FEATURE_COUNT).double(), torch.zeros(1, 3, 12).double())
    assert bool(nobody.isfinite().all())


@pytest.mark.parametrize("name", RIVALS)
def test_scan_equals_step_after_step(name: str) -> None:
    policy, lesson = made(name, **SMALL[name]).double(), stack_demonstrations([toy(5, 8), toy(5, 8, seed=1)])
    with torch.no_grad():
        whole, state = scan_latents(policy, lesson), policy.stream.init_state(16)
        for t in range(5):
            enters = policy.embed(lesson.features[t], lesson.pose[t])
            z, state = policy.stream.step(enters.flatten(0, 1), state)
            torch.testing.assert_close(z.unflatten(0, (2, 8)), whole[t], atol=1e-12, rtol=0)
    assert z.shape[-1] == LATENT


def test_no_memory_has_rows_to_take() -> None:
    state = Memoryless().init_state(4)
    assert take_rows(state, torch.tensor([0, 2])) == state


@pytest.mark.parametrize("name", RIVALS)
def test_every_parameter_learns(name: str) -> None:
    policy = made(name, **SMALL[name])
    lesson = Demonstration(*(part.float() for part in stack_demonstrations([toy(4, 8), toy(4, 6, seed=1)])))
    optimiser = torch.optim.Adam(policy.parameters(), lr=3e-3)
    losses = []
    for number in range(12):
        optimiser.zero_grad()
        loss = imitation_loss(policy, lesson)
        loss.backward()
        if number == 0:
            still = [key for key, p in policy.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
            assert not still
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.05


@pytest.mark.parametrize("name", RIVALS)
def test_rivals_are_of_the_policys_size_and_begin_as_they_are_told(name: str) -> None:
    before = torch.random.get_rng_state()
    one, same, other = made(name, seed=1), made(name, seed=1), made(name, seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one.enter.weight, same.enter.weight) and not torch.equal(one.enter.weight, other.enter.weight)
    size, usual = (sum(p.numel() for p in policy.parameters()) for policy in (one, PeptidePolicy()))
    assert 0.5 < size / usual < 2.0
    again = made(name, **one.options)
    assert again.load_state_dict(one.state_dict()) and again.temperature == 1.0


@pytest.mark.parametrize("name", RIVALS)
def test_rivals_lead_a_peptide_in_the_controller(name: str) -> None:
    structure, domain = build_peptide(SEQUENCE)
    sense = PeptideSense.of(structure, domain.fold)
    domain = replace(domain, sense=sense)
    controller = Controller(
        backbone=PeptidePredictor(made(name).eval(), sense.turns), metric=Pullback(),
        trust_region=TrustRegion(largest=2.0), gate=FixedGate(0), horizon=1,
    )  # fmt: skip
    goal, led = PeptideGoal((parse_contact(structure, WANTED),)), set(sense.turns[sense.turns >= 0].tolist())
    state = controller.init(domain, domain.start(structure.xyz))
    for _ in range(3):
        state, info = controller.step(domain, state, goal)
        moved = set(info.z[0].nonzero()[:, 0].tolist())
        assert moved and moved <= led and bool(info.z.isfinite().all())
