"""The examples run as they stand, and the Python blocks of the README."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = {
    "03_stream_changing_constraints.py": "  reached",
    "04_your_own_domain.py": "the domain keeps its contract",
    "05_maze.py": "reached, 0 collisions",
}
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(name):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name)], capture_output=True, text=True, cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert EXAMPLES[name] in done.stdout


def test_a_domain_of_ones_own_takes_less_than_eighty_lines():
    assert len((ROOT / "examples" / "04_your_own_domain.py").read_text(encoding="utf-8").splitlines()) < 80


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[-1][:40])
def test_readme_block_runs(block: str, tmp_path: Path) -> None:
    (tmp_path / "structures").symlink_to(ROOT / "structures")
    done = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""}, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
