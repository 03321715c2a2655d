"""The table of benchmarks: every entry can be called as it is listed, and no task imports another."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path

import pytest

import geofold.bench
from geofold.bench.run import BENCHMARKS, find, run
from geofold.errors import OptionError

FOLDER = Path(geofold.bench.__file__).parent
TASKS = ("loop", "peptide", "maze", "models", "latency")
ENTRIES = [(name, part) for name, parts in BENCHMARKS.items() for part in parts]


def imported_folders(path: Path) -> set[str]:
    """Folders of `geofold.bench` that a file imports from, deferred imports included."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    modules = [node.module.split(".") for node in nodes if (node.module or "").startswith("geofold.bench.")]
    return {parts[2] for parts in modules}


@pytest.mark.parametrize("task", ("common", *TASKS))
def test_tasks_import_nothing_but_the_common_folder(task: str) -> None:
    files = sorted((FOLDER / task).rglob("*.py"))
    assert files
    for path in files:
        assert imported_folders(path) <= {"common", task}, path


@pytest.mark.parametrize(("name", "part"), ENTRIES)
def test_every_entry_takes_its_options(name: str, part: str) -> None:
    entry = find(name, part)
    parameters = inspect.signature(import_module(f"geofold.bench.{entry.module}").run).parameters
    assert set(parameters) == {"out", *entry.options}


def test_unknown_names_and_parts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="benchmark rosetta; expected loop or"):
        run("rosetta", out=str(tmp_path))
    with pytest.raises(OptionError, match="part gate; expected packer or"):
        run("learning", out=str(tmp_path), part="gate")
    assert find("loop", "packer") is BENCHMARKS["loop"][""]
