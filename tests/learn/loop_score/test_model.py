"""The potential of loops: its inputs, its training, and an interrupted training that gives the same weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from app_cases import STRUCTURES

from geofold.kernels.library import library, plain
from geofold.learn import training_loop as training
from geofold.learn.loop_score import training as score_training
from geofold.learn.loop_score.compiled import is_compiled
from geofold.learn.loop_score.decoys import GUIDED, PERTURBED, SAMPLED, Decoys, decoys_from_arrays, decoys_to_arrays
from geofold.learn.loop_score.ensemble import average_rounds, save_score, summarise_ranking
from geofold.learn.loop_score.features import featurise
from geofold.learn.loop_score.model import WEIGHTS, LoopScore, load_score
from geofold.learn.loop_score.training import choose_candidates, ranking_loss, train_score
from geofold.learn.weights import save_weights
from geofold.molecule.energy.loop_score_input import backbone_coordinates, make_loop_environment
from geofold.molecule.io.read import read
from geofold.molecule.selection import find_range

FIRST, LAST = 20, 27


def decoys(seed: int = 0, count: int = 60) -> Decoys:
    """A native loop shifted about, as candidates."""
    structure = read(STRUCTURES / "1ubi.pdb")
    conformer = structure.conformer_mask
    native = backbone_coordinates(structure, FIRST, LAST, conformer, structure.xyz[None])
    noise = torch.Generator().manual_seed(seed)
    moves = 4 * torch.rand(count, 1, 1, 1, generator=noise) * torch.randn(count, 1, 1, 3, generator=noise)
    xyz = (native + moves).float()
    rmsd = (xyz - native).square().sum(-1).mean((1, 2)).sqrt().float()
    kind = torch.arange(count) % 3
    return Decoys(xyz, rmsd, kind, make_loop_environment(structure, FIRST, LAST, conformer))


def turned(part: torch.Tensor) -> torch.Tensor:
    """Points elsewhere."""
    axis = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64))[0]
    axis = axis * torch.linalg.det(axis)
    return (part.double() @ axis.T + torch.tensor([30.0, -12.0, 7.0])).to(part)


def test_the_score_is_invariant_under_rigid_motions() -> None:
    loop = decoys()
    score = LoopScore(seed=1).double().eval()
    around = loop.around
    xyz = loop.xyz.double()
    moved = replace(around, xyz=turned(around.xyz.double()))
    double = replace(around, xyz=around.xyz.double())
    torch.testing.assert_close(score(turned(xyz), moved), score(xyz, double), rtol=1e-6, atol=1e-6)


def test_a_mirror_image_looks_different() -> None:
    loop = decoys()
    score, mirror = LoopScore(seed=1).eval(), torch.tensor([1.0, 1.0, -1.0])
    around = loop.around
    changed = replace(around, xyz=around.xyz * mirror)
    assert not torch.allclose(score(loop.xyz * mirror, changed), score(loop.xyz, around), atol=1e-3)


def test_the_coordinates_of_the_loop_in_its_environment_are_ignored() -> None:
    loop = decoys()
    around = loop.around
    elsewhere = around.xyz.clone()
    elsewhere[FIRST : LAST + 1] += 50.0
    changed = replace(around, xyz=elsewhere)
    score = LoopScore(seed=1).eval()
    torch.testing.assert_close(score(loop.xyz, changed), score(loop.xyz, around))


def test_distant_residues_are_ignored() -> None:
    loop = decoys(count=4)
    around = loop.around
    far_away = around.xyz.clone()
    far = (around.xyz[:, 1] - around.xyz[FIRST : LAST + 1, 1].mean(0)).norm(dim=-1) > 45
    far_away[far] += 100.0
    features = featurise(loop.xyz, around)
    assert 0 < float(features.near.mean()) < 1 and not bool(features.pairs.isnan().any())
    changed = replace(around, xyz=far_away)
    torch.testing.assert_close(LoopScore().eval()(loop.xyz, changed), LoopScore().eval()(loop.xyz, around))


def test_scores_in_batches_are_those_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, score = decoys(), LoopScore(seed=2).eval()
    complete = score(loop.xyz, loop.around).detach()
    monkeypatch.setattr("geofold.learn.loop_score.model.SCORE_BATCH", 7)
    with plain():
        torch.testing.assert_close(score.scores(loop.xyz.double(), loop.around), complete, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(library() is None, reason="no compiler here")
@pytest.mark.parametrize("width, members", [(96, 2), (16, 1)])
def test_scores_by_the_kernel_are_those_of_the_networks(width: int, members: int) -> None:
    loop = decoys(count=12)
    number = loop.around.number + 1000 * (torch.arange(len(loop.around.number)) > 50)  # a second chain
    around = replace(loop.around, xyz=loop.around.xyz.double(), number=number)
    score = LoopScore(seed=3, width=width, members=members).double().eval()
    fast = score.scores(loop.xyz.double(), around)
    with plain():
        slow = score.scores(loop.xyz.double(), around)
    assert float(slow.std()) > 1e-3
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)
    single = score.float().scores(loop.xyz, around)
    torch.testing.assert_close(single.double(), slow, rtol=1e-3, atol=1e-4)
    assert torch.equal(single[3:4], score.scores(loop.xyz[3:4], around)), "a row of a batch is the row alone"


def test_a_potential_that_the_kernel_does_not_serve_takes_the_networks() -> None:
    loop, narrow = decoys(count=4), LoopScore(seed=3, width=20).eval()
    torch.testing.assert_close(narrow.scores(loop.xyz, loop.around), narrow(loop.xyz, loop.around).detach())
    assert not is_compiled(narrow) and not is_compiled(LoopScore(seed=3).train())


def test_the_loss_is_zero_if_scores_are_distances_and_larger_otherwise() -> None:
    loop = decoys()
    rows = torch.arange(20)

    def perfect(xyz: torch.Tensor, around: object) -> torch.Tensor:
        return loop.rmsd[rows] / score_training.RMSD_TEMPERATURE + 5.0

    assert float(ranking_loss(perfect, loop, rows)) == pytest.approx(0.0, abs=1e-6)  # type: ignore[arg-type]
    assert float(ranking_loss(LoopScore(), loop, rows).detach()) > 0.01


def test_batches_hold_the_nearest_candidates() -> None:
    loop = decoys()
    rows = choose_candidates(loop, np.random.default_rng(0))
    near = round(score_training.NEAREST_SHARE * score_training.BATCH_CANDIDATES)
    assert len(set(rows.tolist())) == score_training.BATCH_CANDIDATES
    nearest = set(loop.rmsd.argsort()[: score_training.NEAREST_POOL].tolist())
    assert set(rows[:near].tolist()) <= nearest and len(set(rows.tolist()) - nearest) > 0


def test_files_hold_decoys() -> None:
    loop = decoys()
    loaded = decoys_from_arrays(decoys_to_arrays(loop))
    for one, two in zip((*loop[:3], loop.around.xyz), (*loaded[:3], loaded.around.xyz), strict=True):
        assert torch.equal(one, two)
    assert loaded.around.first == FIRST and loaded.around.length == LAST - FIRST + 1


def test_it_learns_and_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(training, "WARM_UP", 5)
    learnt, held = [decoys(k) for k in range(3)], [decoys(9)]
    options = {"steps": 60, "seed": 4, "width": 16}
    untrained = LoopScore(seed=4, width=16).eval()
    train_score(learnt, held, tmp_path / "whole", **options)
    train_score(learnt, held, tmp_path / "resumed", stop=13, **options)
    train_score(learnt, held, tmp_path / "resumed", **options)
    complete, resumed = ((tmp_path / name / WEIGHTS).read_bytes() for name in ("whole", "resumed"))
    assert complete == resumed
    score, card = load_score(tmp_path / "whole" / WEIGHTS)
    assert card["loops"] == 3 and card["options"]["members"] == 1
    with torch.no_grad():
        before, after = (float(ranking_loss(one, held[0], torch.arange(48))) for one in (untrained, score))
    assert after < 0.7 * before
    figures = summarise_ranking(score, held)["valid_drawn_to_8"]
    drawn = held[0].rmsd[held[0].kind == SAMPLED]
    assert figures["nearest"] == pytest.approx(float(drawn.min()), abs=1e-3)
    assert figures["nearest"] <= figures["best_by_score"] and {SAMPLED, PERTURBED, GUIDED} == {0, 1, 2}


def test_several_networks_are_put_together_as_their_mean(tmp_path: Path) -> None:
    held = [decoys(9)]
    paths = [tmp_path / str(k) / WEIGHTS for k in range(2)]
    for seed, path in enumerate(paths):
        train_score([decoys(1)], held, path.parent, steps=2, seed=seed, width=16)
    value = save_score(tmp_path / WEIGHTS, paths, held, [], {"command": "none"})
    score, card = load_score(tmp_path / WEIGHTS)
    scores = [load_score(path) for path in paths]
    mean = torch.stack([one.scores(held[0].xyz, held[0].around) for one, _ in scores]).mean(0)
    torch.testing.assert_close(score.scores(held[0].xyz, held[0].around), mean)
    rows = choose_candidates(held[0], np.random.default_rng(0))
    alone = [float(ranking_loss(one, held[0], rows)) for one, _ in scores]
    # the divergence is convex in the scores: together they are no worse than in the mean
    assert card["valid_loss"] == value == pytest.approx(float(ranking_loss(score, held[0], rows)))
    assert value <= sum(alone) / 2
    assert card["options"]["members"] == 2 and "valid_drawn_to_8" in card and card["command"] == "none"


def test_rounds_are_average_weight_by_weight(tmp_path: Path) -> None:
    rounds = [[tmp_path / f"{number}" / f"{k}" / WEIGHTS for k in range(2)] for number in range(3)]
    for seed, path in enumerate(path for parts in rounds for path in parts):
        path.parent.mkdir(parents=True)
        one = LoopScore(seed=seed, width=8)
        save_weights(path, one.state_dict(), {"options": one.options})
    for number, path in enumerate(average_rounds(rounds, tmp_path / "mean")):
        average = load_score(path)[0].state_dict()
        states = [load_score(parts[number])[0].state_dict() for parts in rounds]
        for name, value in average.items():
            torch.testing.assert_close(value, sum(scores[name] for scores in states) / 3)


def test_hydrogen_bonds_are_those_of_a_helix_and_no_others() -> None:
    """Ubiquitin's helix 23-34: each N-H from the fifth residue on gives a bond to the O four before."""
    structure = read(STRUCTURES / "1ubi.pdb")
    conformer = structure.conformer_mask
    first, last = find_range(structure, "A:25-32")
    native = backbone_coordinates(structure, first, last, conformer, structure.xyz[None]).float()
    gives, takes = (
        featurise(native, make_loop_environment(structure, first, last, conformer)).residues[0, :, -2:].unbind(-1)
    )
    assert bool((gives[2:] > 0.2).all()) and bool((takes[:-2] > 0.2).all())
    away = featurise(native + 60.0, make_loop_environment(structure, first, last, conformer)).residues[0, :, -2:]
    assert float(away[:2, 0].max()) == 0.0, "no residue of the loop is four before the first two"
