"""Counted operations compared with known numbers."""

from __future__ import annotations

import pytest
import torch

from geofold.backbone.registry import build_backbone
from geofold.bench.common.flops import count_operations
from geofold.kernels.library import available, plain


def test_a_product_counts_two_for_each_multiply_add() -> None:
    a, b = torch.ones(3, 4), torch.ones(4, 5)
    assert count_operations(lambda: a @ b) == 2 * 3 * 4 * 5
    assert (
        count_operations(lambda: torch.einsum("bij,bjk->bik", a.expand(2, 3, 4), b.expand(2, 4, 5)))
        == 2 * 2 * 3 * 4 * 5
    )


def test_operations_that_only_move_numbers_are_free() -> None:
    a = torch.ones(3, 4)
    assert count_operations(lambda: (a.mT, a[1:], a.reshape(-1), torch.cat([a, a]), a.clone(), torch.zeros(7))) == 0


def test_elementwise_work_counts_its_numbers() -> None:
    a, b = torch.ones(3, 4), torch.ones(3, 4)
    assert count_operations(lambda: a.sin()) == 12
    assert (
        count_operations(lambda: a.sum()) == count_operations(lambda: a + b) == count_operations(lambda: a + 1.0) == 12
    )
    assert count_operations(lambda: torch.arange(5) + 1) == 0, "integers are not floating-point operations"


def test_solvers_grow_with_the_cube() -> None:
    def spent(n: int) -> float:
        a = torch.eye(n, dtype=torch.float64)[None]
        return count_operations(lambda: torch.linalg.cholesky(a))

    assert spent(64) / spent(32) == pytest.approx(8.0, rel=0.1)


def test_repeated_work_counts_twice() -> None:
    layer = torch.nn.Linear(8, 8)
    x = torch.ones(2, 8)
    once = count_operations(lambda: layer(x))
    assert once > 0 and count_operations(lambda: (layer(x), layer(x))) == 2 * once


@pytest.mark.skipif(not available(), reason="no compiler here")
def test_the_work_of_a_kernel_is_counted() -> None:
    model = build_backbone("selective", 4, 3).requires_grad_(False)
    x, memory = torch.ones(1, 4), model.init_state(1)
    step = torch.no_grad()(lambda: model.step(x, memory))
    with plain():
        expected = count_operations(step)
    assert count_operations(step) == expected > 0 and available()
