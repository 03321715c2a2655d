"""Parts of the contract checks: the error, comparisons with explanations, and detection of modified arguments."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor


class ContractError(ValueError):
    """Violation of a contract: place, value found, value expected, advice."""

    def __init__(self, where: str, actual: str, expected: str, advice: str) -> None:
        super().__init__(f"{where}: found {actual}; expected {expected}; {advice}")
        self.where = where


class Probe:
    """Source of reproducible random directions."""

    def __init__(self, seed: int) -> None:
        self._noise = torch.Generator().manual_seed(seed)

    def like(self, tensor: Tensor) -> Tensor:
        """Draw standard normal numbers with the shape and type of a tensor."""
        return torch.randn(tensor.shape, generator=self._noise, dtype=torch.float64).to(tensor)


def require(holds: bool, where: str, actual: str, expected: str, advice: str) -> None:
    """Raise a `ContractError` with the given texts unless a condition holds.

    Parameters
    ----------
    holds : bool
    where, actual, expected, advice : str
        Texts of the error.

    Raises
    ------
    ContractError
    """
    if not holds:
        raise ContractError(where, actual, expected, advice)


def require_shape(where: str, value: Any, shape: tuple[int | None, ...]) -> Tensor:
    """Return the value if it is a tensor of this shape (None: any length); otherwise raise a `ContractError`."""
    shape_text = "(" + ", ".join("any" if k is None else str(k) for k in shape) + ")"
    require(isinstance(value, Tensor), where, type(value).__name__, f"a tensor {shape_text}", "return a tensor")
    fits = len(value.shape) == len(shape) and all(k is None or k == n for k, n in zip(shape, value.shape, strict=True))
    require(fits, where, f"shape {tuple(value.shape)}", f"{shape_text}", "keep the batch first, one row per stream")
    return value


def require_finite(where: str, value: Tensor) -> Tensor:
    """Return the value if all of its entries are finite; otherwise raise a `ContractError`."""
    bad = int((~value.isfinite()).sum())
    require(not bad, where, f"{bad} values that are not finite", "finite numbers", "set valid = False instead")
    return value


def require_close(
    where: str, actual: Tensor, reference: Tensor, expected: str, advice: str, tolerance: float, floor: float = 0.0
) -> None:
    """Raise a `ContractError` unless two tensors agree.

    Parameters
    ----------
    where : str
    actual, reference : Tensor
    expected, advice : str
        Texts of the error.
    tolerance : float
        Tolerance relative to the largest entry of the reference.
    floor : float
        Absolute tolerance, added to the relative one.

    Raises
    ------
    ContractError
    """
    same = tuple(actual.shape) == tuple(reference.shape)
    require(same, where, f"shape {tuple(actual.shape)}", f"shape {tuple(reference.shape)}", advice)
    if not actual.numel():
        return
    gap = float((actual - reference).abs().max())
    scale = float(reference.abs().max())
    close = gap <= tolerance * scale + floor + (1e-12 if tolerance else 0.0)
    require(close, where, f"a difference of {gap:.3g} in {scale:.3g}", expected, advice)


@contextmanager
def require_unchanged(where: str, name: str, value: Any) -> Iterator[None]:
    """Raise a `ContractError` if the body of the context modifies the value."""
    before = copy.deepcopy(_parts(value))
    yield
    after = _parts(value)
    same = len(before) == len(after) and all(_equal(a, b) for a, b in zip(before, after, strict=True))
    require(same, where, f"a modified argument {name}", "arguments that are never modified", "return a new value")


def _parts(value: Any) -> list[Any]:
    """Tensors and plain values of a nest, in order; values of other types are skipped."""
    if isinstance(value, Tensor):
        return [value.detach()]
    if isinstance(value, dict):
        return [part for key in value for part in _parts(value[key])]
    if isinstance(value, tuple | list):
        return [part for item in value for part in _parts(item)]
    if is_dataclass(value) and not isinstance(value, type):
        return [part for f in fields(value) for part in _parts(getattr(value, f.name))]
    return [value] if isinstance(value, int | float | str | bool) else []


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor):
        return first.shape == second.shape and torch.equal(first.nan_to_num(), second.nan_to_num())
    return bool(first == second)
