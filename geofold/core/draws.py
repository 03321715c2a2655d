"""Random numbers of torch modules from a generator of our own, where their constructors take none."""

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
"""What initial weights are drawn by; each takes a generator. Those of `init` are seen whole: what they call is not."""


class DrawsFrom(TorchFunctionMode):
    """A context in which this thread's draws of initial weights come from a seed of their own.

    ``torch.manual_seed`` would set the generator of the whole process, under ``fork_rng`` too: other threads would
    draw from it meanwhile, and change the weights. On the CPU the numbers are those after ``torch.manual_seed(seed)``.

    Parameters
    ----------
    seed : int
        Of the generator.
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
