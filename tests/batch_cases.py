"""A table of small jobs, shared by the tests of batches."""

from __future__ import annotations

import json
from pathlib import Path

HEADER = "sequence,input,output,contact,energy,steps,seed,report\n"
ROWS = (
    "AEGKTWYN,,a.pdb,A:1-A:8<7.0,no,40,,a.json\n",
    ",junk.pdb,b.pdb,A:1-A:8<7.0,no,40,,\n",
    "AEGKTWYN,,c.pdb,A:1-A:7<7.0,no,40,3,\n",
    ",absent.pdb,d.pdb,A:1-A:8<7.0,no,40,,\n",
    '"GSWTYENGKW",,e.pdb.gz,A:3-A:9<6.0; A:1@CA-A:10@CA>8.0,no,64,,\n',
    "AEGKTWYN,,f.pdb,A:1-A:8<6.0,no,2,,\n",
)
"""Two broken files among them; the last has too few steps, so its contact does not hold."""


def table(folder: Path, rows: tuple[str, ...] = ROWS) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "junk.pdb").write_text("junk")
    (folder / "jobs.csv").write_text(HEADER + "".join(rows))
    return str(folder / "jobs.csv")


def recorded(folder: Path) -> list[dict[str, object]]:
    path = folder / "jobs.results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
