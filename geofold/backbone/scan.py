"""Differentiable associative scans in torch: a recurrence over T steps in about log2 T rounds.

Glossary: ``T`` steps, the first dimension of everything scanned.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Elements = tuple[Tensor, ...]
Combine = Callable[[Elements, Elements], Elements]

BLOCK_STEPS = 16
"""Number of steps in a block of `linear_scan`."""


def associative_scan(combine: Combine, elements: Elements) -> Elements:
    """Compute all prefixes e_0, e_0 * e_1, ..., e_0 * ... * e_(T-1) of an associative product.

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
    return tuple(_interleave(e[:1], v, o) for e, v, o in zip(elements, even, odd, strict=True))


def _interleave(first: Tensor, even: Tensor, odd: Tensor) -> Tensor:
    """first, odd_0, even_0, odd_1, even_1, ..."""
    head = torch.cat([first, even]) if len(even) else first
    count = min(len(head), len(odd))
    mixed = torch.stack([head[:count], odd[:count]], 1).flatten(0, 1)
    return torch.cat([mixed, head[count:]]) if len(head) > count else mixed


def linear_scan(a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    """Compute all h_t = a_t h_(t-1) + b_t, elementwise.

    Associative scan with a wide radix: blocks of `BLOCK_STEPS` steps are processed step by step, all blocks at once,
    and the ends of the blocks are scanned recursively. The backward pass is such a scan from the end. Each number is
    written three times per pass, against about twelve times in a binary tree.

    Parameters
    ----------
    a : Tensor (T, ...)
        As many dimensions as b, of size one where a is constant. Real or complex, as b.
    b : Tensor (T, ...)
    start : Tensor (...)
        h before the first step, broadcast to one step of b.

    Returns
    -------
    Tensor (T, ...)
        Differentiable once.
    """
    states: Tensor = _LinearScan.apply(a, b, start)
    return states


class _LinearScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, start: Tensor) -> Tensor:
        h = torch.empty_like(b)
        scan_into(h, a, b, start.expand(b.shape[1:]))
        ctx.save_for_backward(a, h, start)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, h, start = ctx.saved_tensors
        back = a.conj().resolve_conj()
        # Gradient of h_t: its own, plus a_(t+1) times that of h_(t+1).
        by_h = torch.empty_like(h)
        by_h[-1] = gradient[-1]
        scan_into(by_h[:-1], back[1:], gradient[:-1], gradient[-1], reverse=True)
        by_start = (back[0] * by_h[0]).sum_to_size(start.shape)
        by_a = torch.empty_like(h)
        torch.mul(by_h[1:], h[:-1].conj(), out=by_a[1:])
        by_a[0] = by_h[0] * start.conj()
        return by_a.sum_to_size(a.shape), by_h, by_start


def scan_into(h: Tensor, a: Tensor, b: Tensor, start: Tensor, *, reverse: bool = False) -> None:
    """Write the scan into h, which may be b: h_t = a_t h_(t-1) + b_t, or (`reverse`) h_t = a_t h_(t+1) + b_t.

    No graph is recorded.

    Parameters
    ----------
    h, b : (T, ...)
    a : (T, ...)
        As in `linear_scan`.
    start : (...)
        State before the first step (`reverse`: after the last), in the shape of one step.
    reverse : bool
        Scan from the end.
    """
    length = len(b)
    if length < 2 * BLOCK_STEPS:
        for t in reversed(range(length)) if reverse else range(length):
            start = torch.addcmul(b[t], a[t], start, out=h[t])
        return
    blocks = length // BLOCK_STEPS
    spare = length - blocks * BLOCK_STEPS
    # In the order of the scan, the blocks come first and the spare steps last.
    whole, rest = (
        (slice(spare, None), slice(0, spare)) if reverse else (slice(length - spare), slice(length - spare, None))
    )
    into, added, grown = (v[whole].unflatten(0, (blocks, BLOCK_STEPS)) for v in (h, b, a))
    product = torch.empty_like(grown)
    order = range(BLOCK_STEPS - 1, -1, -1) if reverse else range(BLOCK_STEPS)
    first, last = order[0], order[-1]
    into[:, first], product[:, first] = added[:, first], grown[:, first]
    for before, k in pairwise(order):
        torch.addcmul(added[:, k], grown[:, k], into[:, before], out=into[:, k])
        torch.mul(product[:, before], grown[:, k], out=product[:, k])
    ends = torch.empty_like(into[:, last])
    scan_into(ends, product[:, last], into[:, last], start, reverse=reverse)
    into.addcmul_(product, torch.cat([ends[1:], start[None]] if reverse else [start[None], ends[:-1]])[:, None])
    if spare:
        scan_into(h[rest], a[rest], b[rest], ends[0 if reverse else -1], reverse=reverse)
