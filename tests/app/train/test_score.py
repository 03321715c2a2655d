"""Training of the potential of loops: what each round does, and complete runs on a small scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data_cases import small_data

from geofold.app.train import score, score_decoys, score_loops
from geofold.app.train.score import plan
from geofold.app.train.score_options import ScoreRun
from geofold.cli import main
from geofold.learn.loop_score import training as score_training
from geofold.learn.loop_score.decoys import EVOLVED
from geofold.learn.loop_score.model import WEIGHTS, LoopScore, load_score
from geofold.modelling import controllers
from geofold.modelling.search import decoys as search_decoys
from geofold.modelling.search.effort import Effort

RUN = ScoreRun(
    data="backbones.npz",
    out="out",
    loops=100,
    searches=20,
    rounds=2,
    steps=60,
    members=2,
    irregular=0.5,
    init_weights=None,
    width=96,
    seed=0,
)
OUT = Path("out")
FURTHER = replace(RUN, init_weights="ready/score.safetensors")
CARD = {"rounds": 3}


def test_rounds_from_scratch_search_with_the_potential_of_the_round_before() -> None:
    rounds = plan(RUN, None)
    assert [r.number for r in rounds] == [0, 1, 2]
    assert [r.drawn for r in rounds] == [100, 0, 0]
    assert [r.searched_with for r in rounds] == [None, OUT / "round_0" / WEIGHTS, OUT / "round_1" / WEIGHTS]
    assert [r.start_from for r in rounds] == [None, OUT / "round_0", OUT / "round_1"]
    assert [r.steps for r in rounds] == [60, 30, 30]
    assert [r.output for r in rounds] == [OUT / "round_0" / WEIGHTS, OUT / "round_1" / WEIGHTS, OUT / WEIGHTS]
    assert [r.last for r in rounds] == [False, False, True]
    assert not any(r.averaged or r.split for r in rounds)


def test_a_potential_that_is_trained_further_is_the_mean_of_its_further_rounds() -> None:
    rounds = plan(FURTHER, CARD)
    assert [r.number for r in rounds] == [4, 5]
    assert [r.drawn for r in rounds] == [100, 0], "loops are drawn afresh"
    assert rounds[0].searched_with == rounds[0].split == Path("ready/score.safetensors")
    assert [r.start_from for r in rounds] == [OUT / "begun", OUT / "round_4"]
    assert [r.steps for r in rounds] == [30, 30]
    assert [r.averaged for r in rounds] == [(), (OUT / "round_4", OUT)]


def test_a_run_of_one_round_draws_trains_and_ends() -> None:
    (only,) = plan(replace(RUN, rounds=0), None)
    assert only.last and only.searched_with is None and only.output == OUT / WEIGHTS


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return small_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Few decoys, short searches, and all work in this process."""

    def make_in_turn(name: str, folder: Path, jobs: dict, make, workers: int) -> None:
        for path, arguments in jobs.items():
            if not path.exists():
                make(path, *arguments)

    few = Effort(draws=48, crosses=16, generations=1, guided=2, restarts=1, parents=2)
    counts = {"DRAWS": 48, "DRAWN_KEPT": 12, "NEAREST_KEPT": 4, "PERTURBATIONS": 2, "OFFSPRING_POOL": 4, "OFFSPRING": 8}
    counts |= {"GUIDED_OFFSPRING": 1, "GUIDED_NATIVES": 1}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (counts | {"HARD_EFFORT": few, "SEARCH_EFFORT": few}).items():
            patch.setattr(search_decoys, name, value)
        patch.setattr(score_loops, "LENGTHS", (5,))
        patch.setattr(score_loops, "CHAIN_LENGTHS", (20, 400))
        patch.setattr(score_decoys, "CONFIDENCE_LOOPS", 1)
        patch.setattr(score_decoys, "MIN_CANDIDATES", 4)
        for module in (score, score_decoys):
            patch.setattr(module, "make_once", make_in_turn)
        patch.setattr(controllers, "GUIDED_SWEEPS", 1)
        patch.setattr(score_training, "BATCH_CANDIDATES", 8)
        yield


def arguments(data: Path, out: Path, *more: object) -> list[str]:
    counts = ("--loops", 1, "--searches", 1, "--rounds", 1, "--steps", 2)
    return [str(part) for part in ("train", "score", "--data", data, "--out", out, *counts, *more)]


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory) -> Path:
    """Folder of a run from scratch."""
    out = tmp_path_factory.mktemp("trained")
    assert main(arguments(data, out)) == 0
    return out


@pytest.fixture(scope="module")
def further(data: Path, trained: Path, tmp_path_factory) -> Path:
    """Folder of a run that trains the potential of `trained` further."""
    out = tmp_path_factory.mktemp("further")
    assert main(arguments(data, out, "--begin", trained / WEIGHTS)) == 0
    return out


def networks(folder: Path) -> list[LoopScore]:
    return [load_score(path)[0] for path in sorted(folder.glob(f"member_*/{WEIGHTS}"))]


def weight(potential: LoopScore, number: int = 0) -> torch.Tensor:
    return potential.readers[number].pair.weight


def test_the_card_reproduces_the_run(trained: Path) -> None:
    potential, card = load_score(trained / WEIGHTS)
    assert card["command"] == "geofold train score --loops 1 --searches 1 --rounds 1 --steps 2 --members 2 --seed 0"
    assert card["loops"] == 2 and card["rounds"] == 1 and len(card["loop_sha256"]) == 64
    assert potential.options["members"] == len(potential.readers) == 2


def test_decoys_and_searches_are_kept(trained: Path) -> None:
    assert len(list((trained / "decoys").glob("train_0_*.npz"))) == 2
    assert len(list((trained / "searched").glob("*.npz"))) == 1


def test_networks_differ_and_change_from_round_to_round(trained: Path) -> None:
    first, last = load_score(trained / "round_0" / WEIGHTS)[0], load_score(trained / WEIGHTS)[0]
    assert not torch.equal(weight(last, 0), weight(last, 1))
    assert not torch.equal(weight(first), weight(last))


def test_the_same_command_again_changes_nothing(data: Path, trained: Path, capsys) -> None:
    content = (trained / WEIGHTS).read_bytes()
    assert main(arguments(data, trained)) == 0
    assert (trained / WEIGHTS).read_bytes() == content
    assert "trained on 2 loops" in capsys.readouterr().out


def test_training_further_starts_from_the_given_networks(trained: Path, further: Path) -> None:
    before, after = load_score(trained / WEIGHTS)[0], load_score(further / WEIGHTS)[0]
    for number, start in enumerate(networks(further / "begun")):
        assert torch.equal(weight(start), weight(before, number))
        assert not torch.equal(weight(after, number), weight(before, number))


def test_the_card_of_a_further_run_names_what_it_started_from(trained: Path, further: Path) -> None:
    before, after = load_score(trained / WEIGHTS)[1], load_score(further / WEIGHTS)[1]
    assert after["begun_sha256"] == before["sha256"] and after["rounds"] == before["rounds"] + 1
    assert after["command"] == before["command"] + " --begin score.safetensors"


def test_a_further_run_searches_for_other_loops(trained: Path, further: Path) -> None:
    (path,) = (further / "decoys").glob("train_*")
    assert path.name not in [earlier.name for earlier in (trained / "decoys").iterdir()]
    assert bool((np.load(path)["kind"] == EVOLVED).any())


def test_a_narrow_potential_is_trained_further_in_its_own_width(data: Path, tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    assert main(arguments(data, before, "--width", 16, "--irregular", 0.25)) == 0
    assert main(arguments(data, after, "--begin", before / WEIGHTS)) == 0
    (narrow, card), (further, _) = load_score(before / WEIGHTS), load_score(after / WEIGHTS)
    assert narrow.options["width"] == further.options["width"] == 16
    assert card["command"].endswith(" --irregular 0.25 --width 16")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--begin", WEIGHTS, "--members", 3), "--members 3"),
        (("--begin", WEIGHTS, "--rounds", 0), "--rounds 0"),
    ],
)
def test_options_that_exclude_one_another_are_refused(
    options: tuple[object, ...], message: str, data: Path, trained: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(trained)
    assert main(arguments(data, tmp_path / "out", *options)) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()
