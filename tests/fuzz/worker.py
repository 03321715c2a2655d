"""Reads damaged structures in this process, under limits, as long as it is asked to.

It says {"outcome": "ready"} first. Asked by a line of JSON on standard input, {"seed": n} or {"file": path}, it answers
with a line {"outcome", "text", "seconds", "source", "steps"}; the outcome is fine, refused, crash, cpu or memory.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from cases import STRUCTURES, Case, make_case
from hostile import RANGES

SECONDS, MEMORY = 20, 1 << 30
"""CPU seconds of a case, and bytes that it may take on top of what was taken before it."""
LONGEST = 1500
"""Characters of a refusal."""


class OutOfTime(BaseException):
    """The CPU seconds of a case are spent."""


def read_and_check(case: Case) -> tuple[str, str]:
    """Read a case, select residues and a contact in it, analyse it: outcome, and the refusal."""
    from geofold.app.report.check import inspect
    from geofold.app.report.check_text import check_text
    from geofold.app.report.energies import as_it_is
    from geofold.errors import GeofoldError
    from geofold.molecule.io.read import read
    from geofold.molecule.loop.build_request import plan_build
    from geofold.molecule.peptide.contacts import parse_contact
    from geofold.molecule.selection import find_range, find_residue

    def attempt(what: Callable[[], Any]) -> tuple[Any, str]:
        try:
            return what(), ""
        except GeofoldError as error:
            text = str(error)
            text.encode()
            assert "\n" not in text and len(text) <= LONGEST, f"a refusal of {len(text)} characters: {text[:300]}"
            return None, text

    def analyse() -> dict[str, Any]:
        altloc = case.altloc if case.altloc in structure.altloc.tolist() else None
        energy = (lambda whole: as_it_is(whole, altloc)) if case.energy else None
        return inspect(structure, energy=energy, altloc=altloc)

    structure, refusal = attempt(lambda: read(case.content, name=case.name))
    if structure is None:
        return "refused", refusal
    for text in case.ranges:
        for select in (find_range, find_residue, plan_build):
            attempt(lambda text=text, select=select: select(structure, text))
    attempt(lambda: parse_contact(structure, case.contact, case.altloc))
    found, refusal = attempt(analyse)
    if found is None:
        return "refused", refusal
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
    check_text(found).encode()
    return "fine", ""


def limited(what: Callable[[], tuple[str, str]], seconds: int = SECONDS) -> tuple[str, str]:
    """Outcome of a call within the limits; warnings of numpy and others are crashes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    # a loop in C never comes back to the handler of the timer: the kernel ends the process a little later
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + seconds + 5, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for kind in (DeprecationWarning, PendingDeprecationWarning, ResourceWarning):
                warnings.simplefilter("ignore", kind)
            return what()
    except OutOfTime:
        return "cpu", traceback.format_exc()
    except MemoryError:
        return "memory", traceback.format_exc()
    except BaseException as error:
        return "memory" if "alloc" in str(error) else "crash", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def forever() -> tuple[str, str]:
    """Never comes back."""
    while True:
        pass


MISBEHAVIOUR: dict[str, Callable[[], Any]] = {
    "warn": lambda: np.float64(1e308) * 10, "divide": lambda: 1 // 0, "hang": forever,
    "flood": lambda: bytearray(2 * MEMORY), "die": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "behave": lambda: ("fine", ""),
}  # fmt: skip
"""What a test of the limits asks for in the place of a case."""


def file_case(path: Path) -> Case:
    """A kept file as a case; where its name has "energy", with the energy."""
    ranges = (*RANGES, "A:1-9", "A:2-6")
    return Case(0, path.name, path.name, path.read_bytes(), ranges, "A:1-A:9<5", None, "energy" in path.name, ())


def out_of_time(number: int, frame: Any) -> None:
    """Handler of the timer."""
    raise OutOfTime


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    signal.signal(signal.SIGPROF, out_of_time)
    whole = (STRUCTURES / "5wkd.pdb").read_bytes()
    read_and_check(Case(0, "", "warm.pdb", whole, (), "", None, True, ()))  # imports are no case's
    print(json.dumps({"outcome": "ready"}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        before = time.process_time()
        told: dict[str, Any] = {}
        if "misbehave" in asked:
            outcome, text = limited(MISBEHAVIOUR[asked["misbehave"]], 1)
        else:
            case = make_case(asked["seed"]) if "seed" in asked else file_case(Path(asked["file"]))
            outcome, text = limited(partial(read_and_check, case))
            told = {"source": case.source, "steps": case.steps}
        told |= {"outcome": outcome, "text": text, "seconds": time.process_time() - before}
        print(json.dumps(told), file=answers, flush=True)


if __name__ == "__main__":
    main()
