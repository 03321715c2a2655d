"""Large structures: assemblies by symmetry, their files, and the benchmark on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from geofold import resources
from geofold.bench.latency import large_structures
from geofold.bench.latency.assemblies import icosahedral_rotations, make_capsid, mmcif_text
from geofold.molecule.io.read import read


def test_rotations_are_the_group_of_the_icosahedron() -> None:
    group = icosahedral_rotations()
    assert group.shape == (60, 3, 3)
    np.testing.assert_allclose(group @ group.transpose(0, 2, 1), np.broadcast_to(np.eye(3), group.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(group), 1.0)
    products = np.einsum("aij,bjk->abik", group, group).reshape(-1, 9)
    distance, _ = cKDTree(group.reshape(-1, 9)).query(products)
    assert distance.max() < 1e-9
    orders = np.round(360 / np.degrees(np.arccos(np.clip((np.trace(group[1:], axis1=1, axis2=2) - 1) / 2, -1, 1))), 1)
    assert {float(order): int((orders == order).sum()) for order in set(orders)} == {2.0: 15, 3.0: 20, 5.0: 12, 2.5: 12}


def test_a_capsid_is_read_back_with_sixty_chains_apart() -> None:
    single = read(resources.find("structures", "5e5z.pdb"))
    capsid = make_capsid(single)
    again = read(mmcif_text(capsid).encode())
    count = len(single)
    assert len(again) == 60 * count and len({r.chain for r in again.residues}) == 60 * len({*single.chain.tolist()})
    np.testing.assert_allclose(again.xyz, capsid.xyz, atol=5.1e-5)
    copies = capsid.xyz.reshape(60, count, 3)
    centred = copies - copies.mean(1, keepdims=True)
    gram = centred[:, :20] @ centred[:, :20].transpose(0, 2, 1)
    np.testing.assert_allclose(gram, np.broadcast_to(gram[0], gram.shape), atol=1e-9)
    pairs = cKDTree(capsid.xyz).query_pairs(0.25, output_type="ndarray")
    assert (pairs[:, 0] // count == pairs[:, 1] // count).all(), "two copies touch"


def test_the_benchmark_records_every_agent_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gemmi")
    ran: list[list[str]] = []

    def pretend(arguments: list[str]) -> dict[str, float]:
        ran.append(arguments)
        assert Path(arguments[1]).is_file()
        return {"status": 0, "cpu_seconds": 2.0 * len(ran), "peak_mb": 300.0}

    monkeypatch.setattr(large_structures, "_run", pretend)
    monkeypatch.setattr(large_structures, "REPEATS", 1)
    for _ in range(2):
        large_structures.run(str(tmp_path), quick=True, limit=None)
    assert [arguments[0] for arguments in ran] == ["check", "repair"] * 2
    metrics = json.loads((tmp_path / "summary.json").read_text())["metrics"]
    assert metrics["check_300_over_100"] == 3.0 and metrics["repair.peak_mb_100"] == 300.0
    assert metrics["read_over_gemmi_100"] > 0
    assert "| 300 | 297 | 3 |" in (tmp_path / "table.md").read_text() and (tmp_path / "sizes.png").is_file()


def test_a_process_is_measured() -> None:
    numbers = large_structures._run(["--version"])
    assert numbers["status"] == 0 and 0 < numbers["cpu_seconds"] < 60 and 5 < numbers["peak_mb"] < 5000
