"""The examples run as they stand, and so do the Python blocks and command lines of the README."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_cases import ROOT, STRUCTURES
from build_cases import without
from example_cases import command_lines, known, mentions, parsed, python_blocks, run_python

from geofold.molecule.io.read import read

EXAMPLES = {
    "02_constrain_a_peptide.py": "audit: passed",
    "03_stream_changing_constraints.py": "  reached",
    "04_your_own_domain.py": "the domain keeps its contract",
    "05_maze.py": "reached, 0 collisions",
}
README = ROOT / "README.md"


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(name: str, tmp_path: Path) -> None:
    done = run_python((ROOT / "examples" / name).read_text(encoding="utf-8"), tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    assert EXAMPLES[name] in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, shown",
    [
        ("06_simulate.py", "100 steps, finite energy: True"),
        ("07_pdbfixer.py", "still missing: {}\n1231 atoms"),
    ],
)
def test_examples_with_openmm_run(name: str, shown: str, tmp_path: Path) -> None:
    done = run_python((ROOT / "examples" / name).read_text(encoding="utf-8"), tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout


def test_the_commands_of_the_snakemake_rules_can_be_read() -> None:
    text = (ROOT / "examples" / "snakemake" / "Snakefile").read_text(encoding="utf-8")
    commands = re.findall(r'"(geofold [^"]*?) 2> \{log\}', text)
    assert len(commands) == 2
    for command in commands:
        assert parsed(re.sub(r"\{([\w.]+)\}", "FILE.pdb", command))
    # every file of a rule is made by another rule or is an input; names in a command are those of its rule
    for rule in re.split(r"^rule ", text, flags=re.MULTILINE)[2:]:
        for name in re.findall(r"\{output\.(\w+)\}", rule):
            assert f"{name}=" in rule
    made = set(re.findall(r'"((?:fixed|prepared)/[^"]*)"', text.split("rule all")[1]))
    assert "fixed/{name}.pdb" in made and "prepared/{name}.pdb" in made


@pytest.mark.slow
def test_example_of_a_repair_runs(tmp_path: Path) -> None:
    done = run_python((ROOT / "examples" / "01_repair_a_loop.py").read_text(encoding="utf-8"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "passed its audit: True" in done.stdout
    assert {"1ubi_repaired.pdb", "1ubi_repaired.html"} <= {path.name for path in tmp_path.iterdir()}


def test_a_domain_of_ones_own_takes_less_than_eighty_lines() -> None:
    assert len((ROOT / "examples" / "04_your_own_domain.py").read_text(encoding="utf-8").splitlines()) < 80


@pytest.mark.slow
@pytest.mark.parametrize("block", python_blocks(README), ids=lambda block: block.strip().splitlines()[-1][:40])
def test_readme_block_runs(block: str, tmp_path: Path) -> None:
    done = run_python(block, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", command_lines(README))
def test_readme_command_line_can_be_read(line: str) -> None:
    assert parsed(line)


@pytest.mark.parametrize("mention", mentions(README))
def test_readme_names_commands_that_there_are(mention: str) -> None:
    assert known(mention)


def first_ten_minutes() -> Any:
    spec = importlib.util.spec_from_file_location("first_ten_minutes", ROOT / "examples" / "first_ten_minutes.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


def test_what_a_newcomer_types_can_be_read_and_covers_what_the_readme_shows() -> None:
    typed = [line.strip() for step in first_ten_minutes().STEPS for line in step.typed.split("&&")]
    commands = [line for line in typed if line.startswith("geofold ") and "--help" not in line]
    for line in commands:
        assert parsed(line) or line == "geofold doctor", line
    assert {line.split()[1] for line in commands} >= {"doctor", "check", "repair", "view", "batch"}


def test_a_step_ends_the_script_if_its_status_or_its_words_are_others(tmp_path: Path) -> None:
    if shutil.which("tmux") is None:
        pytest.skip("no tmux on this machine")
    script, transcript = first_ten_minutes(), tmp_path / "screens.txt"
    fine = script.Step("ls 1ubi.pdb", "1ubi.pdb")
    ((_, status, screen),) = script.main((fine,), transcript, 60)
    assert status == 0 and "1ubi.pdb" in screen and transcript.read_text().startswith("$ ls 1ubi.pdb")
    for wrong in (script.Step("ls 1ubi.pdb", "audit"), script.Step("ls 1ubi.pdb", "1ubi.pdb", status=2)):
        with pytest.raises(SystemExit, match="expected status"):
            script.main((wrong,), None, 60)


@pytest.mark.slow
def test_the_first_ten_minutes_of_a_newcomer(tmp_path: Path) -> None:
    if shutil.which("tmux") is None:
        pytest.skip("no tmux on this machine")
    script = first_ten_minutes()
    script.main(script.STEPS, tmp_path / "screens.txt", 900)


def gap_script() -> Any:
    spec = importlib.util.spec_from_file_location("compare", ROOT / "examples" / "compare_with_pdbfixer.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown_table() -> list[list[str]]:
    """Cells of the table at the top of the README."""
    script, text = gap_script(), README.read_text(encoding="utf-8")
    table = text[text.index(script.BEGIN) + len(script.BEGIN) : text.index(script.END)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()]
    return [rows[0], *rows[2:]]


def test_distances_are_those_of_pairs_with_a_new_residue() -> None:
    script, native = gap_script(), read(STRUCTURES / "1ubi.pdb")
    gapped = read(without("1ubi.pdb", (46, 48)))
    distances = script.ca_distances(native, gapped)
    assert len(distances) == 4 and np.abs(distances - 3.8).max() < 0.1
    assert len(script.ca_distances(native, native)) == 0


@pytest.mark.slow
def test_the_table_of_the_gap_is_what_its_script_measures() -> None:
    head, *rows = shown_table()
    measured = gap_script().rows(STRUCTURES / f"{head[0].split(',')[0]}")
    assert [tuple(row) for row in rows[:-1]] == measured[:-1]  # CPU times differ


def test_the_table_of_the_gap_is_whole() -> None:
    head, *rows = shown_table()
    assert head[1:] == ["the file", "PDBFixer", "geofold"] and (STRUCTURES / head[0].split(",")[0]).is_file()
    assert [row[0] for row in rows] == list(gap_script().LABELS) and all(row[2] and row[3] for row in rows)
