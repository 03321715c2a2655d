"""RESULTS.md, put together from the committed summaries and tables; never written by hand."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from geofold.errors import InputFileError
from geofold.files import write_all

INTRODUCTION = """# Results

Put together by `geofold bench report` from the summaries and tables in `examples/results/`; the raw records lie
beside them. Every figure is the command's own; one run, one thread per process, on a shared machine, so quote
ratios and medians rather than single times. `examples/results/README.md` tells how each run came about.
"""

SECTIONS = Path(__file__).with_name("report.toml")
"""Folder, title, command and text of each section; in a text, a line break is a space, but in a table."""


def write_results(out: Path) -> None:
    """Write RESULTS.md beside `examples/results` (or into `out`, where that holds results).

    Raises
    ------
    InputFileError
        If there is no summary at all.
    """
    base = out if any(out.glob("*/summary.json")) else Path("examples/results")
    parts = [INTRODUCTION]
    for section in tomllib.loads(SECTIONS.read_text(encoding="utf-8"))["section"]:
        found = _read(base / section["folder"])
        if found is not None:
            parts.append(_section(section["title"], section["command"], _joined(section["text"]), *found))
    if len(parts) == 1:
        raise InputFileError(f"{base} holds no summary.json", "the output folders of `geofold bench`", "run one first")
    write_all({"RESULTS.md": "\n".join(parts).encode()})
    print("RESULTS.md written")


def _joined(text: str) -> str:
    """Paragraphs, each on a line of its own."""
    parts = (part.strip() for part in text.split("\n\n"))
    return "\n\n".join(part if part.startswith("|") else " ".join(part.split()) for part in parts)


def _read(folder: Path) -> tuple[dict[str, Any], str] | None:
    summary, table = folder / "summary.json", folder / "table.md"
    if not (summary.is_file() and table.is_file()):
        return None
    return json.loads(summary.read_text(encoding="utf-8")), table.read_text(encoding="utf-8")


def _section(title: str, command: str, text: str, summary: dict[str, Any], table: str) -> str:
    numbers = "\n".join(f"| `{name}` | {value:g} |" for name, value in summary["metrics"].items())
    machine = f"{summary['cpu']}, {summary['seconds']:.0f} s, commit {summary['commit']}"
    label = f"every metric ({machine}{', quick' if summary['quick'] else ''})"
    details = f"<details><summary>{label}</summary>\n\n| metric | value |\n|---|---|\n{numbers}\n\n</details>\n"
    return f"## {title}\n\n`{command}`\n\n{text}\n\n{table}\n{details}"
