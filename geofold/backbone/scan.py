"""Associative scans in plain torch: a recurrence over T steps in about log2 T rounds, differentiable.

Glossary: ``T`` steps, the first dimension of everything scanned.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Elements = tuple[Tensor, ...]
Combine = Callable[[Elements, Elements], Elements]

CHUNK = 256
"""Steps that are scanned at once; longer sequences go chunk by chunk, so that memory stays in the caches."""


def associative_scan(combine: Combine, elements: Elements) -> Elements:
    """All prefixes e_0, e_0 * e_1, ..., e_0 * ... * e_(T-1) of an associative product.

    Neighbours are multiplied, the half-as-long sequence is scanned, and the other half is filled in (Blelloch 1990):
    about 2 T products in 2 log2 T rounds.

    Parameters
    ----------
    combine : callable
        Product of two tuples of tensors (earlier, later), batched over the first dimension.
    elements : tuple of Tensor (T, ...)
    """
    length = len(elements[0])
    if length < 2:
        return elements
    pairs = combine(tuple(e[0 : length - 1 : 2] for e in elements), tuple(e[1::2] for e in elements))
    odd = associative_scan(combine, pairs)
    before = tuple(o[: (length - 1) // 2] for o in odd)
    even = combine(before, tuple(e[2::2] for e in elements)) if length > 2 else before
    return tuple(_interleaved(e[:1], v, o) for e, v, o in zip(elements, even, odd, strict=True))


def _interleaved(first: Tensor, even: Tensor, odd: Tensor) -> Tensor:
    """first, odd_0, even_0, odd_1, even_1, ..."""
    head = torch.cat([first, even]) if len(even) else first
    count = min(len(head), len(odd))
    mixed = torch.stack([head[:count], odd[:count]], 1).flatten(0, 1)
    return torch.cat([mixed, head[count:]]) if len(head) > count else mixed


def _affine(earlier: Elements, later: Elements) -> Elements:
    """(a, b) stands for h -> a h + b."""
    (a, b), (c, d) = earlier, later
    return a * c, torch.addcmul(d, c, b)


def linear_scan(a: Tensor, b: Tensor, start: Tensor, chunk: int = CHUNK) -> Tensor:
    """All h_t = a_t h_(t-1) + b_t, element by element.

    Parameters
    ----------
    a : Tensor (T, ...)
        As many dimensions as b, some of size one where a does not differ.
    b : Tensor (T, ...)
    start : Tensor (...)
        h before the first step.

    Returns
    -------
    Tensor (T, ...)
    """
    parts = []
    for k in range(0, len(b), chunk):
        grown, sums = associative_scan(_affine, (a[k : k + chunk], b[k : k + chunk]))
        parts.append(torch.addcmul(sums, grown, start))
        start = parts[-1][-1]
    return torch.cat(parts) if len(parts) != 1 else parts[0]
