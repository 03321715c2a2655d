"""Time and memory of `check` and `repair` by size, and of reading compared with gemmi and Biopython.

Structures of one size differ from those of another in nothing but the number of copies of a small protein, with the
same bent loop in the first; the last is a capsid of sixty larger chains. Each command runs as a process of its own.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from geofold import resources
from geofold.bench.common.records import Records, table_of, write_summary
from geofold.bench.latency.assemblies import make_capsid, mmcif_text
from geofold.bench.latency.protein_sizes import make_lattice
from geofold.files import write_atomically
from geofold.molecule.io.read import read
from geofold.molecule.loop.perturbation import perturb_loop
from geofold.molecule.selection import find_range
from geofold.molecule.structure import Structure

PROTEIN, LOOP = "2va0A.pdb", "A:90-101"
COPIES = {"100": 1, "300": 3, "1000": 10, "3000": 30, "10000": 101, "20000": 202}
"""Number of copies by the number of residues."""
CAPSID, SUBUNIT = "capsid", "1pwc.pdb"
QUICK_SIZES = 2
SEARCH = ("--streams", "2", "--rounds", "1")
"""A short search: its length does not depend on the size of the structure."""
READERS, REPEATS = ("read", "gemmi", "biopython"), 3
COMMANDS = ("check", "repair")
AGENTS = (*READERS, *COMMANDS)


def run(out: str, *, quick: bool, limit: int | None) -> None:
    """Read, check and repair structures of all sizes.

    Parameters
    ----------
    out : str
        Folder of records, table, plot and summary.
    quick : bool
        Run the smallest two sizes.
    limit : int or None
        Number of sizes.
    """
    began = time.time()
    records = Records(out)
    names = [*COPIES, CAPSID][: QUICK_SIZES if quick else limit]
    for name in names:
        if not all(records.has(name, agent) for agent in AGENTS):
            _measure(records, name)
    plot(records)
    write_summary(
        records.folder,
        summarise(records, names),
        quick=quick or limit is not None,
        began=began,
        table=_table(records, names),
        note="sizes, CPU s and MB",
    )


def assemble(name: str) -> Structure:
    """Structure by its name: a key of `COPIES`, or `CAPSID`."""
    if name == CAPSID:
        return make_capsid(read(resources.find("structures", SUBUNIT)))
    single = read(resources.find("structures", PROTEIN))
    bent = perturb_loop(single, *find_range(single, LOOP), seed=0, target=2.0)
    assembly = make_lattice(single, COPIES[name])
    xyz = assembly.xyz.copy()
    xyz[: len(single)] = bent
    return replace(assembly, xyz=xyz)


def _measure(records: Records, name: str) -> None:
    """Add the records of one size that are missing."""
    structure = assemble(name)
    size = {
        "residues": len(structure.residues),
        "atoms": len(structure),
        "chains": len({residue.chain for residue in structure.residues}),
    }
    content = mmcif_text(structure)
    readers = {agent: read_by for agent, read_by in _readers(content).items() if not records.has(name, agent)}
    for agent, seconds in _time_in_turn(readers).items():
        records.add(name, agent, cpu_seconds=seconds, **size)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "assembly.cif"
        source.write_text(content, encoding="ascii")
        # chain ids of an assembly are numbered from its first copy, those of a lattice leave the first as it is
        loop = LOOP if name != CAPSID else "A0:90-101"
        arguments = {
            "check": ["check", str(source), "-q"],
            "repair": ["repair", str(source), "--loop", loop, "-o", str(Path(folder) / "out.cif"), "-q", *SEARCH],
        }
        for command in COMMANDS:
            if not records.has(name, command):
                records.add(name, command, **_run(arguments[command]), **size)


def _readers(content: str) -> dict[str, Callable[[], object]]:
    """Functions that read mmCIF text, by agent."""
    import gemmi
    from Bio.PDB.MMCIFParser import MMCIFParser

    return {
        "read": lambda: read(content.encode("ascii")),
        "gemmi": lambda: gemmi.make_structure_from_block(gemmi.cif.read_string(content)[0]),
        "biopython": lambda: MMCIFParser(QUIET=True).get_structure("assembly", io.StringIO(content)),
    }


def _time_in_turn(functions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """CPU seconds of each function: the least of `REPEATS` calls, made alternately."""
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(REPEATS):
        for name, call in functions.items():
            began = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - began)
    return best


def _run(arguments: Sequence[str]) -> dict[str, Any]:
    """Run `geofold` with arguments as a process; its status, CPU seconds and peak memory (MB)."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-m", "geofold", *arguments], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    peak = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return {
        "status": process.returncode,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": peak,
    }


def summarise(records: Records, names: Sequence[str]) -> dict[str, float]:
    """CPU seconds and memory of each agent by size, and ratios to the other readers and to the smallest size."""
    rows = {(row["episode"], row["agent"]): row for row in records.rows}
    metrics = {}
    for name in names:
        for agent in AGENTS:
            metrics[f"{agent}.cpu_seconds_{name}"] = rows[name, agent]["cpu_seconds"]
        for command in COMMANDS:
            metrics[f"{command}.peak_mb_{name}"] = rows[name, command]["peak_mb"]
        for reader in READERS[1:]:
            ratio = rows[name, "read"]["cpu_seconds"] / rows[name, reader]["cpu_seconds"]
            metrics[f"read_over_{reader}_{name}"] = ratio
    sizes = [name for name in names if name in COPIES]
    for command in COMMANDS:
        ends = [rows[name, command]["cpu_seconds"] for name in (sizes[0], sizes[-1])]
        metrics[f"{command}_{sizes[-1]}_over_{sizes[0]}"] = ends[1] / ends[0]
    return metrics


def _table(records: Records, names: Sequence[str]) -> str:
    rows = {(row["episode"], row["agent"]): row for row in records.rows}
    lines = []
    for name in names:
        of = {agent: rows[name, agent] for agent in AGENTS}
        size = of["check"]
        seconds = [f"{of[agent]['cpu_seconds']:.2f}" for agent in AGENTS]
        memory = [f"{of[command]['peak_mb']:.0f}" for command in COMMANDS]
        lines.append([name, *(f"{size[key]:,}" for key in ("residues", "chains", "atoms")), *seconds, *memory])
    heads = ["structure", "residues", "chains", "atoms", "read, s", "gemmi, s", "Biopython, s", "check, s", "repair, s"]
    return table_of([*heads, "check, MB", "repair, MB"], lines)


def plot(records: Records) -> None:
    """Draw CPU time and peak memory against the number of residues into the folder of the records."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for agent in AGENTS:
        rows = sorted((row for row in records.of(agent) if row["episode"] in COPIES), key=lambda row: row["residues"])
        residues = [row["residues"] for row in rows]
        left.loglog(residues, [row["cpu_seconds"] for row in rows], "o-", label=agent)
        if agent in COMMANDS:
            right.loglog(residues, [row["peak_mb"] for row in rows], "o-", label=agent)
    for axes, what in ((left, "CPU time (s)"), (right, "peak memory (MB)")):
        axes.set(xlabel="residues", ylabel=what)
        axes.legend()
    write_atomically(records.folder / "sizes.png", lambda path: figure.savefig(path, dpi=100, format="png"))
    pyplot.close(figure)
