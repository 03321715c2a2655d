"""Other users of the random generators that a process shares."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def other_draws() -> Iterator[None]:
    """A thread that draws from Python's, numpy's and torch's global generators until the block ends."""
    over = threading.Event()

    def draw() -> None:
        while not over.is_set():
            random.random()
            np.random.random()
            torch.rand(1)

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
