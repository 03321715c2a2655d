"""Pages of results, made from the committed summaries and tables; never edited by hand.

`RESULTS.md` has a headline table and a paragraph for each section; `README.md` in the folder of each run has its
tables, plots and all of its metrics. The texts are in `report.toml`: a number in them is written as
``{metric:format}`` and is filled in from the run's `summary.json`, so that text and records cannot disagree.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from geofold.bench.common.claims import claims_page
from geofold.bench.common.finished_runs import IN_A_CELL, Run, fill_from_runs
from geofold.bench.common.history import ROOT
from geofold.bench.common.records import table_of, wrapped
from geofold.errors import InputFileError
from geofold.files import write_all

TEXTS = Path(__file__).with_name("report.toml")
RESULTS = Path("examples/results")
AGAIN = "Run again at commit {commit}, the first {count} episodes give the same numbers, times aside."
CHANGED = "Changed since the run: "
CHANGES_NAMED = 5
"""How many of the files that changed after a run are named on its page."""
HEADLINE = ["task", "set", "n", "metric", "geofold", "best comparison", "CPU time", "commit, date"]
WRITTEN = "<!-- Written by `geofold bench report`; edit geofold/bench/common/report.toml instead. -->\n"


def run(out: str) -> None:
    """Write `RESULTS.md` and the pages of the runs.

    Parameters
    ----------
    out : str
        A folder of runs. If it holds none, the runs of `examples/results` are taken and `RESULTS.md` is written to the
        current folder.

    Raises
    ------
    InputFileError
        If there is no finished run at all, or a text names a metric that a run does not have.
    """
    base, page = Path(out), Path(out) / "RESULTS.md"
    if not any(base.glob("*/summary.json")):
        base, page = RESULTS, Path("RESULTS.md")
    pages = render(base, page, ROOT)
    (base / "claims").mkdir(exist_ok=True)
    write_all({str(path): text.encode() for path, text in pages.items()})
    print(f"{page} and {len(pages) - 1} pages below {base} written")


def render(base: Path, page: Path, root: Path) -> dict[Path, str]:
    """Make all pages.

    Parameters
    ----------
    base : Path
        Folder of the runs.
    page : Path
        Where `RESULTS.md` is going to be; links are relative to it.
    root : Path
        Root of the repository whose history is read; without a history there are neither dates nor marks.

    Returns
    -------
    dict of Path to str
        Content of each page.

    Raises
    ------
    InputFileError
        If `base` has no finished run.
    """
    texts = tomllib.loads(TEXTS.read_text(encoding="utf-8"))
    found = {path.name: Run.read(path) for path in sorted(base.iterdir())} if base.is_dir() else {}
    runs = {name: entry for name, entry in found.items() if entry is not None}
    if not runs:
        raise InputFileError(f"{base} holds no summary.json", "the output folders of `geofold bench`", "run one first")
    link = Path(os.path.relpath(base, page.parent)).as_posix()
    marks = {
        entry["folder"]: runs[entry["folder"]].mark(_measures(section, entry), root, entry.get("same_at", ""))
        for section in texts["section"]
        for entry in section["run"]
        if entry["folder"] in runs
    }
    claims = claims_page(runs, marks)
    rows = [
        _headline(entry, runs[entry["folder"]], marks[entry["folder"]], root)
        for entry in texts["headline"]
        if entry["folder"] in runs
    ]
    parts = [WRITTEN, wrapped(texts["introduction"]), table_of(HEADLINE, rows), wrapped(texts["reading"])]
    parts.append(wrapped(f"[Claims of the papers]({link}/claims/README.md): {claims.summary.strip()}"))
    pages = {base / "claims" / "README.md": claims.page}
    for section in texts["section"]:
        members = [entry for entry in section["run"] if entry["folder"] in runs]
        if members:
            parts.append(_section(section, members, runs, marks, link))
        for entry in members:
            content = _run_page(entry, section, runs[entry["folder"]], marks[entry["folder"]], root)
            pages[base / entry["folder"] / "README.md"] = content
    return {page: "\n".join(parts)} | pages


def _measures(section: dict[str, Any], entry: dict[str, Any]) -> list[str]:
    """Code that a run measures: its own list, or that of its section."""
    return list(entry.get("measures", section["measures"]))


def _headline(entry: dict[str, Any], run: Run, mark: str, root: Path) -> list[str]:
    keys = ("task", "set", "n", "metric", "value", "comparison", "cpu")
    return [*(run.fill(str(entry[key])) for key in keys), run.commit(root) + IN_A_CELL[mark]]


def _section(
    section: dict[str, Any], members: list[dict[str, Any]], runs: dict[str, Run], marks: dict[str, str], link: str
) -> str:
    """Return a section of RESULTS.md: title, paragraph, small table if it has one, links to the pages of its runs."""
    first = runs[members[0]["folder"]]
    mark = max(marks[entry["folder"]] for entry in members)
    text = "\n".join([section["text"], *(entry.get("text", "") for entry in members)])
    filled = wrapped(first.fill(fill_from_runs(text, runs)))
    table = _small_table(section, first, runs) if "table" in section else ""
    pages = ", ".join(f"[{entry['folder']}]({link}/{entry['folder']}/README.md)" for entry in members)
    parts = (f"## {section['title']}{mark}\n", filled, table, pages)
    return "\n".join(part for part in parts if part) + "\n"


def _small_table(section: dict[str, Any], first: Run, runs: dict[str, Run]) -> str:
    """Rows of agents, columns of metrics; a metric that an agent does not have leaves its cell empty.

    A column is of the section's first run, or of the run in its `folder`, where `names` are the agents' names.
    """
    columns = section["table"]["columns"]
    rows = []
    for agent in section["table"]["agents"]:
        cells = []
        for column in columns:
            run, (metric, form) = runs.get(column.get("folder"), first), column["metric"].split(":")
            name = column.get("names", {}).get(agent, agent)
            known = f"{name}.{metric}" in run.summary["metrics"]
            cells.append(run.fill(f"{{{name}.{metric}:{form}}}") if known else "")
        rows.append([agent, *cells])
    return table_of(["", *(column["head"] for column in columns)], rows)


def _run_page(entry: dict[str, Any], section: dict[str, Any], run: Run, mark: str, root: Path) -> str:
    """Return the page of a run: protocol, how the run came about, plots, tables, every metric."""
    same_at = entry.get("same_at", "")
    changed = [f"`{path}`" for path in run.changed(_measures(section, entry), root, same_at)]
    if len(changed) > CHANGES_NAMED:
        changed[CHANGES_NAMED:] = [f"and {len(changed) - CHANGES_NAMED} others"]
    machine = f"{run.summary['cpu']}, {run.summary['seconds']:.0f} s of wall time, commit {run.commit(root)}"
    quick = ", a quick run" if run.summary["quick"] else ""
    metrics = table_of(
        ["metric", "value"], [[f"`{name}`", f"{value:g}"] for name, value in run.summary["metrics"].items()]
    )
    paragraphs = [entry.get("protocol", ""), entry.get("history", "")]
    return "\n".join(
        [
            WRITTEN,
            f"# {entry.get('title', section['title'])}{mark}\n",
            f"    {entry['command']}\n\n{machine}{quick}.\n",
            *([AGAIN.format(count=entry["same"], commit=same_at) + "\n"] if same_at else []),
            *([f"{CHANGED}{', '.join(changed)}.\n"] if changed else []),
            *(wrapped(run.fill(text)) for text in paragraphs if text),
            *(f"![{name}]({name})\n" for name in run.plots),
            f"## Tables\n\n{run.table}",
            f"## All metrics\n\n{metrics}",
        ]
    )
