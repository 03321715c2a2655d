"""Single-threaded torch. torch itself is imported on first use, so that this module loads at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread within the context.

    Small tensors gain nothing from more threads, and a fixed order of summation makes results bitwise reproducible.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def use_one_thread() -> None:
    """Restrict torch to one thread for the rest of this process; see `one_thread`."""
    import torch

    torch.set_num_threads(1)
