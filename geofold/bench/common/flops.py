"""Count floating-point operations as torch dispatches them.

A matrix product counts two operations per multiply-add (formulas of `torch.utils.flop_counter`), a dense solver or
factorisation its leading term, any other computation one operation per element of its largest operand or result. Views
and copies are free. Small-tensor kinematics and large networks are thus measured in one unit. Kernels, which torch does
not dispatch, are replaced by the plain functions while operations are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from geofold.kernels.library import plain

FREE_OPERATIONS = {
    "detach", "clone", "copy_", "_to_copy", "empty", "empty_like", "empty_strided", "new_empty", "zeros", "zeros_like",
    "new_zeros", "ones", "ones_like", "new_ones", "full", "full_like", "new_full", "fill_", "zero_", "arange", "eye",
    "scalar_tensor", "lift_fresh", "cat", "stack", "index_select", "gather", "index", "constant_pad_nd", "repeat",
    "_local_scalar_dense", "resize_", "set_", "linspace", "embedding", "flip", "roll",
}  # fmt: skip
"""Operations that move numbers without computing."""


def _cubic(share: float) -> Callable[[Tensor], float]:
    """FLOPs of dense factorisations of (..., n, n) as a fraction of n^3."""
    return lambda a: share * a.shape[-1] ** 3 * (a.numel() / max(a.shape[-1] * a.shape[-2], 1))


DENSE_OPERATIONS: dict[str, Callable[[Tensor], float]] = {
    "linalg_cholesky_ex": _cubic(1 / 3),
    "_linalg_solve_ex": _cubic(2 / 3),
    "linalg_inv_ex": _cubic(2.0),
    "_linalg_eigh": _cubic(9.0),
    "linalg_lu_factor_ex": _cubic(2 / 3),
    "_linalg_svd": _cubic(20.0),
    "linalg_qr": _cubic(4 / 3),
}
"""Leading terms from Golub and Van Loan, Matrix Computations (4th ed.)."""


class OperationCounter(TorchDispatchMode):
    """Counts the operations inside a ``with`` block; the result is the attribute `total`."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0
        self._plain = ExitStack()

    def __enter__(self) -> Self:
        self._plain.enter_context(plain())
        return super().__enter__()

    def __exit__(self, *reason: Any) -> None:
        super().__exit__(*reason)
        self._plain.close()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.total += self._count(func, args, kwargs or {}, out)
        return out

    @staticmethod
    def _count(func: Any, args: Any, kwargs: dict[str, Any], out: Any) -> float:
        operation = func._overloadpacket
        if operation in flop_registry:
            return float(flop_registry[operation](*args, **kwargs, out_val=out))
        name = operation.__name__
        if name in DENSE_OPERATIONS:
            return DENSE_OPERATIONS[name](args[0])
        if name in FREE_OPERATIONS or func.is_view:
            return 0.0
        results = [part.numel() for part in tree_leaves(out) if _is_floating(part)]
        operands = [part.numel() for part in tree_leaves((args, kwargs)) if _is_floating(part)]
        return float(max(operands + results)) if results else 0.0


def _is_floating(part: Any) -> bool:
    return isinstance(part, Tensor) and (part.is_floating_point() or part.is_complex())


def count_operations(work: Callable[[], Any]) -> float:
    """Return the floating-point operations of a call, which is made once (and slower than usual)."""
    with OperationCounter() as counter:
        work()
    return counter.total
