"""Floating-point operations of a piece of work, counted as torch dispatches them.

Products of matrices count two operations a multiply-add (`torch.utils.flop_counter`'s formulas); dense solvers and
factorisations their leading term; whatever else computes counts one operation for each number of its largest operand or
result; views and copies count nothing. So small-tensor kinematics and large networks are told in one unit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

FREE = {
    "detach", "clone", "copy_", "_to_copy", "empty", "empty_like", "empty_strided", "new_empty", "zeros", "zeros_like",
    "new_zeros", "ones", "ones_like", "new_ones", "full", "full_like", "new_full", "fill_", "zero_", "arange", "eye",
    "scalar_tensor", "lift_fresh", "cat", "stack", "index_select", "gather", "index", "constant_pad_nd", "repeat",
    "_local_scalar_dense", "resize_", "set_", "linspace", "embedding", "flip", "roll",
}  # fmt: skip
"""Operations that move numbers and compute none."""


def _cube(share: float) -> Callable[[Tensor], float]:
    """Operations of a dense factorisation of (..., n, n): a share of n^3 for each."""
    return lambda a: share * a.shape[-1] ** 3 * (a.numel() / max(a.shape[-1] * a.shape[-2], 1))


DENSE: dict[str, Callable[[Tensor], float]] = {
    "linalg_cholesky_ex": _cube(1 / 3), "_linalg_solve_ex": _cube(2 / 3), "linalg_inv_ex": _cube(2.0),
    "_linalg_eigh": _cube(9.0), "linalg_lu_factor_ex": _cube(2 / 3), "_linalg_svd": _cube(20.0),
    "linalg_qr": _cube(4 / 3),
}  # fmt: skip
"""Golub and Van Loan, Matrix Computations (4th ed.), tables of the sections on each."""


class Operations(TorchDispatchMode):
    """Counts while it is entered: ``with Operations() as counted: ...``, then `counted.total`."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.total += self._of(func, args, kwargs or {}, out)
        return out

    @staticmethod
    def _of(func: Any, args: Any, kwargs: dict[str, Any], out: Any) -> float:
        packet = func._overloadpacket
        if packet in flop_registry:
            return float(flop_registry[packet](*args, **kwargs, out_val=out))
        name = packet.__name__
        if name in DENSE:
            return DENSE[name](args[0])
        if name in FREE or func.is_view:
            return 0.0
        made = [part.numel() for part in tree_leaves(out) if _real(part)]
        given = [part.numel() for part in tree_leaves((args, kwargs)) if _real(part)]
        return float(max(given + made)) if made else 0.0


def _real(part: Any) -> bool:
    return isinstance(part, Tensor) and (part.is_floating_point() or part.is_complex())


def operations(work: Callable[[], Any]) -> float:
    """Floating-point operations of a call; it runs once, slower than usual."""
    with Operations() as counted:
        work()
    return counted.total
