"""Initial weights: those of `torch.manual_seed`, without its generator and whatever other threads draw."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from draws import other_draws
from torch import nn

import geofold
from geofold.backbone.registry import BACKBONE_NAMES, build_backbone
from geofold.core.draws import DrawsFrom
from geofold.learn.loop_denoiser.model import LoopModel
from geofold.learn.loop_score.model import LoopScore


def weights(module: nn.Module) -> torch.Tensor:
    """All weights as one vector."""
    return torch.cat([value.flatten().double() for value in module.state_dict().values()])


def drawn() -> list[torch.Tensor]:
    """Some of everything that is drawn."""
    layers = nn.Linear(5, 4), nn.Embedding(3, 4), nn.Conv1d(2, 2, 3)
    return [*map(weights, layers), torch.rand(3), torch.randn(2), torch.normal(0.0, torch.ones(3))]


def test_the_numbers_are_those_of_the_global_generator_which_is_left_alone() -> None:
    state = torch.get_rng_state()
    with DrawsFrom(7):
        one = drawn()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(7)
    try:
        other = drawn()
    finally:
        torch.set_rng_state(state)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", sorted(BACKBONE_NAMES))
def test_no_backbone_draws_from_the_global_generator(name: str) -> None:
    state = torch.get_rng_state()
    build_backbone(name, 8, 6, width=16, depth=2, seed=3)
    assert torch.equal(torch.get_rng_state(), state)


def test_initial_weights_are_the_same_next_to_a_thread_that_draws() -> None:
    def made() -> torch.Tensor:
        return torch.cat([weights(LoopModel(seed=4)), weights(LoopScore(seed=4))])

    alone = made()
    with other_draws():
        assert all(torch.equal(made(), alone) for _ in range(5))


def test_nothing_in_the_package_seeds_a_generator_that_threads_share() -> None:
    """Not ``random.seed``, ``numpy.random.seed``, nor ``torch.manual_seed``."""
    shared = re.compile(
        r"\b(?:np|numpy)\.random\.(?:seed|rand\w*|normal|choice|shuffle|permutation)\(|(?<![\w.])random\.[a-z]\w*\("
        r"|\btorch\.(?:manual_seed|seed|set_rng_state)\(|fork_rng"
    )
    found = [
        f"{path.name}:{number}: {line.strip()}"
        for path in sorted(Path(geofold.__file__).parent.rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if shared.search(line) and "``" not in line
    ]
    assert not found
