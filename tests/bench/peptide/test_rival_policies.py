"""Rival policies replace the peptide policy: the same training and streaming, symmetries, and padding."""

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
from geofold.molecule.peptide.features import PeptideFeatures
from geofold.molecule.peptide.predictor import PeptidePredictor
from geofold.molecule.peptide.state import PeptideGoal

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
    """Random chains (..., L) with targets that depend on their features."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(*shape, FEATURE_COUNT, generator=generator, dtype=torch.float64)
    ca = (0.3 * torch.randn(*shape, 3, generator=generator, dtype=torch.float64)).cumsum(-2)
    return Demonstration(
        features, torch.cat([ca, turned(generator, *shape).flatten(-2)], -1), 0.3 * features[..., :TORSIONS]
    )


def test_latents_are_invariant_and_vectors_equivariant() -> None:
    policy = made("se3").double()
    _, pose, _ = lesson = toy(3, 9)
    turn = turned(torch.Generator().manual_seed(1))
    axes = pose[..., 3:].unflatten(-1, (3, 3)) @ turn.mT
    moved = torch.cat([pose[..., :3] @ turn.mT + torch.tensor([1.0, -2.0, 0.5]), axes.flatten(-2)], -1)
    with torch.no_grad():
        first, second = (policy.embed(lesson.features, at) for at in (pose, moved))
        mine, theirs = (policy.equivariant_features(lesson.features, at) for at in (pose, moved))
    torch.testing.assert_close(first, second, atol=1e-9, rtol=0)
    torch.testing.assert_close(theirs[..., :1, :], mine[..., :1, :], atol=1e-9, rtol=0)
    torch.testing.assert_close(theirs[..., 1:, :], turn @ mine[..., 1:, :], atol=1e-9, rtol=0)
    assert (theirs - mine)[..., 1:, :].abs().max() > 0.1, "there are vectors"


def test_the_kernels_are_those_of_the_paper() -> None:
    """Every coupling of two types occurs once, is not zero, and is independent of the others."""
    pytest.importorskip("e3nn")
    from geofold.bench.peptide.agents.se3_transformer import coupling_paths

    flat = coupling_paths().flatten(1)
    assert len(flat) == 6 and int(torch.linalg.matrix_rank(flat)) == 6
    gram = flat @ flat.mT
    torch.testing.assert_close(gram, gram.diagonal().diag())


def test_only_attention_reaches_other_residues() -> None:
    lesson = toy(1, 8)
    moved_pose = lesson.pose.clone()
    moved_pose[..., -1, :3] += 0.4
    response = {}
    for name in RIVALS:
        policy = made(name).double()
        with torch.no_grad():
            change = policy.embed(lesson.features, moved_pose) - policy.embed(lesson.features, lesson.pose)
        response[name] = change[0, :-1].abs().amax(-1)
    assert not response["greedy"].any() and bool((response["se3"] > 1e-6).all())


@pytest.mark.parametrize("name", RIVALS)
def test_padding_changes_nothing(name: str) -> None:
    policy, (short, long) = made(name).double(), (toy(4, 6, seed=2), toy(4, 9, seed=3))
    with torch.no_grad():
        alone, padded = (
            scan_latents(policy, stack_demonstrations([short])),
            scan_latents(policy, stack_demonstrations([short, long])),
        )
    torch.testing.assert_close(padded[:, :1, :6], alone, atol=1e-12, rtol=0)
    padding = policy.embed(torch.zeros(1, 3, FEATURE_COUNT).double(), torch.zeros(1, 3, 12).double())
    assert bool(padding.isfinite().all())


@pytest.mark.parametrize("name", RIVALS)
def test_scan_equals_step_after_step(name: str) -> None:
    policy, lesson = made(name, **SMALL[name]).double(), stack_demonstrations([toy(5, 8), toy(5, 8, seed=1)])
    with torch.no_grad():
        scanned_latents, state = scan_latents(policy, lesson), policy.stream.init_state(16)
        for t in range(5):
            enters = policy.embed(lesson.features[t], lesson.pose[t])
            z, state = policy.stream.step(enters.flatten(0, 1), state)
            torch.testing.assert_close(z.unflatten(0, (2, 8)), scanned_latents[t], atol=1e-12, rtol=0)
    assert z.shape[-1] == LATENT


def test_an_empty_state_has_rows_to_take() -> None:
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
            without_gradient = [
                key for key, p in policy.named_parameters() if p.grad is None or not p.grad.abs().max() > 0
            ]
            assert not without_gradient
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.05


@pytest.mark.parametrize("name", RIVALS)
def test_rivals_have_the_size_of_the_policy_and_seeded_weights(name: str) -> None:
    before = torch.random.get_rng_state()
    first, same, second = made(name, seed=1), made(name, seed=1), made(name, seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.enter.weight, same.enter.weight) and not torch.equal(
        first.enter.weight, second.enter.weight
    )
    size, usual = (sum(p.numel() for p in policy.parameters()) for policy in (first, PeptidePolicy()))
    assert 0.5 < size / usual < 2.0
    restored = made(name, **first.options)
    assert restored.load_state_dict(first.state_dict()) and restored.temperature == 1.0


@pytest.mark.parametrize("name", RIVALS)
def test_rivals_propose_moves_in_the_controller(name: str) -> None:
    structure, domain = build_peptide(SEQUENCE)
    extractor = PeptideFeatures.of(structure, domain.decoder)
    domain = replace(domain, features=extractor)
    controller = Controller(
        backbone=PeptidePredictor(made(name).eval(), extractor.torsion_index),
        metric=Pullback(),
        trust_region=TrustRegion(largest=2.0),
        gate=FixedGate(0),
        horizon=1,
    )
    goal, led = (
        PeptideGoal((parse_contact(structure, WANTED),)),
        set(extractor.torsion_index[extractor.torsion_index >= 0].tolist()),
    )
    state = controller.init(domain, domain.start(structure.xyz))
    for _ in range(3):
        state, info = controller.step(domain, state, goal)
        moved = set(info.z[0].nonzero()[:, 0].tolist())
        assert moved and moved <= led and bool(info.z.isfinite().all())
