"""kill -9 at random moments: `repair` with all four outputs, and `batch`; what is left is absent, old or whole.

    python tests/durability/kill_runs.py --repair 30 --batch 30

After every kill the final names are looked at, then the same command is run to its end: it has to give the bytes of a
run that nobody killed, and to leave no other file. Reports are compared without their times. Exit status 1 on a
finding. Moments are drawn from the length of a whole run; every second kill waits from there for a temporary file, and
up to 20 ms longer, so that it meets the writing of files.
A run is a fork of this process, which has the modules loaded, and so is a worker of `batch`: kills meet the work, and
not an import.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INPUT = ROOT / "structures" / "1yjp.cif"
OUTPUTS = ("o.cif", "t.dcd", "r.json", "v.html")
REPAIR = ["repair", str(INPUT), "--loop", "A:2-5", "--no-energy", "--predictor", "hold-still",
          "-o", "o.cif", "--trajectory", "t.dcd", "--report", "r.json", "--view", "v.html"]  # fmt: skip
JOBS = """sequence,output,contact,energy,steps,report,trajectory
AEGKTWYN,a.pdb,A:1-A:8<9.0,no,20,a.json,a.dcd
AEGKTWYN,b.pdb,A:1-A:7<9.0,no,20,,
GSWTYENGKW,c.pdb.gz,A:3-A:9<9.0,no,20,c.json,
"""
BATCH = ["batch", "constrain", "jobs.csv", "--workers", "1"]
WAIT = 300.0
"""Seconds that a run may take."""


def content(path: Path) -> bytes:
    """Bytes of a file; of a report, without its times."""
    sys.path.insert(0, str(ROOT))
    from geofold.app.report.report_file import without_times

    if path.suffix != ".json":
        return path.read_bytes()
    return json.dumps(without_times(json.loads(path.read_text(encoding="utf-8")))).encode()


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its name."""
    return {path.name: content(path) for path in sorted(folder.iterdir())}


class Run:
    """A command in a fork of this process, in a session of its own, so that a kill takes its workers with it."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid:
            return
        status = 70
        try:
            os.setsid()
            os.chdir(folder)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            from geofold.cli import main as geofold

            status = geofold(command)
        finally:
            os._exit(status)

    def wait(self, timeout: float) -> int:
        """Exit status, or the signal's number below zero."""
        end = time.monotonic() + timeout
        while self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                raise TimeoutError(f"after {timeout} s the run goes on")
            else:
                time.sleep(0.001)
        return self.returncode


def finished(command: list[str], folder: Path) -> float:
    """Run a command to its end; seconds that it took."""
    began = time.monotonic()
    status = Run(command, folder).wait(WAIT)
    if status not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: status {status}; {folder} holds {os.listdir(folder)}")
    return time.monotonic() - began


def killed(command: list[str], folder: Path, moment: float, longer: float | None) -> bool:
    """Kill a run and its workers after so many seconds; whether it had not ended before.

    With `longer`, the kill waits for a temporary file, and so many seconds after it.
    """
    run = Run(command, folder)
    alive = not ended(run, moment)
    while alive and longer is not None and not temporary_files(folder):
        alive = not ended(run, 0.0)
    if alive and longer is not None:
        alive = not ended(run, longer)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    run.wait(WAIT)
    return alive


def ended(run: Run, seconds: float) -> bool:
    """Whether a run ends within so many seconds."""
    try:
        run.wait(seconds)
    except TimeoutError:
        return False
    return True


def temporary_files(folder: Path) -> list[str]:
    """Names of what a run is writing, or left."""
    return [name for name in os.listdir(folder) if name.endswith(".part")]


def load_modules() -> None:
    """Import what the commands do, and start no thread."""
    sys.path.insert(0, str(ROOT))
    os.environ["DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD"] = "fork"
    import distributed  # noqa: F401
    import mdtraj  # noqa: F401
    import torch

    import geofold.app.api
    import geofold.app.viewer.page  # noqa: F401

    torch.set_num_threads(1)


def prepared(folder: Path, command: list[str], old: bytes | None) -> None:
    """An empty folder with what a command needs, and old outputs where it is to replace some."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if command is BATCH:
        (folder / "jobs.csv").write_text(JOBS)
    elif old is not None:
        for name in OUTPUTS:
            (folder / name).write_bytes(old)


def findings(folder: Path, whole: dict[str, bytes], old: bytes | None) -> list[str]:
    """Final names that are neither absent nor old nor whole."""
    found = []
    for name in set(whole) & {path.name for path in folder.iterdir()}:
        path = folder / name
        if name.startswith("jobs.results") or (old is not None and path.read_bytes() == old):
            continue  # the table grows line by line
        try:
            same = content(path) == whole[name]
        except ValueError:
            same = False
        if not same:
            found.append(f"{name} is neither absent, old nor whole")
    return found


def series(command: list[str], count: int, folder: Path, random_: random.Random) -> tuple[int, int, list[str]]:
    """So many kills; how many met a run that had not ended, how many left temporary files, and what is wrong."""
    prepared(folder, command, None)
    finished(command, folder)  # caches are warm after it
    prepared(folder, command, None)
    length = finished(command, folder)
    whole = files(folder)
    met = parts = 0
    wrong: list[str] = []
    for number in range(count):
        old = b"old" if number % 2 and command is REPAIR else None
        prepared(folder, command, old)
        share = random_.uniform(0.0, 0.9)
        longer = random_.uniform(0.0, 0.02) if number % 4 >= 2 else None
        began = time.monotonic()
        if killed(command, folder, share * length, longer):
            met += 1
        else:
            length = min(length, time.monotonic() - began)  # the machine has become faster
        parts += bool(temporary_files(folder))
        here = findings(folder, whole, old)
        finished(command, folder)
        after = files(folder)
        here += [f"stray {name}" for name in sorted(set(after) - set(whole))]
        here += [f"{name} has other bytes or is not there" for name in whole if after.get(name) != whole[name]]
        print(f"{command[0]} {number + 1} of {count}: {share * length:.2f} s", file=sys.stderr, flush=True)
        wrong += [f"{command[0]} killed at {share * length:.2f} s (kill {number + 1}): {text}" for text in here]
        for text in wrong[-len(here) :] if here else ():
            print(text, flush=True)
    return met, parts, wrong


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repair", type=int, default=30, help="kills of repair")
    parser.add_argument("--batch", type=int, default=30, help="kills of batch")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    asked = parser.parse_args(arguments)
    load_modules()
    random_, told, wrong = random.Random(asked.seed), [], []
    with tempfile.TemporaryDirectory(prefix="geofold-kill-") as name:
        for command, count in ((REPAIR, asked.repair), (BATCH, asked.batch)):
            if count:
                met, parts, found = series(command, count, Path(name) / command[0], random_)
                told.append(f"{command[0]} killed {count} times ({met} before its end, {parts} left temporary files)")
                wrong += found
    print(f"{'; '.join(told)}: {len(wrong)} findings")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
