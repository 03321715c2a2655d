"""The background of a session: one job at a time in another process, and the models that jobs offer."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from geofold.app.live.jobs import JOBS, Model, turn_of
from geofold.app.live.session import Session
from geofold.errors import ActionError, GeofoldError
from geofold.geometry import wrap
from geofold.molecule.structure import Floats


class Background:
    """Jobs of a session.

    Parameters
    ----------
    session : Session
    changed : callable
        Called in the event loop when a job has ended.
    """

    def __init__(self, session: Session, changed: Callable[[], None]) -> None:
        self._session, self._changed = session, changed
        self._pool: ProcessPoolExecutor | None = None
        self._running = ""
        self._error = ""
        self._models: list[Model] = []
        self._start: dict[Any, float] = {}
        self._start_xyz: Floats | None = None

    def state(self) -> dict[str, Any]:
        """Return the running job, the last error and the models on offer, for a page."""
        return {
            "running": self._running,
            "error": self._error,
            "models": [{"name": model.name, "note": model.note} for model in self._models],
        }

    def begin(self, name: str) -> None:
        """Begin a job from the present conformation.

        Raises
        ------
        ActionError
            If another one is running.
        """
        if self._running:
            raise ActionError(
                f"{name} while {self._running} is running", "one job at a time", "wait until it has ended"
            )
        session = self._session
        self._pool = self._pool or ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self._running, self._error = name, ""
        self._start_xyz = session.xyz
        future = self._pool.submit(JOBS[name], session.segment, session.xyz, session.restraints.bands)
        loop = asyncio.get_running_loop()
        epoch, angles = session.chain.epoch, session.chain.angles
        future.add_done_callback(lambda done: loop.call_soon_threadsafe(self._end, done, epoch, angles))

    def _end(self, done: Future[list[Model]], epoch: int, angles: dict[Any, float]) -> None:
        name, self._running = self._running, ""
        if done.cancelled():
            return
        error = done.exception()
        if isinstance(error, BrokenProcessPool):
            self._pool, self._error = None, f"{name} was ended by the system"
        elif error is not None:
            self._error = str(error) if isinstance(error, GeofoldError) else f"{name} failed: {error}"
        else:
            self._models, self._start, self._epoch = done.result(), angles, epoch
            if name == "relax" and self._session.hand is None and self._unmoved():
                self.take(0)
        self._changed()

    def _unmoved(self) -> bool:
        """Whether the chain is where the job began."""
        assert self._start_xyz is not None
        return float(abs(self._session.xyz - self._start_xyz).max()) < 0.01

    def take(self, number: Any) -> None:
        """Turn the chain to a model on offer.

        Raises
        ------
        ActionError
            If it is not on offer, or belongs to a chain that has been rooted elsewhere.
        """
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(self._models):
            raise ActionError(f"model {number}", f"a number below {len(self._models)}", "run a job first")
        session, model = self._session, self._models[number]
        if session.chain.epoch != self._epoch:
            raise ActionError(f"{model.name} of an earlier chain", "a model of the present one", "run the job again")
        turned_since = {key: value - self._start[key] for key, value in session.chain.angles.items()}
        whole = Model(
            model.name, {k: float(wrap(model.turned.get(k, 0.0) - v)) for k, v in turned_since.items()}, model.note
        )
        session.act({"do": "take", "of": model.name, "turn": turn_of(whole, session.chain.domain.tree)})

    def close(self) -> None:
        """End the process of the jobs."""
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):
                process.terminate()
            self._pool.shutdown(wait=False, cancel_futures=True)
