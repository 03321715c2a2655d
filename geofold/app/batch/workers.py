"""Workers of a batch: local processes, those of a running dask scheduler, or Slurm jobs."""

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
"""Time (s) within which a scheduler has to answer."""
SETTINGS = {
    # a worker has one job and no queue, so that its death is not counted against other jobs
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.allowed-failures": 1,
}
QUIET = {"dashboard_address": "127.0.0.1:0"}
"""Options of a local scheduler: any free port, reachable from this machine only."""

UNINTERRUPTED = ["import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"]
"""Code run in each local worker: Ctrl-C is handled by the main process alone, which then ends the workers."""


@dataclass(frozen=True)
class Workers:
    """Request for workers; the attributes are those of `geofold.app.batch.run.batch`."""

    count: int | None
    scheduler: str | None
    slurm: bool
    memory: str
    walltime: str
    sbatch: tuple[str, ...]

    def require(self) -> None:
        """Refuse options that cannot be used, before anything starts.

        Raises
        ------
        OptionError
            For options that exclude or require each other, or for missing software.
        """
        if self.count is not None and self.count < 1:
            raise OptionError(f"{self.count} workers", "at least one", "give another --workers")
        if self.scheduler is not None and (self.slurm or self.count is not None):
            option = "slurm" if self.slurm else "workers"
            raise OptionError(
                f"--scheduler and --{option}", "one of them", "leave one out, since a scheduler has its own workers"
            )
        if self.slurm and self.count is None:
            raise OptionError("--slurm without --workers", "a number of Slurm jobs", "give --workers")
        if self.sbatch and not self.slurm:
            raise OptionError("--sbatch without --slurm", "both", "add --slurm")
        for module in ("distributed", "dask_jobqueue") if self.slurm else ("distributed",):
            if importlib.util.find_spec(module) is None:
                raise OptionError(
                    f"no {module} in this environment",
                    "the packages of the extra cluster",
                    "pip install 'geofold[cluster]'",
                )
        if self.slurm and shutil.which("sbatch") is None:
            raise OptionError("--slurm on a machine without sbatch", "a machine that submits to Slurm", "log in to one")

    @contextmanager
    def started(self, jobs: int) -> Iterator[Crew]:
        """Start workers for a number of jobs and stop them on leaving the context.

        Raises
        ------
        WorkersError
            If the scheduler does not answer, or Slurm refuses the workers.
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

        # no memory limit: dask would pause a worker for ever if imported libraries alone fill its share
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
            raise OptionError(f"--memory {self.memory} ({error})", "a size such as 4GB", "correct it") from error
        # dask would resubmit for ever a job that Slurm refuses
        test = subprocess.run(
            ["sbatch", "--test-only"], input=cluster.job_script(), capture_output=True, text=True, check=False
        )
        if test.returncode:
            cluster.close()
            reason = (test.stderr.strip() or f"status {test.returncode}").splitlines()[-1]
            raise WorkersError(
                f"Slurm refuses such a job ({reason})",
                "options that it accepts",
                "see --memory, --walltime and --sbatch",
            )
        cluster.adapt(minimum_jobs=count, maximum_jobs=count)  # unlike scale, adapt replaces lost jobs
        return cluster


@dataclass(frozen=True)
class Crew:
    """Running workers."""

    client: Client

    def run(self, work: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        """Yield each job with its result, or with an exception if its worker died, in the order in which they end.

        Parameters
        ----------
        work : callable
            Run for each job in a worker.
        jobs : sequence
            Its arguments, which are pickled.

        Raises
        ------
        WorkersError
            If the scheduler is lost.
        """
        from distributed import CancelledError, as_completed

        futures = self.client.map(work, jobs, pure=False)
        asked = {future.key: job for future, job in zip(futures, jobs, strict=True)}
        for future in as_completed(futures):
            job = asked.pop(future.key)
            try:
                result = future.result()  # dask reruns the job if its worker died before the result was fetched
            except CancelledError as error:
                raise WorkersError(
                    "the dask scheduler was lost", "one that keeps running", "run the same command again to resume"
                ) from error
            except Exception as error:
                result = error
            yield job, result


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
