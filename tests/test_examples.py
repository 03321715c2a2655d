"""The examples run as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = {
    "03_stream_changing_constraints.py": "reached True",
    "04_your_own_domain.py": "the domain keeps its contract",
}


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
