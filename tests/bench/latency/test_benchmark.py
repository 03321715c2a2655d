"""The latency benchmark on a small scale: assemblies, agents, files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from geofold import resources
from geofold.bench.latency import benchmark as latency
from geofold.bench.latency import cases as steps
from geofold.bench.latency import profile as profile_step
from geofold.bench.latency.cases import Agent, peptide_agents
from geofold.bench.latency.protein_sizes import assembly
from geofold.molecule.structure import read


@pytest.mark.parametrize("copies", [1, 3, 30])
def test_assembly_is_copies_side_by_side(copies: int) -> None:
    single = read(resources.find("structures", "1ubi.pdb"))
    made = assembly(single, copies)
    count = len(single)
    assert len(made) == copies * count
    assert len({residue.chain for residue in made.residues}) == copies * len({r.chain for r in single.residues})
    assert len(made.residues) == copies * len(single.residues)
    np.testing.assert_array_equal(made.xyz[:count], single.xyz)
    boxes = made.xyz.reshape(copies, count, 3)
    np.testing.assert_allclose(
        boxes - boxes[:, :1], np.broadcast_to(single.xyz - single.xyz[:1], boxes.shape), atol=1e-9
    )
    low, high = boxes.min(1), boxes.max(1)
    for k in range(copies):
        apart = ((low > high[k]) | (high < low[k])).any(-1)
        assert apart.sum() == copies - 1, "two boxes overlap"


def test_assembly_needs_a_copy() -> None:
    with pytest.raises(ValueError, match="at least one"):
        assembly(read(resources.find("structures", "1ubi.pdb")), 0)


def test_agents_take_turns_and_keep_their_times() -> None:
    order: list[str] = []
    agents = [Agent(name, lambda name=name: order.append(name), "") for name in "ab"]  # type: ignore[misc]
    latency.take_turns(agents, 3)
    assert [len(agent.times) for agent in agents] == [3 * latency.BLOCK] * 2
    turns = [name for k, name in enumerate(order) if not k or name != order[k - 1]]
    assert turns == ["a", "b"] * 4, "a warm-up and three blocks each"


def test_counts_of_operations_repeat() -> None:
    agent = next(agent for agent in peptide_agents() if agent.name == "peptide_k0")
    agent.step()
    totals = []
    for _ in range(2):
        with profile_step.Counted() as counted:
            agent.step()
        totals.append(counted.calls.total())
    assert totals[0] == totals[1] > 0


def test_run_writes_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "COPIES", {100: 1, 3000: 2})
    monkeypatch.setattr(latency, "QUICK_BLOCKS", 1)
    monkeypatch.setattr(profile_step, "STEPS", 2)
    latency.run(str(tmp_path), quick=True, limit=60)
    metrics = json.loads((tmp_path / "summary.json").read_text())["metrics"]
    with np.load(tmp_path / "times.npz") as times:
        assert metrics["peptide.mean"] == pytest.approx(times["peptide"].mean(), abs=1e-5)
        assert metrics["peptide_step_over_openmm"] == pytest.approx(
            times["peptide"].mean() / times["openmm"].mean(), abs=1e-4
        )
        assert len(times["stream"]) == 60
    assert metrics["peptide.p50"] <= metrics["peptide.p99"]
    for page in ("table.md", "profile.md"):
        assert "peptide_batch64" in (tmp_path / page).read_text()
