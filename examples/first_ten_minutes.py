"""A newcomer's first ten minutes, typed into a terminal (tmux) and read from its screen.

python examples/first_ten_minutes.py [--installed] [--transcript FILE]

Runs in a folder with nothing but shipped structures: install, help, check, repair, view, build, batch. Every command
must end with the status and show the words that are given here; the transcript has the screens. --installed skips the
installation and takes the Python that runs this.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATUS = re.compile(r"^\[status (\d+)\]", re.MULTILINE)
JOBS = "input,output,loop,energy\\n2erl.pdb,2erl_new.pdb,:20-24,no\\n1ubi.pdb,1ubi_new.pdb,A:7-10,no\\n"


@dataclass(frozen=True)
class Step:
    """What is typed, and what has to come of it.

    Attributes
    ----------
    typed : str
        The command.
    shown : str
        Words that the screen shows.
    status : int
        Exit status.
    """

    typed: str
    shown: str
    status: int = 0


INSTALL = (
    Step("python3 -m venv env && . env/bin/activate", ""),
    Step("pip install --quiet torch --index-url https://download.pytorch.org/whl/cpu", ""),
    Step(f"pip install --quiet '{ROOT}[cluster]'", ""),
)
STEPS = (
    Step("geofold --help", "repair"),
    Step("geofold doctor", "Packages"),
    Step("geofold check 1ubi", "geofold: ", status=2),
    Step("geofold check 1ubi_bent.pdb", "severe overlaps"),
    Step(
        "geofold repair 1ubi_bent.pdb --loop A:45-56 -o fixed.pdb --trajectory path.pdb --view view.html",
        "audit: passed",
    ),
    Step("geofold check fixed.pdb", "severe overlaps"),
    Step("geofold view path.pdb -o path.html && ls", "path.html"),
    Step("geofold check 1bhl.pdb", "--build"),
    Step("geofold repair 1bhl.pdb --build A:138-153 -o built.pdb --no-energy", "built A:138-153"),
    Step(f"printf '{JOBS}' > jobs.csv && geofold batch repair jobs.csv", "passed"),
)


class Terminal:
    """A tmux session whose shell says the status of each command."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.name = f"geofold-{id(self)}"
        shell = f"env PATH={shlex.quote(str(binaries))}:$PATH PS1='$ ' bash --norc --noprofile"
        self._tmux("new-session", "-d", "-s", self.name, "-x", "110", "-y", "200", "-c", str(folder), shell)

    def type(self, typed: str, seconds: float) -> tuple[int, str]:
        """Type a command, wait for its end, and return its status and the screen."""
        self._tmux("send-keys", "-t", self.name, f'clear; {typed}; echo "[status $?]"', "Enter")
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            time.sleep(0.5)
            screen = self._tmux("capture-pane", "-p", "-J", "-t", self.name).rstrip() + "\n"
            ended = STATUS.findall(screen)
            if ended:
                return int(ended[-1]), screen
        raise SystemExit(f"{typed}: no end after {seconds:.0f} s")

    def close(self) -> None:
        """End the session."""
        self._tmux("kill-session", "-t", self.name)

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(["tmux", *arguments], capture_output=True, text=True, check=True)
        return done.stdout


def main(steps: tuple[Step, ...], transcript: Path | None, seconds: float) -> list[tuple[Step, int, str]]:
    """Type all steps; exit with the first that did not do what it should.

    Returns
    -------
    list of (Step, int, str)
        Steps with their status and screen.
    """
    done: list[tuple[Step, int, str]] = []
    with tempfile.TemporaryDirectory() as name:
        for structure in ("1ubi.pdb", "1ubi_bent.pdb", "1bhl.pdb", "2erl.pdb"):
            shutil.copy(ROOT / "structures" / structure, name)
        terminal = Terminal(Path(name), Path(sys.executable).parent)
        try:
            for step in steps:
                began = time.monotonic()
                status, screen = terminal.type(step.typed, seconds)
                done.append((step, status, screen))
                print(f"{time.monotonic() - began:6.1f} s  status {status}  {step.typed}", flush=True)
                if transcript is not None:
                    transcript.write_text("\n".join(f"$ {s.typed}\n{text}" for s, _, text in done), encoding="utf-8")
                if status != step.status or step.shown not in screen:
                    raise SystemExit(f"{step.typed}: expected status {step.status} and {step.shown!r}, got\n{screen}")
        finally:
            terminal.close()
    return done


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--installed", action="store_true", help="leave the installation out")
    parser.add_argument("--transcript", type=Path, help="write all screens to this file")
    parser.add_argument("--seconds", type=float, default=1800, help="limit of one command")
    options = parser.parse_args()
    main((() if options.installed else INSTALL) + STEPS, options.transcript, options.seconds)
