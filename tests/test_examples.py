"""The examples run as they stand, and so do the Python blocks and command lines of the README."""

from __future__ import annotations

from pathlib import Path

import pytest
from app_cases import ROOT
from example_cases import command_lines, known, mentions, parsed, python_blocks, run_python

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
