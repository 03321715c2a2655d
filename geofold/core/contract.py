"""What the contract checks are made of: one error, comparisons that explain themselves, watched arguments."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor


class ContractError(ValueError):
    """A promise that was broken: where, what was found, what the contract says, what to do."""

    def __init__(self, where: str, found: str, expected: str, advice: str) -> None:
        super().__init__(f"{where}: found {found}; expected {expected}; {advice}")
        self.where = where


class Probe:
    """Random directions, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._noise = torch.Generator().manual_seed(seed)

    def like(self, tensor: Tensor) -> Tensor:
        """Standard normal numbers of a tensor's shape and type."""
        return torch.randn(tensor.shape, generator=self._noise, dtype=torch.float64).to(tensor)


def require(holds: bool, where: str, found: str, expected: str, advice: str) -> None:
    """Raise unless a promise holds."""
    if not holds:
        raise ContractError(where, found, expected, advice)


def require_shape(where: str, value: Any, shape: tuple[int | None, ...]) -> Tensor:
    """The value, if it is a tensor of this shape (None: any length)."""
    told = "(" + ", ".join("any" if k is None else str(k) for k in shape) + ")"
    require(isinstance(value, Tensor), where, type(value).__name__, f"a tensor {told}", "return a tensor")
    fits = len(value.shape) == len(shape) and all(k is None or k == n for k, n in zip(shape, value.shape, strict=True))
    require(fits, where, f"shape {tuple(value.shape)}", f"{told}", "keep the batch first, one row per stream")
    return value


def require_finite(where: str, value: Tensor) -> Tensor:
    """The value, if it has neither NaN nor infinity."""
    bad = int((~value.isfinite()).sum())
    require(not bad, where, f"{bad} values that are not finite", "finite numbers", "say valid = False instead")
    return value


def require_close(
    where: str, found: Tensor, wanted: Tensor, expected: str, advice: str, tolerance: float, floor: float = 0.0
) -> None:
    """Raise unless two tensors agree, to a share of the largest entry (and an absolute floor)."""
    same = tuple(found.shape) == tuple(wanted.shape)
    require(same, where, f"shape {tuple(found.shape)}", f"shape {tuple(wanted.shape)}", advice)
    if not found.numel():
        return
    gap = float((found - wanted).abs().max())
    scale = float(wanted.abs().max())
    close = gap <= tolerance * scale + floor + (1e-12 if tolerance else 0.0)
    require(close, where, f"a difference of {gap:.3g} in {scale:.3g}", expected, advice)


@contextmanager
def require_unchanged(where: str, name: str, value: Any) -> Iterator[None]:
    """Raise if what is done inside changes a value that was given."""
    before = copy.deepcopy(_parts(value))
    yield
    after = _parts(value)
    same = len(before) == len(after) and all(_equal(a, b) for a, b in zip(before, after, strict=True))
    require(same, where, f"that it changed the {name} it was given", "no argument is ever changed", "return a new one")


def _parts(value: Any) -> list[Any]:
    """Tensors and plain values of a nest, in order; what cannot be looked into is left out."""
    if isinstance(value, Tensor):
        return [value.detach()]
    if isinstance(value, dict):
        return [part for key in value for part in _parts(value[key])]
    if isinstance(value, tuple | list):
        return [part for item in value for part in _parts(item)]
    if is_dataclass(value) and not isinstance(value, type):
        return [part for f in fields(value) for part in _parts(getattr(value, f.name))]
    return [value] if isinstance(value, int | float | str | bool) else []


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())
    return bool(one == other)
