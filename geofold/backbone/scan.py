"""Associative scans in plain torch: a recurrence over T steps in about log2 T rounds, differentiable.

Glossary: ``T`` steps, the first dimension of everything scanned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Elements = tuple[Tensor, ...]
Combine = Callable[[Elements, Elements], Elements]

RADIX = 16
"""Steps of a block of `linear_scan`."""


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


def linear_scan(a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    """All h_t = a_t h_(t-1) + b_t, element by element.

    An associative scan with a wide radix: blocks of `RADIX` steps go step by step, all blocks at once, and the ends of
    the blocks are scanned in the same way. The pass backwards is such a scan too, from the end. Each number is written
    three times a pass, where a binary tree would need a dozen.

    Parameters
    ----------
    a : Tensor (T, ...)
        As many dimensions as b, some of size one where a does not differ. Real or complex, as b is.
    b : Tensor (T, ...)
    start : Tensor (...)
        h before the first step, in the shape of one step of b or one that broadcasts to it.

    Returns
    -------
    Tensor (T, ...)
        Differentiable once.
    """
    found: Tensor = _LinearScan.apply(a, b, start)
    return found


class _LinearScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, start: Tensor) -> Tensor:
        h = _scanned(a, b, start.expand(b.shape[1:]))
        ctx.save_for_backward(a, h, start)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, h, start = ctx.saved_tensors
        back = a.conj()
        # what arrives at h_t: its own gradient, and a_(t+1) times what arrives at h_(t+1)
        later = torch.cat([back[1:], torch.zeros_like(back[:1])]).flip(0)
        arrived = _scanned(later, seen.flip(0), torch.zeros_like(h[0])).flip(0)
        by_start = (back[0] * arrived[0]).sum_to_size(start.shape)
        if a.shape == h.shape:
            by_a = torch.empty_like(h)
            torch.mul(arrived[1:], h[:-1].conj(), out=by_a[1:])
            by_a[0] = arrived[0] * start.conj()
        else:
            before = torch.cat([start.expand(h.shape[1:])[None], h[:-1]])
            by_a = (arrived * before.conj()).sum_to_size(a.shape)
        return by_a, arrived, by_start


def _scanned(a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    """`linear_scan` without a graph."""
    length, blocks = len(b), len(b) // RADIX
    h = torch.empty_like(b)
    if length < 2 * RADIX:
        for t in range(length):
            start = torch.addcmul(b[t], a[t], start, out=h[t])
        return h
    whole = blocks * RADIX
    into, added, grown = (v[:whole].unflatten(0, (blocks, RADIX)) for v in (h, b, a))
    product = torch.empty_like(grown)
    into[:, 0], product[:, 0] = added[:, 0], grown[:, 0]
    for k in range(1, RADIX):
        torch.addcmul(added[:, k], grown[:, k], into[:, k - 1], out=into[:, k])
        torch.mul(product[:, k - 1], grown[:, k], out=product[:, k])
    ends = _scanned(product[:, -1], into[:, -1], start)
    into.addcmul_(product, torch.cat([start[None], ends[:-1]])[:, None])
    if whole < length:
        h[whole:] = _scanned(a[whole:], b[whole:], ends[-1])
    return h
