"""Initial weights of torch modules from a generator of their own, where constructors accept none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import init
from torch.overrides import TorchFunctionMode

DRAWS: frozenset[Any] = frozenset({
    torch.rand, torch.randn, torch.normal, torch.Tensor.uniform_, torch.Tensor.normal_,
    init.uniform_, init.normal_, init.kaiming_uniform_,
})  # fmt: skip
"""Functions that draw initial weights; each takes a generator. Functions of `init` are intercepted as a whole."""


class DrawsFrom(TorchFunctionMode):
    """Context in which initial weights that this thread draws come from a generator with the given seed.

    ``torch.manual_seed`` would set the generator of the whole process, also under ``fork_rng``; other threads that draw
    from it meanwhile would change the weights. On the CPU the numbers equal those after ``torch.manual_seed(seed)``.

    Parameters
    ----------
    seed : int
        Seed of the generator.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        options = dict(kwargs or {})
        if func in DRAWS and options.get("generator") is None:
            options["generator"] = self.generator
        return func(*args, **options)
