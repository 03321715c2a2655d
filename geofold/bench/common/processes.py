"""A pool of worker processes with one torch thread each, under a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import Progress

from geofold.modelling.threads import use_one_thread

Result = TypeVar("Result")


def run_jobs(
    name: str, function: Callable[..., Result], jobs: Sequence[tuple[Any, ...]], workers: int
) -> Iterator[Result]:
    """Yield the results of `function(*job)` in the order in which the jobs end.

    Parameters
    ----------
    name : str
        Label of the progress bar on standard error.
    function : callable
        Defined at the top of a module, so that it can be sent to another process.
    jobs : sequence of tuple
        Arguments of each call.
    workers : int
        Number of processes. Each computes on one torch thread, so that times can be compared and sums keep their order.

    Raises
    ------
    Exception
        Whatever a call raises, when its result is due.
    """
    console = Console(stderr=True)
    with Progress(console=console) as bar, ProcessPoolExecutor(workers, initializer=use_one_thread) as pool:
        task = bar.add_task(name, total=len(jobs))
        for done in as_completed([pool.submit(function, *job) for job in jobs]):
            yield done.result()
            bar.advance(task)
