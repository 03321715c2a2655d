"""The latency benchmark on a small scale: lattices, cases, files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from geofold import resources
from geofold.bench.latency import benchmark as latency
from geofold.bench.latency import cases as steps
from geofold.bench.latency import commands
from geofold.bench.latency import profile as profile_step
from geofold.bench.latency.cases import TimedCase, peptide_cases
from geofold.bench.latency.protein_sizes import make_lattice
from geofold.molecule.io.read import read


@pytest.mark.parametrize("copies", [1, 3, 30])
def test_lattice_copies_do_not_overlap(copies: int) -> None:
    single = read(resources.find("structures", "1ubi.pdb"))
    lattice = make_lattice(single, copies)
    count = len(single)
    assert len(lattice) == copies * count
    assert len({residue.chain for residue in lattice.residues}) == copies * len({r.chain for r in single.residues})
    assert len(lattice.residues) == copies * len(single.residues)
    np.testing.assert_array_equal(lattice.xyz[:count], single.xyz)
    boxes = lattice.xyz.reshape(copies, count, 3)
    np.testing.assert_allclose(
        boxes - boxes[:, :1], np.broadcast_to(single.xyz - single.xyz[:1], boxes.shape), atol=1e-9
    )
    low, high = boxes.min(1), boxes.max(1)
    for k in range(copies):
        separate = ((low > high[k]) | (high < low[k])).any(-1)
        assert separate.sum() == copies - 1, "two boxes overlap"


def test_lattice_needs_a_copy() -> None:
    with pytest.raises(ValueError, match="at least one"):
        make_lattice(read(resources.find("structures", "1ubi.pdb")), 0)


def test_cases_are_interleaved_and_timed() -> None:
    order: list[str] = []
    cases = [TimedCase(name, lambda name=name: order.append(name), "") for name in "ab"]  # type: ignore[misc]
    latency.interleave(cases, 3)
    assert [len(case.times) for case in cases] == [3 * latency.STEPS_PER_BLOCK] * 2
    turns = [name for k, name in enumerate(order) if not k or name != order[k - 1]]
    assert turns == ["a", "b"] * 4, "a warm-up and three blocks each"


def test_counts_of_operations_repeat() -> None:
    case = next(case for case in peptide_cases() if case.name == "peptide_k0")
    case.step()
    totals = []
    for _ in range(2):
        with profile_step.OperationTypes() as counted:
            case.step()
        totals.append(counted.calls.total())
    assert totals[0] == totals[1] > 0


def test_a_run_writes_its_measurements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "COPIES", {100: 1, 3000: 2})
    monkeypatch.setattr(latency, "QUICK_BLOCKS", 1)
    monkeypatch.setattr(commands, "COMMANDS", {"check_seconds": ("check", "1yjp.cif")})
    monkeypatch.setattr(profile_step, "PROFILED_STEPS", 2)
    latency.run(str(tmp_path), quick=True, limit=60)
    metrics = json.loads((tmp_path / "summary.json").read_text())["metrics"]
    with np.load(tmp_path / "times.npz") as times:
        assert metrics["peptide.mean"] == pytest.approx(times["peptide"].mean(), abs=1e-5)
        assert metrics["peptide_step_over_openmm"] == pytest.approx(
            times["peptide"].mean() / times["openmm"].mean(), abs=1e-4
        )
        assert len(times["stream"]) == 60
    assert metrics["check_seconds"] > 0.1, "at least the start of Python"
    assert {"peptide_shipped_over_openmm", "loop_shipped_over_openmm", "loop_step_3000_over_100"} <= metrics.keys()
    assert "loop_step_100_over_100" not in metrics
    assert metrics["peptide.p50"] <= metrics["peptide.p99"]
    for page in ("table.md", "profile.md"):
        assert "peptide_batch64" in (tmp_path / page).read_text()
