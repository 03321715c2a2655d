"""Record the SHA-256 of ten outputs, or compare them with an earlier record.

    python tests/record_checksums.py record FILE
    python tests/record_checksums.py compare FILE

A change that is not meant to change results (a move, a rename, a merge of two functions) is checked by a record before
it and a comparison after it, on the same machine: another processor may round differently. The outputs are structures
and trajectories; reports hold times and versions, so they are not among them.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import geofold as gf
from geofold.cli import main as command_line

STRUCTURES = Path(__file__).resolve().parent.parent / "structures"
BENT = str(STRUCTURES / "1ubi_bent.pdb")
QUICK = ("--streams", "2", "--rounds", "1")


def lines_without(path: Path, chain: str, first: int, last: int) -> str:
    """Text of a PDB file without the atoms of residues `first` to `last`."""
    kept = [
        line
        for line in path.read_text().splitlines(keepends=True)
        if not (line.startswith(("ATOM", "ANISOU")) and line[21] == chain and first <= int(line[22:26]) <= last)
    ]
    return "".join(kept)


def run(folder: Path, *arguments: str, output: str = "out.pdb") -> None:
    status = command_line([*arguments, "-o", str(folder / output), "--trajectory", str(folder / "path.pdb")])
    if status not in (None, 0, 1):
        raise SystemExit(f"{' '.join(arguments)} ended with status {status}")


def repair(folder: Path) -> None:
    run(folder, "repair", BENT, "--loop", "A:45-56", *QUICK)


def repair_with_shell(folder: Path) -> None:
    run(folder, "repair", BENT, "--loop", "A:45-56", "--repack-shell", "6", *QUICK)


def auto(folder: Path) -> None:
    run(folder, "repair", BENT, "--auto", "--no-energy", *QUICK)


def build(folder: Path) -> None:
    source = folder / "gap.pdb"
    source.write_text(lines_without(STRUCTURES / "1ubi.pdb", "A", 46, 51))
    run(folder, "repair", str(source), "--build", "A:46-51=AGKQLE", *QUICK)


def several_loops(folder: Path) -> None:
    run(folder, "repair", BENT, "--loop", "A:7-12", "--loop", "A:45-56", "--no-energy", *QUICK)


def mmcif(folder: Path) -> None:
    run(folder, "repair", str(STRUCTURES / "5pti.cif"), "--loop", "A:36-42", "--no-energy", *QUICK, output="out.cif")


def constrain_sequence(folder: Path) -> None:
    run(folder, "constrain", "--sequence", "AEGKTWYNGK", "--contact", "A:2-A:9<6.0", "--steps", "40")


def constrain_file(folder: Path) -> None:
    run(
        folder,
        "constrain",
        str(STRUCTURES / "5wkd.pdb"),
        "--contact",
        "A:300-A:304<6.0",
        "--no-energy",
        "--steps",
        "20",
    )


def steer(folder: Path) -> None:
    steering = gf.steer(sequence="AEGKTWYNGK", contacts="A:2-A:9<6.0", seed=1)
    for _, _step in zip(range(24), steering, strict=False):
        pass
    steering.result().save(folder / "out.pdb")


def batch(folder: Path) -> None:
    table = folder / "jobs.csv"
    table.write_text(
        "sequence,output,contact,energy,steps,seed\n"
        "AEGKTWYN,a.pdb,A:1-A:8<7.0,no,40,\nAEGKTWYN,b.pdb,A:1-A:7<7.0,yes,20,3\n"
    )
    command_line(["batch", "constrain", str(table), "--workers", "1"])


OUTPUTS: tuple[Callable[[Path], None], ...] = (
    repair,
    repair_with_shell,
    auto,
    build,
    several_loops,
    mmcif,
    constrain_sequence,
    constrain_file,
    steer,
    batch,
)


def checksums() -> dict[str, str]:
    """SHA-256 of each output: structures and trajectories, by file name."""
    sums: dict[str, str] = {}
    for output in OUTPUTS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            output(folder)
            digest = hashlib.sha256()
            for path in sorted([*folder.glob("*.pdb"), *folder.glob("*.cif")]):
                # under one suffix, so that earlier records, in which mmCIF was written to out.pdb, can be compared
                digest.update(path.with_suffix(".pdb").name.encode() + b"\0" + path.read_bytes())
        sums[output.__name__] = digest.hexdigest()
        print(f"{output.__name__:20s} {sums[output.__name__]}", file=sys.stderr)
    return sums


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or arguments[0] not in ("record", "compare"):
        print(__doc__, file=sys.stderr)
        return 2
    path = Path(arguments[1])
    sums = checksums()
    if arguments[0] == "record":
        path.write_text(json.dumps(sums, indent=1) + "\n")
        return 0
    changed = sorted(name for name, value in json.loads(path.read_text()).items() if sums.get(name) != value)
    print(f"changed: {', '.join(changed)}" if changed else f"the same {len(sums)} outputs")
    return 1 if changed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
