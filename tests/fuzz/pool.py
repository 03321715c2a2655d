"""A worker process that is used for many cases, and started again when one of them ended it."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PATIENCE = 900
"""Seconds, by the clock, after which a case that uses no CPU counts as hanging."""


class Worker:
    """Hands cases to a process that runs `worker.py`, one after the other."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def ask(self, **case: Any) -> dict[str, Any]:
        """Answer to a case, {"seed": n} or {"file": path}; what ended the process is an outcome too."""
        if self._process is None:
            environment = os.environ | {
                "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), *sys.path[1:]]),
            }  # fmt: skip
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "worker.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                env=environment,
            )  # fmt: skip
            if self._answer() is None:
                raise RuntimeError("the worker did not start")
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        found = self._answer()
        if found is not None:
            return found
        if self._process.poll() is None and not ready_to_end(self._process):
            self._process.kill()
        status = self._process.wait()
        self._process = None
        outcome = "cpu" if status in (-signal.SIGXCPU, -signal.SIGKILL) else "crash"
        return {"outcome": outcome, "text": f"the process ended with status {status}", "seconds": 0.0, **case}

    def _answer(self) -> dict[str, Any] | None:
        assert self._process is not None and self._process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if ready.select(PATIENCE) else ""
        found: dict[str, Any] | None = json.loads(line) if line else None
        return found

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.communicate()
            self._process = None


def ready_to_end(process: subprocess.Popen[str]) -> bool:
    """Whether a process whose output has ended is about to be gone."""
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        return False
    return True
