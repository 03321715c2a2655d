"""Candidates of a loop and the search for them, with an oracle in place of the potential."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from app_cases import STRUCTURES

from geofold.geometry import dihedral
from geofold.learn.loop_score.confidence import Confidence
from geofold.learn.loop_score.decoys import CROSSOVER, EVOLVED, GUIDED, PERTURBED, SAMPLED
from geofold.learn.loop_score.model import LoopScore, shipped_score
from geofold.modelling import controllers
from geofold.modelling.controllers import POTENTIAL_WEIGHT
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import LoopModel, StreamOutcome
from geofold.modelling.progress import Progress
from geofold.modelling.search import decoys
from geofold.modelling.search import ensemble as ensemble_module
from geofold.modelling.search.candidates import LoopCandidates
from geofold.modelling.search.decoys import decoys_of
from geofold.modelling.search.diversity import (
    MIN_RMSD_CANDIDATES,
    MIN_RMSD_MODELS,
    select_distinct,
    select_diverse,
)
from geofold.modelling.search.effort import (
    FULL_EFFORT_LENGTH,
    MAX_EXTENSION,
    MIN_GAIN,
    RECOMBINATION,
    Effort,
    choose_effort,
)
from geofold.modelling.search.ensemble import Ensemble, with_confidence
from geofold.modelling.search.evolutionary import breed, search_loop
from geofold.molecule.energy.loop_score_input import make_loop_environment
from geofold.molecule.io.read import read
from geofold.molecule.kinematics import inverse
from geofold.molecule.kinematics.forward import positions
from geofold.molecule.loop.batch_states import transfer_torsions
from geofold.molecule.loop.build_plan import rebuild_plan
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.selection import backbone_atoms, find_range
from geofold.molecule.sidechains.packing import backbone_torsions
from geofold.molecule.structure import Structure

NATIVE = read(STRUCTURES / "1ubi.pdb")
FIRST, LAST = find_range(NATIVE, "A:46-52")
BONDED = 0.1329


@cache
def candidates() -> LoopCandidates:
    return LoopCandidates.of(NATIVE, rebuild_plan(NATIVE, FIRST, LAST))


def rmsd(rows: np.ndarray) -> np.ndarray:
    """To the native backbone, nm."""
    loop = candidates()
    own = [
        NATIVE.atom(k, name, NATIVE.conformer_mask) for k in range(FIRST, LAST + 1) for name in ("N", "CA", "C", "O")
    ]
    there = NATIVE.xyz[np.array(own)].reshape(-1, 4, 3)
    return np.sqrt(((loop.backbone(rows) - there) ** 2).sum(-1).mean((1, 2)))


class Oracle(LoopScore):
    """Scores by the RMSD to the native, which no real potential knows."""

    def forward(self, candidates: torch.Tensor, around: object) -> torch.Tensor:
        own = [NATIVE.atom(k, n, NATIVE.conformer_mask) for k in range(FIRST, LAST + 1) for n in ("N", "CA", "C", "O")]
        there = torch.as_tensor(10 * NATIVE.xyz[np.array(own)]).unflatten(0, (-1, 4))
        return (candidates - there).square().sum(-1).mean((1, 2)).sqrt()


def test_draws_close_with_ideal_bonds_at_both_ends() -> None:
    loop = candidates()
    rows = loop.draw(64, np.random.default_rng(0))
    assert 32 <= len(rows) <= 65
    xyz = loop.backbone(rows)
    before = NATIVE.xyz[NATIVE.atom(FIRST - 1, "C", NATIVE.conformer_mask)]
    after = NATIVE.xyz[NATIVE.atom(LAST + 1, "N", NATIVE.conformer_mask)]
    assert np.linalg.norm(xyz[:, 0, 0] - before, axis=-1) == pytest.approx(BONDED, abs=1e-3)
    assert np.linalg.norm(xyz[:, -1, 2] - after, axis=-1) == pytest.approx(BONDED, abs=1e-3)
    omega = dihedral(xyz[:, :-1, 1], xyz[:, :-1, 2], xyz[:, 1:, 0], xyz[:, 1:, 1])
    assert np.abs(np.cos(omega) + 1).max() < 1e-6, "all trans"
    for k in range(FIRST, LAST + 1):
        beta = NATIVE.atom(k, "CB", NATIVE.conformer_mask)
        if beta is None:
            continue
        place = np.searchsorted(loop.atoms, loop.structure.atom(k, "CB", loop.structure.conformer_mask))
        n, ca, c = (xyz[:, k - FIRST, atom] for atom in range(3))
        volume = np.einsum("ki,ki->k", np.cross(n - ca, c - ca), rows[:, place] - ca)
        assert (volume > 0).all(), "all L"


def test_closing_a_candidates_own_torsions_returns_it() -> None:
    loop = candidates()
    rows = loop.draw(16, np.random.default_rng(1))
    again = loop.close(loop.torsions(rows))
    np.testing.assert_allclose(again, rows, atol=2e-5)


def test_offspring_of_equal_parents_stay_near_them() -> None:
    loop = candidates()
    rows = loop.draw(64, np.random.default_rng(2))
    near = rows[np.argsort(rmsd(rows))[:1]]
    crossed = loop.cross(near, 64, np.random.default_rng(3))
    assert len(crossed) >= 16
    apart = np.sqrt(((crossed - near) ** 2).sum(-1).mean(-1))
    assert np.median(apart) < np.median(np.sqrt(((rows - near) ** 2).sum(-1).mean(-1)))


def test_guided_candidates_cost_less_and_stay_closed() -> None:
    loop = candidates()
    rows = loop.draw(24, np.random.default_rng(4))[:6]
    guided, cost = loop.guide(rows)
    assert cost.sum() < loop.cost(rows).sum()
    xyz = loop.backbone(guided)
    after = NATIVE.xyz[NATIVE.atom(LAST + 1, "N", NATIVE.conformer_mask)]
    assert np.linalg.norm(xyz[:, -1, 2] - after, axis=-1) == pytest.approx(BONDED, abs=1e-3)


def test_a_search_with_the_rmsd_as_potential_finds_the_native_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LoopCandidates, "judge", lambda self, rows: np.zeros(len(rows)))
    effort = Effort(draws=192, crosses=64, generations=2, guided=6, restarts=3, parents=4)
    losses: list[float] = []
    progress = Progress(lambda stage, done, total, loss: losses.append(loss))
    pool = search_loop(candidates(), effort, score=Oracle(), progress=progress)
    assert 10 * rmsd(pool.rows[:1])[0] < 0.9, "A; ideal bonds and angles alone keep it 0.6 A off"
    assert pool.cost.tolist() == sorted(pool.cost) and losses == sorted(losses, reverse=True)
    assert effort.restarts < len(losses) <= 1 + MAX_EXTENSION * effort.restarts
    best = pool.distinct(3)
    distance = np.sqrt(((best.rows[:, None] - best.rows) ** 2).sum(-1).mean(-1))
    assert (distance[~np.eye(len(best.rows), dtype=bool)] > MIN_RMSD_CANDIDATES).all()


def test_the_same_seed_gives_the_same_search() -> None:
    effort = Effort(draws=32, crosses=16, generations=1, guided=2, restarts=2, parents=2)
    first, second = (search_loop(candidates(), effort, seed=5, score=Oracle()) for _ in range(2))
    assert np.array_equal(first.rows, second.rows) and np.array_equal(first.cost, second.cost)


def test_default_options_give_the_default_effort_and_less_of_either_gives_less() -> None:
    long = FULL_EFFORT_LENGTH
    assert choose_effort(RunOptions(), long) == choose_effort(RunOptions(), 2 * long) == Effort()
    short, few = choose_effort(RunOptions(), long // 2), choose_effort(RunOptions(streams=6, rounds=2), long)
    assert 2 * short.draws == 2 * few.draws == Effort.draws
    assert (2 * short.pooled, 2 * short.guided) == (Effort.pooled, Effort.guided)
    assert short.generations == Effort.generations and few.generations == few.restarts == 1 and few.parents == 6
    restarts = [choose_effort(RunOptions(), n, only_source=True).restarts for n in (4, 8, long, 2 * long)]
    assert restarts == [Effort.restarts, 4, 2 * Effort.restarts, 2 * Effort.restarts]
    assert Effort(draws=10, crosses=4, generations=2, restarts=3).tried(3) == 2 * 10 + 7 * 4


def test_a_search_continues_while_its_lowest_cost_falls_and_not_for_ever() -> None:
    effort = Effort(restarts=3)
    flat = [5.0] * 3
    assert not effort.finished(flat[:2]), "the usual number of restarts comes first"
    assert effort.finished(flat) and effort.finished([*flat, 5.0 - MIN_GAIN / 2])
    fallen = [*flat, 5.0 - 2 * MIN_GAIN]
    assert not effort.finished(fallen) and not effort.finished([7.0, 6.0, 5.0])
    assert effort.finished(fallen + fallen[-1:] * RECOMBINATION)
    falling = (-10.0 * np.arange(MAX_EXTENSION * effort.restarts)).tolist()
    assert not effort.finished(falling[:-1]) and effort.finished(falling)


def test_distinct_rows_come_in_order_of_cost() -> None:
    rows = np.array([0.0, 0.01, 0.2, 0.4])[:, None, None] * np.ones((4, 5, 3))
    assert select_distinct(rows, np.array([2.0, 1.0, 3.0, 0.0]), 4) == [3, 1, 2]
    assert select_distinct(rows, np.array([2.0, 1.0, 3.0, 0.0]), 2) == [3, 1]


def test_several_models_begin_with_one_of_each_family() -> None:
    rows = np.array([0.0, 0.06, 0.2, 0.26, 0.27])[:, None, None] * np.array([[1.0, 0.0, 0.0]]) * np.ones((5, 4, 1))
    cost = np.arange(5.0)
    assert select_distinct(rows, cost, 3) == select_diverse(rows, cost, 3, RunOptions()) == [0, 1, 2]
    assert select_diverse(rows, cost, 2, RunOptions(models=2)) == [0, 2]
    assert select_diverse(rows, cost, 4, RunOptions(models=2)) == [0, 2, 1, 3]
    assert MIN_RMSD_MODELS > MIN_RMSD_CANDIDATES


def test_torsions_are_transferred_to_the_inputs_bonds_and_angles() -> None:
    domain = LoopDomain.of(NATIVE, FIRST, LAST)
    start = domain.start(NATIVE.xyz)
    own = backbone_torsions(NATIVE)[FIRST : LAST + 2, :2]
    places = backbone_atoms(NATIVE, FIRST, LAST, NATIVE.conformer_mask)
    native = NATIVE.xyz[places].reshape(1, -1, 4, 3)
    state, closed = transfer_torsions(domain, NATIVE, start, own[None], native)
    assert closed.all()
    np.testing.assert_allclose(state.conformation.xyz, start.conformation.xyz, atol=1e-9)
    loop = candidates()
    rows = loop.draw(24, np.random.default_rng(6))
    backbone = loop.backbone(rows)
    state, closed = transfer_torsions(domain, NATIVE, start, loop.torsions(rows), backbone)
    assert closed.sum() >= 12 and len(state.conformation.xyz) == closed.sum()
    # turned from the input by these increments, they are where they are, and closed
    there = positions(
        domain.decoder.kinematics,
        start.conformation.xyz.expand(len(state.conformation.xyz), -1, -1),
        state.conformation.angle,
    )
    np.testing.assert_allclose(state.conformation.xyz, there, atol=1e-9)
    gap = domain.decoder.closure.residual(
        domain.decoder.kinematics, start.conformation.xyz.expand_as(there), state.conformation.angle
    )
    assert float(gap.abs().max()) < 1e-8
    # increments are counted from the input's torsions
    phi, _ = domain.angles.at(state.conformation.angle)
    xyz = np.repeat(NATIVE.xyz[None], len(phi), 0)
    xyz[:, domain.decoder.kinematics.atoms.numpy()] = state.conformation.xyz.numpy()
    at = [NATIVE.atom(k, n, NATIVE.conformer_mask) for k, n in ((FIRST, "C"), (FIRST + 1, "N"), (FIRST + 1, "CA"))]
    last = NATIVE.atom(FIRST + 1, "C", NATIVE.conformer_mask)
    seen = dihedral(*(xyz[:, a] for a in (*at, last)))
    assert np.abs(np.exp(1j * seen) - np.exp(1j * phi[:, 1].numpy())).max() < 1e-6


def test_transferred_conformations_stay_nearer_than_by_their_torsions_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    domain, loop = LoopDomain.of(NATIVE, FIRST, LAST), candidates()
    start, rows = domain.start(NATIVE.xyz), loop.draw(24, np.random.default_rng(6))
    backbone = loop.backbone(rows)
    places = backbone_atoms(NATIVE, FIRST, LAST, NATIVE.conformer_mask)

    def moved() -> np.ndarray:
        """RMSD (nm) of backbones from where they were."""
        state, closed = transfer_torsions(domain, NATIVE, start, loop.torsions(rows), backbone)
        assert closed.all()
        there = backbone.reshape(len(rows), -1, 3)
        return np.sqrt(
            ((state.conformation.xyz[:, domain.decoder.kinematics.find_rows(places)].numpy() - there) ** 2)
            .sum(-1)
            .mean(-1)
        )

    near = moved()
    monkeypatch.setattr(inverse, "APPROACH_STEPS", 0)
    alone = moved()
    assert np.median(near) < 0.6 * np.median(alone) and (near < alone + 0.02).all()


def test_a_link_closes_with_the_loop_that_holds_it() -> None:
    structure = read(STRUCTURES / "5pti.cif")
    first, last = find_range(structure, "A:10-18")  # 14 is bound to 38
    domain = LoopDomain.of(structure, first, last)
    loop = LoopCandidates.of(structure, rebuild_plan(structure, first, last))
    rows = loop.draw(8, np.random.default_rng(1))
    start = domain.start(structure.xyz)
    state, closed = transfer_torsions(domain, structure, start, loop.torsions(rows), loop.backbone(rows))
    assert len(domain.tree.links) == 1 and closed.sum() >= 2
    pairs = domain.decoder.closure.pairs  # the bond, and what makes the angles at both its ends

    def lengths(xyz: torch.Tensor) -> np.ndarray:
        return (xyz[:, pairs[:, 0]] - xyz[:, pairs[:, 1]]).norm(dim=-1).numpy()

    assert len(pairs) == 3
    begun = start.conformation.xyz.repeat(int(closed.sum()), 1, 1)
    np.testing.assert_allclose(lengths(state.conformation.xyz), lengths(begun), atol=1e-7)
    gap = domain.decoder.closure.residual(domain.decoder.kinematics, begun, state.conformation.angle)
    assert float(gap.abs().max()) < 1e-7


def test_surroundings_know_chain_breaks() -> None:
    around = make_loop_environment(NATIVE, FIRST, LAST, NATIVE.conformer_mask)
    assert around.first == FIRST and around.length == LAST - FIRST + 1
    assert (np.diff(around.number.numpy()) == 1).all()
    cut = np.flatnonzero(NATIVE.residue_of == 10)
    moved = NATIVE.xyz.copy()
    moved[cut] += 3.0
    broken = make_loop_environment(_at(moved), FIRST, LAST, NATIVE.conformer_mask)
    assert (np.diff(broken.number.numpy()) > 1).sum() == 2


def _at(xyz: np.ndarray) -> Structure:
    from dataclasses import replace

    return replace(NATIVE, xyz=xyz)


def test_minimised_candidates_have_a_lower_loss_and_stay_closed() -> None:
    loop = candidates()
    rows, _ = loop.guide(loop.draw(24, np.random.default_rng(4))[:6])
    minimised, cost = loop.minimise(rows, Oracle())
    before, after = (POTENTIAL_WEIGHT * 10 * rmsd(xyz) + c for xyz, c in ((rows, loop.cost(rows)), (minimised, cost)))
    assert (after < before + 1e-6).all() and (rmsd(minimised) < 0.9 * rmsd(rows)).any()
    np.testing.assert_allclose(cost, loop.cost(minimised), atol=1e-6)
    xyz = loop.backbone(minimised)
    nitrogen = NATIVE.xyz[NATIVE.atom(LAST + 1, "N", NATIVE.conformer_mask)]
    assert np.linalg.norm(xyz[:, -1, 2] - nitrogen, axis=-1) == pytest.approx(BONDED, abs=1e-3)


def test_breeding_lowers_the_potential_and_keeps_all_candidates() -> None:
    loop, noise = candidates(), np.random.default_rng(8)
    rows = loop.draw(64, noise)
    effort = Effort(crosses=24, generations=3, parents=4)
    pool = breed(loop, rows, effort, Oracle(), noise)
    assert len(rows) < len(pool.rows) <= len(rows) + 3 * 24 and pool.cost.tolist() == sorted(pool.cost)
    assert pool.scores.potential.min() < 10 * rmsd(rows).min()


def test_decoys_of_a_native_are_of_all_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"DRAWS": 64, "DRAWN_KEPT": 20, "NEAREST_KEPT": 8, "PERTURBATIONS": 3, "OFFSPRING_POOL": 6, "OFFSPRING": 9}
    small |= {"GUIDED_OFFSPRING": 2, "GUIDED_NATIVES": 2}
    hard = Effort(draws=64, crosses=16, generations=1, parents=3)
    for name, value in (small | {"PARENTS": (3, 3), "HARD_EFFORT": hard}).items():
        monkeypatch.setattr(decoys, name, value)
    monkeypatch.setattr(controllers, "GUIDED_SWEEPS", 1)
    bare = decoys_of(NATIVE, FIRST, LAST, None, seed=0)
    assert set(bare.kind.tolist()) == {SAMPLED, PERTURBED, CROSSOVER}
    made = decoys_of(NATIVE, FIRST, LAST, LoopScore().eval(), seed=0)
    kinds = made.kind.tolist()
    assert {SAMPLED, PERTURBED, CROSSOVER, EVOLVED, GUIDED} == set(kinds) and kinds.count(SAMPLED) == 20
    assert torch.equal(bare.xyz, made.xyz[: len(bare.xyz)]), "those of the first round are the same"
    assert made.xyz.shape == (len(kinds), LAST - FIRST + 1, 4, 3)
    disturbed = made.rmsd[made.kind == PERTURBED]
    assert float(disturbed.min()) < 1.0 < float(made.rmsd[made.kind == SAMPLED].median())
    own = [
        NATIVE.atom(k, name, NATIVE.conformer_mask) for k in range(FIRST, LAST + 1) for name in ("N", "CA", "C", "O")
    ]
    there = torch.as_tensor(10 * NATIVE.xyz[np.array(own)], dtype=torch.float32).unflatten(0, (-1, 4))
    torch.testing.assert_close((made.xyz - there).square().sum(-1).mean((1, 2)).sqrt(), made.rmsd, rtol=1e-4, atol=1e-3)


def test_confidence_follows_from_the_spread_of_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    score = shipped_score()[0]
    calibration = Confidence((0.0, 0.0, 1.0, 0.0, 0.0), -0.5, 0.5, 20)  # all weight on the spread
    monkeypatch.setattr(ensemble_module, "shipped_score", lambda: (score, {"confidence": calibration.as_dict()}))
    loop = candidates()
    rows = loop.draw(32, np.random.default_rng(0))
    ensemble = Ensemble(loop.backbone(rows), loop.potential(rows, score), loop.backbone(rows[:0]))
    domain = LoopDomain.of(NATIVE, FIRST, LAST)
    atoms = domain.decoder.kinematics.atoms.numpy()
    outcome = StreamOutcome(domain.tree, atoms, NATIVE.xyz[atoms][None], "done", "hold-still")
    model = LoopModel(outcome, {"potential": -1.0})
    middle, low, high = with_confidence(NATIVE, model, ensemble).confidence
    distance = 10 * rmsd(rows)
    assert distance.min() < middle < distance.max() + 0.2 and low < middle < high
    empty = Ensemble(ensemble.backbone[:0], ensemble.potential[:0], ensemble.external)
    assert with_confidence(NATIVE, model, empty).confidence[0] < 0.2
    assert with_confidence(NATIVE, model, None) == model
    monkeypatch.setattr(ensemble_module, "shipped_score", lambda: (score, {}))
    assert with_confidence(NATIVE, model, ensemble) == model
