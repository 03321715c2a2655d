"""Solved contacts are clean, demonstrations record the missing increments, and the predictor follows its policy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from geofold.core.backbone import Momentum
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate
from geofold.core.population import select_rows
from geofold.core.pullback import Pullback
from geofold.core.trust_region import TrustRegion
from geofold.learn.peptide_policy import training as peptide_training
from geofold.learn.peptide_policy.features import FEATURE_COUNT, MEMORY_SIZE, POSE_SIZE
from geofold.learn.peptide_policy.model import PeptidePolicy, load_policy
from geofold.learn.peptide_policy.training import stack_demonstrations, train_peptide
from geofold.molecule.datasets import peptide_demonstrations as peptide_demos
from geofold.molecule.datasets.peptide_demonstrations import (
    CAP,
    DEMONSTRATION_STEPS,
    SolvedContact,
    build_peptide,
    contacts_from_arrays,
    contacts_to_arrays,
    make_demonstration,
    solve_contacts,
    state_at,
)
from geofold.molecule.peptide.annealing import POWER, AnnealingSchedule, turn_penalty_gradient
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.peptide.features import PeptideFeatures
from geofold.molecule.peptide.predictor import MOMENTUM, PeptidePredictor
from geofold.molecule.peptide.state import PeptideGoal

SEQUENCE = "GSWTPENGKW"
WANTED = "A:3-A:9<6.0"


@pytest.fixture(scope="module")
def demo() -> SolvedContact:
    noise = np.random.default_rng(0)
    _, domain = build_peptide(SEQUENCE)
    start = 0.2 * noise.standard_normal(len(domain.tree))
    return SolvedContact(SEQUENCE, WANTED, start, start + 0.5 * noise.standard_normal(len(start)))


def test_demonstrations_end_clean_with_the_contact_kept(monkeypatch) -> None:
    monkeypatch.setattr(
        peptide_demos, "ANNEALING", AnnealingSchedule(rows=12, iterations=160, start_deviation=0.15, turn_weight=0.6)
    )
    solutions = [solve_contacts(3, seed=5) for _ in range(2)]
    assert solutions[0] and all(np.array_equal(a.end, b.end) for a, b in zip(*solutions, strict=True))
    assert not solutions[0][0].start.any() and all(
        np.array_equal(a.end, b.start) for a, b in zip(solutions[0], solutions[0][1:], strict=False)
    )
    for one in solutions[0]:
        structure, domain = build_peptide(one.sequence)
        state = state_at(domain, structure.xyz, torch.as_tensor(one.end)[None])
        contact = parse_contact(structure, one.contact)
        assert contact.satisfied(float(domain.distances(state.conformation.xyz, (contact,))[0, 0]))
        assert int(domain.sterics.count_severe(state.conformation.xyz, state.pairs)[0]) == 0
        assert domain.angles.count_outliers(state.conformation.angle) == [0]


def test_the_slope_of_the_busiest_torsion_is_that_of_its_cost() -> None:
    theta = torch.as_tensor(np.random.default_rng(4).standard_normal((3, 9)))
    backbone = torch.arange(9) % 3 != 0

    def cost(turn: torch.Tensor) -> torch.Tensor:
        return ((turn[:, backbone] / CAP).pow(POWER).mean(-1)).pow(1 / POWER).sum()

    torch.testing.assert_close(
        turn_penalty_gradient(theta, backbone), torch.func.grad(cost)(theta), atol=1e-6, rtol=1e-6
    )


def test_demonstrations_go_through_a_file(demo: SolvedContact) -> None:
    (loaded,) = contacts_from_arrays(contacts_to_arrays([demo]))
    assert (loaded.sequence, loaded.contact) == (demo.sequence, demo.contact)
    np.testing.assert_array_equal(loaded.end, demo.end)
    assert list(contacts_from_arrays(contacts_to_arrays([]))) == []


def test_a_demonstration_records_the_missing_increments(demo: SolvedContact, monkeypatch) -> None:
    monkeypatch.setattr(peptide_demos, "MAX_NOISE", 0.0)
    demonstration = make_demonstration(demo, seed=1)
    assert demonstration.features.shape == (DEMONSTRATION_STEPS, len(SEQUENCE), FEATURE_COUNT) and bool(
        demonstration.features.isfinite().all()
    )
    proline = SEQUENCE.index("P")
    assert bool(demonstration.missing[:, proline, 0].isnan().all()) and bool(
        demonstration.missing[:, proline, 1].isfinite().all()
    )
    remaining = demonstration.missing.nan_to_num(0.0).abs().amax((1, 2))
    turn = np.abs(demo.end - demo.start).max()
    assert bool((remaining[1:] < remaining[:-1]).all()) or remaining[-1] < 1e-6
    assert float(remaining[0]) <= turn + 1e-6 and float(remaining[0] - remaining[1]) <= CAP + 1e-6
    moves = demonstration.features[..., -MEMORY_SIZE:-1].double()
    torch.testing.assert_close(
        moves[1:], (demonstration.missing[:-1] - demonstration.missing[1:]).nan_to_num(0.0).double(), atol=1e-6, rtol=0
    )


def test_features_are_invariant_under_rigid_motions(demo: SolvedContact) -> None:
    structure, _ = build_peptide(SEQUENCE)
    turn, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    elsewhere = replace(structure, xyz=structure.xyz @ turn.T + [1.0, -2.0, 0.5])
    observed, policy = [], PeptidePolicy().double()
    for one in (structure, elsewhere):
        domain = type(build_peptide(SEQUENCE)[1]).of(one, 0, len(SEQUENCE) - 1)
        domain = replace(domain, features=PeptideFeatures.of(one, domain.decoder))
        state = state_at(domain, one.xyz, torch.as_tensor(demo.start)[None])
        demonstration = domain.observe(state, PeptideGoal((parse_contact(one, WANTED),)))
        features, pose = (
            demonstration[:, :-2].unflatten(1, (-1, FEATURE_COUNT + POSE_SIZE)).split((FEATURE_COUNT, POSE_SIZE), -1)
        )
        # a pose turns along, and residues see one another's in their own frames
        observed.append((features, policy.embed(features, pose).detach(), pose))
    torch.testing.assert_close(observed[0][:2], observed[1][:2], atol=1e-6, rtol=0)
    assert not torch.allclose(observed[0][2], observed[1][2], atol=0.1)


def test_contacts_come_worst_first_and_in_either_order(demo: SolvedContact) -> None:
    structure, domain = build_peptide(SEQUENCE)
    extractor = PeptideFeatures.of(structure, domain.decoder)
    state = state_at(domain, structure.xyz, torch.as_tensor(demo.start)[None])

    def observed(*texts: str) -> torch.Tensor:
        goal = PeptideGoal(tuple(parse_contact(structure, text) for text in texts))
        return extractor.observe(domain, state, goal)[:, :-1]

    torch.testing.assert_close(observed(WANTED), observed("A:9-A:3<6.0"))
    torch.testing.assert_close(observed(WANTED, "A:1-A:5<20.0"), observed("A:1-A:5<20.0", WANTED))
    assert not torch.equal(observed(WANTED), observed(WANTED, "A:1-A:5<20.0"))
    assert not bool(observed().isnan().any())


def parts(predictor) -> Controller:
    return Controller(
        backbone=predictor, metric=Pullback(), trust_region=TrustRegion(largest=2.0), gate=FixedGate(0), horizon=1
    )


def test_the_predictor_moves_phi_and_psi_until_the_contact_is_kept(demo: SolvedContact) -> None:
    structure, domain = build_peptide(SEQUENCE)
    extractor = PeptideFeatures.of(structure, domain.decoder)
    domain = replace(domain, features=extractor)
    predictor = PeptidePredictor(PeptidePolicy().eval(), extractor.torsion_index, proposal_steps=3)
    controller, goal = parts(predictor), PeptideGoal((parse_contact(structure, WANTED),))
    state = controller.init(domain, domain.start(structure.xyz))
    led = set(extractor.torsion_index[extractor.torsion_index >= 0].tolist())
    for _ in range(5):
        state, info = controller.step(domain, state, goal)
        moved = set(info.z[0].nonzero()[:, 0].tolist())
        assert moved <= led
    other_goal = PeptideGoal((parse_contact(structure, "A:1-A:5<6.0"),))
    gliding = controller.step(domain, state, goal)[1].z
    torch.testing.assert_close(gliding, MOMENTUM * info.z)
    assert not torch.equal(controller.step(domain, state, other_goal)[1].z, gliding), "a new goal is a new beginning"
    loose_goal = PeptideGoal((parse_contact(structure, "A:3-A:9<60.0"),))
    torch.testing.assert_close(controller.step(domain, state, loose_goal)[1].z, MOMENTUM * info.z)
    assert Momentum(MOMENTUM).name != predictor.name


def test_rows_of_the_predictor_can_be_rearranged(demo: SolvedContact) -> None:
    structure, domain = build_peptide(SEQUENCE)
    extractor = PeptideFeatures.of(structure, domain.decoder)
    domain = replace(domain, features=extractor)
    controller = parts(PeptidePredictor(PeptidePolicy().eval(), extractor.torsion_index))
    goal = PeptideGoal((parse_contact(structure, WANTED),))
    angle = torch.as_tensor(np.stack([demo.start, 0.5 * demo.start, -demo.start]))
    state = controller.init(domain, state_at(domain, structure.xyz, angle))
    state, _ = controller.step(domain, state, goal)
    chosen = torch.tensor([2, 0, 2])
    after = controller.step(domain, select_rows(domain, state, chosen), goal)[0]
    expected = controller.step(domain, state, goal)[0]
    torch.testing.assert_close(
        after.domain.conformation.xyz, expected.domain.conformation.xyz[chosen], rtol=0, atol=1e-7
    )


def test_the_policy_learns_and_an_interrupted_run_resumes(demo: SolvedContact, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(peptide_training, "BATCH_SIZE", 2)
    demonstrations = [make_demonstration(demo, seed=k) for k in range(6)]
    small = {"width": 16, "depth": 1}

    def run(name: str, **more) -> float:
        return train_peptide(demonstrations.__getitem__, 6, tmp_path / name, steps=30, seed=3, **small, **more)

    demonstration: list[float] = []
    last = run("one", progress=lambda step, loss, judged: demonstration.append(judged))
    run("two", stop=11)
    run("two")
    weights = [(tmp_path / name / peptide_training.WEIGHTS).read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]
    policy, card = load_policy(tmp_path / "one" / peptide_training.WEIGHTS)
    untrained = peptide_training.imitation_loss(PeptidePolicy(**small, seed=3), stack_demonstrations(demonstrations))
    assert last < float(untrained.detach()) and card["lessons"] == 6 and policy.options["width"] == 16
