"""The tutorial notebook: it runs from top to bottom, and what is kept of its outputs is small."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from app_cases import ROOT
from example_cases import NOTEBOOK

CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


def test_its_cells_are_python() -> None:
    for cell in CODE:
        compile("".join(cell["source"]), NOTEBOOK.name, "exec")


def test_what_is_kept_is_small_and_was_run_in_order() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 300_000
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    for word in ("3Dmol-min", "application/vnd.jupyter.widget", "text/html", "application/3dmoljs", "0x7"):
        assert word not in text
    assert str(Path.home()) not in text and "/structures/" not in text and "Traceback" not in text
    told = [cell for cell in CODE if "print(" in "".join(cell["source"]) or "summary()" in "".join(cell["source"])]
    assert told and all(cell["outputs"] for cell in told)
    views = [cell for cell in CODE if ".view()" in "".join(cell["source"])]
    assert views and not any(cell["outputs"] for cell in views)


def test_it_shows_what_it_is_for() -> None:
    source = "\n".join("".join(cell["source"]) for cell in CODE)
    for call in ("gf.check(", "gf.repair(", "build=", "gf.constrain(", "gf.steer(", ".view()", ".trajectory", "seed="):
        assert call in source


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import run_tutorial

    run_tutorial.main(tmp_path / "run.ipynb", tmp_path)
    again = json.loads((tmp_path / "run.ipynb").read_text(encoding="utf-8"))["cells"]
    assert [cell["source"] for cell in again] == [cell["source"] for cell in CELLS]
    assert {path.name for path in tmp_path.iterdir()} == {"run.ipynb", "repaired.pdb", "repaired.html"}
    sys.modules.pop("run_tutorial", None)
