"""One torch thread. Nothing heavy is imported before it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread for a while: small tensors gain nothing from more, and sums keep their order, so bits repeat."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
