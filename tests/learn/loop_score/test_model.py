"""The potential of loops: what it sees, that lessons teach it, that a killed training goes on to the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from app_cases import STRUCTURES

from geofold.learn import training_loop as training
from geofold.learn.loop_score import training as score_training
from geofold.learn.loop_score.model import WEIGHTS, LoopScore, featurise, load_score
from geofold.learn.loop_score.training import (
    GUIDED,
    PERTURBED,
    SAMPLED,
    Decoys,
    average_rounds,
    choose_candidates,
    decoys_from_arrays,
    decoys_to_arrays,
    ranking_loss,
    save_score,
    summarise_ranking,
    train_score,
)  # fmt: skip
from geofold.learn.weights import save_weights
from geofold.molecule.energy.loop_score_input import backbone_of, surroundings
from geofold.molecule.selection import find_range
from geofold.molecule.structure import read

FIRST, LAST = 20, 27


def decoys(seed: int = 0, count: int = 60) -> Decoys:
    """A native loop shifted about, as candidates."""
    structure = read(STRUCTURES / "1ubi.pdb")
    steering = structure.steering_mask
    native = backbone_of(structure, FIRST, LAST, steering, structure.xyz[None])
    noise = torch.Generator().manual_seed(seed)
    moves = 4 * torch.rand(count, 1, 1, 1, generator=noise) * torch.randn(count, 1, 1, 3, generator=noise)
    xyz = (native + moves).float()
    rmsd = (xyz - native).square().sum(-1).mean((1, 2)).sqrt().float()
    kind = torch.arange(count) % 3
    return Decoys(xyz, rmsd, kind, surroundings(structure, FIRST, LAST, steering))


def turned(part: torch.Tensor) -> torch.Tensor:
    """Points elsewhere."""
    axis = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64))[0]
    axis = axis * torch.linalg.det(axis)
    return (part.double() @ axis.T + torch.tensor([30.0, -12.0, 7.0])).to(part)


def test_it_does_not_change_when_all_is_turned_and_shifted() -> None:
    given = decoys()
    score = LoopScore(seed=1).double().eval()
    around = given.around
    xyz = given.xyz.double()
    moved = type(around)(turned(around.xyz.double()), around.letters, around.number, around.first, around.length)
    there = type(around)(around.xyz.double(), around.letters, around.number, around.first, around.length)
    torch.testing.assert_close(score(turned(xyz), moved), score(xyz, there), rtol=1e-6, atol=1e-6)


def test_a_mirror_image_looks_different() -> None:
    given = decoys()
    score, mirror = LoopScore(seed=1).eval(), torch.tensor([1.0, 1.0, -1.0])
    around = given.around
    other = type(around)(around.xyz * mirror, around.letters, around.number, around.first, around.length)
    assert not torch.allclose(score(given.xyz * mirror, other), score(given.xyz, around), atol=1e-3)


def test_the_loop_itself_is_not_looked_at_where_it_stands_in_its_surroundings() -> None:
    given = decoys()
    around = given.around
    elsewhere = around.xyz.clone()
    elsewhere[FIRST : LAST + 1] += 50.0
    other = type(around)(elsewhere, around.letters, around.number, around.first, around.length)
    score = LoopScore(seed=1).eval()
    torch.testing.assert_close(score(given.xyz, other), score(given.xyz, around))


def test_what_is_far_away_is_not_seen() -> None:
    given = decoys(count=4)
    around = given.around
    gone = around.xyz.clone()
    far = (around.xyz[:, 1] - around.xyz[FIRST : LAST + 1, 1].mean(0)).norm(dim=-1) > 45
    gone[far] += 100.0
    seen = featurise(given.xyz, around)
    assert 0 < float(seen.near.mean()) < 1 and not bool(seen.pairs.isnan().any())
    other = type(around)(gone, around.letters, around.number, around.first, around.length)
    torch.testing.assert_close(LoopScore().eval()(given.xyz, other), LoopScore().eval()(given.xyz, around))


def test_scores_a_few_at_a_time_are_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    given, score = decoys(), LoopScore(seed=2).eval()
    whole = score(given.xyz, given.around).detach()
    monkeypatch.setattr("geofold.learn.loop_score.model.SCORE_BATCH", 7)
    torch.testing.assert_close(score.scores(given.xyz.double(), given.around), whole, rtol=1e-4, atol=1e-5)


def test_loss_is_nothing_where_scores_are_distances_and_more_elsewhere() -> None:
    given = decoys()
    rows = torch.arange(20)

    def perfect(xyz: torch.Tensor, around: object) -> torch.Tensor:
        return given.rmsd[rows] / score_training.RMSD_TEMPERATURE + 5.0

    assert float(ranking_loss(perfect, given, rows)) == pytest.approx(0.0, abs=1e-6)  # type: ignore[arg-type]
    assert float(ranking_loss(LoopScore(), given, rows).detach()) > 0.01


def test_lessons_hold_the_nearest() -> None:
    given = decoys()
    rows = choose_candidates(given, np.random.default_rng(0))
    near = round(score_training.NEAREST_SHARE * score_training.BATCH_CANDIDATES)
    assert len(set(rows.tolist())) == score_training.BATCH_CANDIDATES
    nearest = set(given.rmsd.argsort()[: score_training.NEAREST_POOL].tolist())
    assert set(rows[:near].tolist()) <= nearest and len(set(rows.tolist()) - nearest) > 0


def test_files_hold_decoys() -> None:
    given = decoys()
    again = decoys_from_arrays(decoys_to_arrays(given))
    for one, two in zip((*given[:3], given.around.xyz), (*again[:3], again.around.xyz), strict=True):
        assert torch.equal(one, two)
    assert again.around.first == FIRST and again.around.length == LAST - FIRST + 1


def test_it_learns_and_a_killed_run_ends_with_the_same_weights(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(training, "WARM_UP", 5)
    learnt, held = [decoys(k) for k in range(3)], [decoys(9)]
    options = {"steps": 60, "seed": 4, "width": 16}
    untrained = LoopScore(seed=4, width=16).eval()
    train_score(learnt, held, tmp_path / "whole", **options)
    train_score(learnt, held, tmp_path / "killed", stop=13, **options)
    train_score(learnt, held, tmp_path / "killed", **options)
    whole, killed = ((tmp_path / name / WEIGHTS).read_bytes() for name in ("whole", "killed"))
    assert whole == killed
    score, card = load_score(tmp_path / "whole" / WEIGHTS)
    assert card["loops"] == 3 and card["options"]["members"] == 1
    with torch.no_grad():
        lost, left = (float(ranking_loss(one, held[0], torch.arange(48))) for one in (untrained, score))
    assert left < 0.7 * lost
    told = summarise_ranking(score, held)["valid_drawn_to_8"]
    drawn = held[0].rmsd[held[0].kind == SAMPLED]
    assert told["nearest"] == pytest.approx(float(drawn.min()), abs=1e-3)
    assert told["nearest"] <= told["best_by_score"] and {SAMPLED, PERTURBED, GUIDED} == {0, 1, 2}


def test_several_networks_are_put_together_as_their_mean(tmp_path: Path) -> None:
    held = [decoys(9)]
    paths = [tmp_path / str(k) / WEIGHTS for k in range(2)]
    for seed, path in enumerate(paths):
        train_score([decoys(1)], held, path.parent, steps=2, seed=seed, width=16)
    value = save_score(tmp_path / WEIGHTS, paths, held, [], {"command": "none"})
    score, card = load_score(tmp_path / WEIGHTS)
    own = [load_score(path) for path in paths]
    said = torch.stack([one.scores(held[0].xyz, held[0].around) for one, _ in own]).mean(0)
    torch.testing.assert_close(score.scores(held[0].xyz, held[0].around), said)
    rows = choose_candidates(held[0], np.random.default_rng(0))
    alone = [float(ranking_loss(one, held[0], rows)) for one, _ in own]
    # the divergence is convex in the scores: together they are no worse than in the mean
    assert card["valid_loss"] == value == pytest.approx(float(ranking_loss(score, held[0], rows)))
    assert value <= sum(alone) / 2
    assert card["options"]["members"] == 2 and "valid_drawn_to_8" in card and card["command"] == "none"


def test_rounds_are_mixed_weight_by_weight(tmp_path: Path) -> None:
    rounds = [[tmp_path / f"{number}" / f"{k}" / WEIGHTS for k in range(2)] for number in range(3)]
    for seed, path in enumerate(path for parts in rounds for path in parts):
        path.parent.mkdir(parents=True)
        one = LoopScore(seed=seed, width=8)
        save_weights(path, one.state_dict(), {"options": one.options})
    for number, path in enumerate(average_rounds(rounds, tmp_path / "mean")):
        found = load_score(path)[0].state_dict()
        every = [load_score(parts[number])[0].state_dict() for parts in rounds]
        for name, value in found.items():
            torch.testing.assert_close(value, sum(own[name] for own in every) / 3)


def test_hydrogen_bonds_are_those_of_a_helix_and_no_others() -> None:
    """Ubiquitin's helix 23-34: each N-H from the fifth residue on gives a bond to the O four before."""
    structure = read(STRUCTURES / "1ubi.pdb")
    steering = structure.steering_mask
    first, last = find_range(structure, "A:25-32")
    native = backbone_of(structure, first, last, steering, structure.xyz[None]).float()
    gives, takes = featurise(native, surroundings(structure, first, last, steering)).own[0, :, -2:].unbind(-1)
    assert bool((gives[2:] > 0.2).all()) and bool((takes[:-2] > 0.2).all())
    away = featurise(native + 60.0, surroundings(structure, first, last, steering)).own[0, :, -2:]
    assert float(away[:2, 0].max()) == 0.0, "the first two have nobody of the loop four before them"
