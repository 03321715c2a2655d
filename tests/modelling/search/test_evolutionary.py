"""Candidates of a loop and the search among them, with an oracle in the potential's place."""

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
from geofold.modelling import controllers as loop_parts
from geofold.modelling.controllers import POTENTIAL_WEIGHT as WEIGHT
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import Model, Move
from geofold.modelling.search import consensus as certainty
from geofold.modelling.search import decoys as score_decoys
from geofold.modelling.search.candidates import LoopCandidates, rebuilt
from geofold.modelling.search.consensus import Searched, agreed, sure
from geofold.modelling.search.decoys import decoys_of
from geofold.modelling.search.evolutionary import (
    APART,
    LONG,
    NICHE,
    Effort,
    Ranked,
    bred,
    effort_of,
    searched,
    spread,
    unlike,
)
from geofold.molecule.energy.loop_score_input import surroundings
from geofold.molecule.kinematics import inverse as meeting
from geofold.molecule.kinematics.forward import positions
from geofold.molecule.loop.batch_states import with_own_bonds
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.selection import backbone_atoms, find_range
from geofold.molecule.sidechains.packing import backbone_torsions
from geofold.molecule.structure import Structure, read

NATIVE = read(STRUCTURES / "1ubi.pdb")
FIRST, LAST = find_range(NATIVE, "A:46-52")
BONDED = 0.1329


@cache
def candidates() -> LoopCandidates:
    return LoopCandidates.of(NATIVE, rebuilt(NATIVE, FIRST, LAST))


def rmsd(rows: np.ndarray) -> np.ndarray:
    """To the native backbone, nm."""
    loop = candidates()
    own = [NATIVE.atom(k, name, NATIVE.steering_mask) for k in range(FIRST, LAST + 1) for name in ("N", "CA", "C", "O")]
    there = NATIVE.xyz[np.array(own)].reshape(-1, 4, 3)
    return np.sqrt(((loop.backbone(rows) - there) ** 2).sum(-1).mean((1, 2)))


class Oracle(LoopScore):
    """Scores by what nobody knows."""

    def forward(self, candidates: torch.Tensor, around: object) -> torch.Tensor:
        own = [NATIVE.atom(k, n, NATIVE.steering_mask) for k in range(FIRST, LAST + 1) for n in ("N", "CA", "C", "O")]
        there = torch.as_tensor(10 * NATIVE.xyz[np.array(own)]).unflatten(0, (-1, 4))
        return (candidates - there).square().sum(-1).mean((1, 2)).sqrt()


def test_draws_close_with_ideal_bonds_at_both_ends() -> None:
    loop = candidates()
    rows = loop.drawn(64, np.random.default_rng(0))
    assert 32 <= len(rows) <= 65
    xyz = loop.backbone(rows)
    before = NATIVE.xyz[NATIVE.atom(FIRST - 1, "C", NATIVE.steering_mask)]
    after = NATIVE.xyz[NATIVE.atom(LAST + 1, "N", NATIVE.steering_mask)]
    assert np.linalg.norm(xyz[:, 0, 0] - before, axis=-1) == pytest.approx(BONDED, abs=1e-3)
    assert np.linalg.norm(xyz[:, -1, 2] - after, axis=-1) == pytest.approx(BONDED, abs=1e-3)
    omega = dihedral(xyz[:, :-1, 1], xyz[:, :-1, 2], xyz[:, 1:, 0], xyz[:, 1:, 1])
    assert np.abs(np.cos(omega) + 1).max() < 1e-6, "all trans"
    alpha = np.cross(xyz[:, :, 0] - xyz[:, :, 1], xyz[:, :, 2] - xyz[:, :, 1])
    assert alpha.shape == (len(rows), LAST - FIRST + 1, 3)


def test_closing_a_candidates_own_torsions_gives_it_back() -> None:
    loop = candidates()
    rows = loop.drawn(16, np.random.default_rng(1))
    again = loop.closed(loop.torsions(rows))
    np.testing.assert_allclose(again, rows, atol=2e-5)


def test_crosses_are_near_their_parents_where_they_are_alike() -> None:
    loop = candidates()
    rows = loop.drawn(64, np.random.default_rng(2))
    near = rows[np.argsort(rmsd(rows))[:1]]
    crossed = loop.crossed(near, 64, np.random.default_rng(3))
    assert len(crossed) >= 16
    apart = np.sqrt(((crossed - near) ** 2).sum(-1).mean(-1))
    assert np.median(apart) < np.median(np.sqrt(((rows - near) ** 2).sum(-1).mean(-1)))


def test_led_candidates_cost_less_and_stay_closed() -> None:
    loop = candidates()
    rows = loop.drawn(24, np.random.default_rng(4))[:6]
    led, worth = loop.led(rows)
    assert worth.sum() < loop.worth(rows).sum()
    xyz = loop.backbone(led)
    after = NATIVE.xyz[NATIVE.atom(LAST + 1, "N", NATIVE.steering_mask)]
    assert np.linalg.norm(xyz[:, -1, 2] - after, axis=-1) == pytest.approx(BONDED, abs=1e-3)


def test_a_search_that_knew_would_find_the_native_loop() -> None:
    """With the RMSD as potential nothing but what is tried stands between the search and the native loop."""
    effort = Effort(draws=192, crosses=64, broods=2, led=6, generations=3, parents=4)
    told: list[float] = []
    found = searched(candidates(), effort, score=Oracle(), told=lambda *done: told.append(done[2]))
    near = 10 * rmsd(found.rows[:1])[0]
    assert near < 0.9, "A; ideal bonds and angles alone keep it 0.6 off"
    assert found.value.tolist() == sorted(found.value) and told == sorted(told, reverse=True) and len(told) == 4
    best = found.best(3)
    apart = np.sqrt(((best.rows[:, None] - best.rows) ** 2).sum(-1).mean(-1))
    assert (apart[~np.eye(len(best.rows), dtype=bool)] > APART).all()


def test_the_same_seed_searches_the_same() -> None:
    effort = Effort(draws=32, crosses=16, broods=1, led=2, generations=2, parents=2)
    one, two = (searched(candidates(), effort, seed=5, score=Oracle()) for _ in range(2))
    assert np.array_equal(one.rows, two.rows) and np.array_equal(one.value, two.value)


def test_the_usual_options_make_the_usual_effort_and_less_of_both_less() -> None:
    assert effort_of(RunOptions(), LONG) == effort_of(RunOptions(), 2 * LONG) == Effort()
    short, few = effort_of(RunOptions(), LONG // 2), effort_of(RunOptions(streams=6, rounds=2), LONG)
    assert 2 * short.draws == 2 * few.draws == Effort.draws and 2 * short.led == Effort.led
    assert short.broods == Effort.broods and few.broods == few.generations == 1 and few.parents == 6
    alone = [effort_of(RunOptions(), length, alone=True).generations for length in (4, 8, LONG, 2 * LONG)]
    assert alone == [Effort.generations, 4, 2 * Effort.generations, 2 * Effort.generations]
    assert Effort(draws=10, crosses=4, broods=2, generations=3).tried == 2 * 10 + 7 * 4


def test_unlike_rows_come_in_order_of_value() -> None:
    rows = np.array([0.0, 0.01, 0.2, 0.4])[:, None, None] * np.ones((4, 5, 3))
    assert unlike(rows, np.array([2.0, 1.0, 3.0, 0.0]), 4) == [3, 1, 2]
    assert unlike(rows, np.array([2.0, 1.0, 3.0, 0.0]), 2) == [3, 1]


def test_of_several_models_each_family_has_one_first() -> None:
    rows = np.array([0.0, 0.06, 0.2, 0.26, 0.27])[:, None, None] * np.array([[1.0, 0.0, 0.0]]) * np.ones((5, 4, 1))
    value = np.arange(5.0)
    assert unlike(rows, value, 3, APART) == spread(rows, value, 3, RunOptions()) == [0, 1, 2]
    assert spread(rows, value, 2, RunOptions(models=2)) == [0, 2]
    assert spread(rows, value, 4, RunOptions(models=2)) == [0, 2, 1, 3] and NICHE > APART


def test_conformations_are_taken_over_with_own_bonds_and_angles() -> None:
    domain = LoopDomain.of(NATIVE, FIRST, LAST)
    start = domain.start(NATIVE.xyz)
    own = backbone_torsions(NATIVE)[FIRST : LAST + 2, :2]
    places = backbone_atoms(NATIVE, FIRST, LAST, NATIVE.steering_mask)
    native = NATIVE.xyz[places].reshape(1, -1, 4, 3)
    state, closed = with_own_bonds(domain, NATIVE, start, own[None], native)
    assert closed.all()
    np.testing.assert_allclose(state.fold.xyz, start.fold.xyz, atol=1e-9)
    loop = candidates()
    rows = loop.drawn(24, np.random.default_rng(6))
    backbone = loop.backbone(rows)
    state, closed = with_own_bonds(domain, NATIVE, start, loop.torsions(rows), backbone)
    assert closed.sum() >= 12 and len(state.fold.xyz) == closed.sum()
    # turned from the input by these increments, they are where they are, and closed
    there = positions(domain.fold.kin, start.fold.xyz.expand(len(state.fold.xyz), -1, -1), state.fold.angle)
    np.testing.assert_allclose(state.fold.xyz, there, atol=1e-9)
    gap = domain.fold.closure.residual(domain.fold.kin, start.fold.xyz.expand_as(there), state.fold.angle)
    assert float(gap.abs().max()) < 1e-8
    # increments are counted from the input's torsions
    phi, _ = domain.angles.at(state.fold.angle)
    xyz = np.repeat(NATIVE.xyz[None], len(phi), 0)
    xyz[:, domain.fold.kin.atoms.numpy()] = state.fold.xyz.numpy()
    at = [NATIVE.atom(k, n, NATIVE.steering_mask) for k, n in ((FIRST, "C"), (FIRST + 1, "N"), (FIRST + 1, "CA"))]
    last = NATIVE.atom(FIRST + 1, "C", NATIVE.steering_mask)
    seen = dihedral(*(xyz[:, a] for a in (*at, last)))
    assert np.abs(np.exp(1j * seen) - np.exp(1j * phi[:, 1].numpy())).max() < 1e-6


def test_conformations_stay_nearer_than_their_torsions_alone_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    domain, loop = LoopDomain.of(NATIVE, FIRST, LAST), candidates()
    start, rows = domain.start(NATIVE.xyz), loop.drawn(24, np.random.default_rng(6))
    backbone = loop.backbone(rows)
    places = backbone_atoms(NATIVE, FIRST, LAST, NATIVE.steering_mask)

    def moved() -> np.ndarray:
        """How far backbones are from where they were, nm."""
        state, closed = with_own_bonds(domain, NATIVE, start, loop.torsions(rows), backbone)
        assert closed.all()
        there = backbone.reshape(len(rows), -1, 3)
        return np.sqrt(((state.fold.xyz[:, domain.fold.kin.rows(places)].numpy() - there) ** 2).sum(-1).mean(-1))

    near = moved()
    monkeypatch.setattr(meeting, "NEARING_STEPS", 0)
    alone = moved()
    assert np.median(near) < 0.6 * np.median(alone) and (near < alone + 0.02).all()


def test_a_link_closes_with_the_loop_that_holds_it() -> None:
    structure = read(STRUCTURES / "5pti.cif")
    first, last = find_range(structure, "A:10-18")  # 14 is bound to 38
    domain = LoopDomain.of(structure, first, last)
    loop = LoopCandidates.of(structure, rebuilt(structure, first, last))
    rows = loop.drawn(8, np.random.default_rng(1))
    start = domain.start(structure.xyz)
    state, closed = with_own_bonds(domain, structure, start, loop.torsions(rows), loop.backbone(rows))
    assert len(domain.tree.links) == 1 and closed.sum() >= 2
    pairs = domain.fold.closure.pairs  # the bond, and what makes the angles at both its ends

    def lengths(xyz: torch.Tensor) -> np.ndarray:
        return (xyz[:, pairs[:, 0]] - xyz[:, pairs[:, 1]]).norm(dim=-1).numpy()

    assert len(pairs) == 3
    begun = start.fold.xyz.repeat(int(closed.sum()), 1, 1)
    np.testing.assert_allclose(lengths(state.fold.xyz), lengths(begun), atol=1e-7)
    gap = domain.fold.closure.residual(domain.fold.kin, begun, state.fold.angle)
    assert float(gap.abs().max()) < 1e-7


def test_surroundings_know_chain_breaks() -> None:
    around = surroundings(NATIVE, FIRST, LAST, NATIVE.steering_mask)
    assert around.first == FIRST and around.length == LAST - FIRST + 1
    assert (np.diff(around.number.numpy()) == 1).all()
    cut = np.flatnonzero(NATIVE.residue_of == 10)
    moved = NATIVE.xyz.copy()
    moved[cut] += 3.0
    broken = surroundings(_at(moved), FIRST, LAST, NATIVE.steering_mask)
    assert (np.diff(broken.number.numpy()) > 1).sum() == 2


def _at(xyz: np.ndarray) -> Structure:
    from dataclasses import replace

    return replace(NATIVE, xyz=xyz)


def test_polished_candidates_are_liked_better_and_stay_closed() -> None:
    loop = candidates()
    rows, _ = loop.led(loop.drawn(24, np.random.default_rng(4))[:6])
    score = Oracle()
    polished, worth = loop.polished(rows, score)
    # what goes down is the potential and what clashes and outliers cost, together
    before, after = (WEIGHT * 10 * rmsd(own) + cost for own, cost in ((rows, loop.worth(rows)), (polished, worth)))
    assert (after < before + 1e-6).all() and (rmsd(polished) < 0.9 * rmsd(rows)).any()
    np.testing.assert_allclose(worth, loop.worth(polished), atol=1e-6)
    xyz = loop.backbone(polished)
    after = NATIVE.xyz[NATIVE.atom(LAST + 1, "N", NATIVE.steering_mask)]
    assert np.linalg.norm(xyz[:, -1, 2] - after, axis=-1) == pytest.approx(BONDED, abs=1e-3)


def test_breeding_keeps_what_is_liked() -> None:
    loop, noise = candidates(), np.random.default_rng(8)
    rows = loop.drawn(64, noise)
    effort = Effort(crosses=24, broods=3, parents=4)
    pool = bred(loop, rows, effort, Oracle(), noise)
    assert len(rows) < len(pool.rows) <= len(rows) + 3 * 24 and pool.value.tolist() == sorted(pool.value)
    assert pool.liked.min() < 10 * rmsd(rows).min()


def test_decoys_of_a_native_are_of_all_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"DRAWS": 64, "KEPT": 20, "NEAREST": 8, "EACH": 3, "LIKED": 6, "LEADING": 2, "NATIVES": 2, "CROSSES": 9}
    hard = Effort(draws=64, crosses=16, broods=1, parents=3)
    for name, value in (small | {"PARENTS": (3, 3), "HARD": hard}).items():
        monkeypatch.setattr(score_decoys, name, value)
    monkeypatch.setattr(loop_parts, "GUIDED_SWEEPS", 1)
    bare = decoys_of(NATIVE, FIRST, LAST, None, seed=0)
    assert set(bare.kind.tolist()) == {SAMPLED, PERTURBED, CROSSOVER}
    made = decoys_of(NATIVE, FIRST, LAST, LoopScore().eval(), seed=0)
    kinds = made.kind.tolist()
    assert {SAMPLED, PERTURBED, CROSSOVER, EVOLVED, GUIDED} == set(kinds) and kinds.count(SAMPLED) == 20
    assert torch.equal(bare.xyz, made.xyz[: len(bare.xyz)]), "those of the first round are the same"
    assert made.xyz.shape == (len(kinds), LAST - FIRST + 1, 4, 3)
    disturbed = made.rmsd[made.kind == PERTURBED]
    assert float(disturbed.min()) < 1.0 < float(made.rmsd[made.kind == SAMPLED].median())
    own = [NATIVE.atom(k, name, NATIVE.steering_mask) for k in range(FIRST, LAST + 1) for name in ("N", "CA", "C", "O")]
    there = torch.as_tensor(10 * NATIVE.xyz[np.array(own)], dtype=torch.float32).unflatten(0, (-1, 4))
    torch.testing.assert_close((made.xyz - there).square().sum(-1).mean((1, 2)).sqrt(), made.rmsd, rtol=1e-4, atol=1e-3)


def test_a_judge_that_had_no_part_in_the_search_puts_what_it_found_in_order() -> None:
    loop = candidates()
    rows = loop.drawn(48, np.random.default_rng(5))
    wrong = np.linspace(-9.0, 9.0, len(rows))  # what a search liked has nothing to do with the native
    clash = np.where(rmsd(rows) == rmsd(rows).min(), 100.0, 0.0)
    ordered = agreed(loop, Ranked(rows, wrong + clash, wrong), Oracle())
    assert sorted(ordered.value) == ordered.value.tolist()
    np.testing.assert_allclose(ordered.liked, 10 * rmsd(ordered.rows), rtol=1e-4, atol=1e-3)
    # nearest first, but for what the clash costs: that is not the judge's to forgive
    assert rmsd(ordered.rows)[0] == np.sort(rmsd(rows))[1] and rmsd(ordered.rows)[-1] == rmsd(rows).min()
    empty = Ranked(rows[:0], wrong[:0], wrong[:0])
    assert len(agreed(loop, empty, Oracle()).rows) == 0


def test_an_end_is_told_with_how_sure_the_search_is_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    score = shipped_score()[0]
    known = Confidence((0.0, 0.0, 1.0, 0.0, 0.0), -0.5, 0.5, 20)
    monkeypatch.setattr(certainty, "shipped_judge", lambda: (score, {"confidence": known.as_dict()}))
    loop = candidates()
    rows = loop.drawn(32, np.random.default_rng(0))
    found = Searched.of(loop, Ranked(rows, np.zeros(len(rows)), loop.scores(rows, shipped_score()[0])))
    domain = LoopDomain.of(NATIVE, FIRST, LAST)
    atoms = domain.fold.kin.atoms.numpy()
    model = Model(Move(domain.tree, atoms, NATIVE.xyz[atoms][None], "done", "hold-still"), -1.0)
    middle, low, high = sure(NATIVE, [model], found)[0].confidence
    # the weight is on the spread alone: what the liked candidates are apart from this end
    apart = 10 * rmsd(rows)
    assert apart.min() < middle < apart.max() + 0.2 and low < middle < high
    alone = Searched(found.backbone[:0], found.value[:0])
    assert sure(NATIVE, [model], alone)[0].confidence[0] < 0.2
    assert sure(NATIVE, [model], None) == [model]
    monkeypatch.setattr(certainty, "shipped_judge", lambda: (score, {}))
    assert sure(NATIVE, [model], found) == [model]
