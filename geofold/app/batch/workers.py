"""Workers for a batch: processes of this machine, a running dask scheduler's, or Slurm's."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geofold.errors import OptionError, WorkersError

if TYPE_CHECKING:
    from distributed import Client

PATIENCE = 10.0
"""Seconds in which a scheduler has to answer."""
SETTINGS = {
    # a worker has one job and no queue: where it dies, no other job is blamed for it
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.allowed-failures": 1,
}
QUIET = {"dashboard_address": "127.0.0.1:0"}
"""Of a scheduler of our own: any free port, seen from this machine only, and no word of it."""

UNINTERRUPTED = ["import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"]
"""Run in each process of ours: Ctrl-C is for the one that leads, which ends the others without a word."""


@dataclass(frozen=True)
class Workers:
    """Who is to work; see `geofold.app.batch.run.batch`."""

    count: int | None
    scheduler: str | None
    slurm: bool
    memory: str
    walltime: str
    sbatch: tuple[str, ...]

    def require(self) -> None:
        """Complain before anything starts.

        Raises
        ------
        OptionError
        """
        if self.count is not None and self.count < 1:
            raise OptionError(f"{self.count} workers", "at least one", "give another --workers")
        if self.scheduler is not None and (self.slurm or self.count is not None):
            other = "slurm" if self.slurm else "workers"
            raise OptionError(f"--scheduler and --{other}", "one of them", "a scheduler has workers of its own")
        if self.slurm and self.count is None:
            raise OptionError("--slurm without --workers", "a number of Slurm jobs", "give --workers")
        if self.sbatch and not self.slurm:
            raise OptionError("--sbatch without --slurm", "both", "add --slurm")
        for module in ("distributed", "dask_jobqueue") if self.slurm else ("distributed",):
            if importlib.util.find_spec(module) is None:
                raise OptionError(
                    f"no {module} in this environment",
                    "the packages of the extra cluster",
                    "pip install '.[cluster]' in geofold's folder",
                )
        if self.slurm and shutil.which("sbatch") is None:
            raise OptionError("--slurm where there is no sbatch", "a machine that submits to Slurm", "log in to one")

    @contextmanager
    def started(self, jobs: int) -> Iterator[Crew]:
        """Workers for so many jobs, gone at the end.

        Raises
        ------
        WorkersError
        """
        import dask
        from distributed import Client
        from distributed.utils import silence_logging_cmgr

        with dask.config.set(SETTINGS), silence_logging_cmgr(logging.CRITICAL):
            if self.scheduler is not None:
                with _connected(self.scheduler) as client:
                    yield Crew(client)
                return
            with self._cluster(jobs) as cluster, Client(cluster) as client:
                yield Crew(client)

    def _cluster(self, jobs: int) -> Any:
        if self.slurm:
            return self._slurm(jobs)
        from dask.system import CPU_COUNT
        from distributed import LocalCluster

        # no limit of memory: dask would hold back a worker for ever once libraries alone fill its share
        return LocalCluster(
            n_workers=min(self.count or CPU_COUNT, jobs),
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            dashboard_address=None,
            scheduler_kwargs=QUIET,
            silence_logs=logging.CRITICAL,
            preload=UNINTERRUPTED,
        )

    def _slurm(self, jobs: int) -> Any:
        from dask_jobqueue import SLURMCluster

        count = min(self.count or 1, jobs)
        directives = [text if text.startswith("-") else f"--{text}" for text in self.sbatch]
        try:
            cluster = SLURMCluster(
                cores=1,
                processes=1,
                memory=self.memory,
                walltime=self.walltime,
                job_extra_directives=directives,
                scheduler_options={"dashboard_address": ":0"},
                silence_logs="critical",
            )
        except ValueError as error:
            raise OptionError(f"--memory {self.memory} ({error})", "a size such as 4GB", "mend it") from error
        # dask would try for ever, and in vain, what Slurm does not take
        tried = subprocess.run(
            ["sbatch", "--test-only"], input=cluster.job_script(), capture_output=True, text=True, check=False
        )
        if tried.returncode:
            cluster.close()
            said = (tried.stderr.strip() or f"status {tried.returncode}").splitlines()[-1]
            raise WorkersError(
                f"Slurm takes no such job ({said})", "options that it takes", "see --memory, --walltime and --sbatch"
            )
        cluster.adapt(minimum_jobs=count, maximum_jobs=count)  # unlike scale, another job for one that is gone
        return cluster


@dataclass(frozen=True)
class Crew:
    """Workers at work."""

    client: Client

    def run(self, work: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        """Each job with what came of it, in the order in which they end; an exception where its worker died.

        Raises
        ------
        WorkersError
            When the scheduler is gone.
        """
        from distributed import CancelledError, as_completed

        futures = self.client.map(work, jobs, pure=False)
        asked = {future.key: job for future, job in zip(futures, jobs, strict=True)}
        for future in as_completed(futures):
            job = asked.pop(future.key)
            try:
                came = future.result()  # made once more where it went with its worker before it was here
            except CancelledError as error:
                raise WorkersError(
                    "the dask scheduler was lost", "one that stays", "give the same command to go on"
                ) from error
            except Exception as error:
                came = error
            yield job, came


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise WorkersError(
            f"no dask scheduler answers at {address}",
            "the address of one, such as tcp://host:8786",
            "start one with dask scheduler",
        ) from error
    with client:
        yield client
