"""Candidates from elsewhere: a model in another frame and numbering is fitted, others are refused in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from app_cases import STRUCTURES
from scipy.spatial.transform import Rotation

import geofold as gf
from geofold.cli import main
from geofold.errors import BuildError
from geofold.geometry import rmsd
from geofold.modelling.search.candidates import LoopCandidates
from geofold.modelling.search.external import external_candidates, fit_model
from geofold.molecule.io.edit import without_atoms
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.loop.build_plan import rebuild_plan
from geofold.molecule.selection import backbone_atoms, find_range
from geofold.molecule.structure import Structure

LOOP = "A:45-52"
NATIVE = read(STRUCTURES / "1ubi.pdb")
FIRST, LAST = find_range(NATIVE, LOOP)


def elsewhere(structure: Structure) -> Structure:
    """The structure in another frame, as chain B, numbered from 101."""
    shift = np.array([3.0, -2.0, 5.0])
    turned = Rotation.from_rotvec([0.4, -1.1, 0.7]).apply(structure.xyz) + shift
    return replace(
        structure,
        xyz=turned,
        chain=np.full(len(structure), "B"),
        resnum=structure.resnum + 100,
        residues=tuple(replace(residue, chain="B", resnum=residue.resnum + 100) for residue in structure.residues),
        document=None,
    )


def written(structure: Structure, path: Path) -> str:
    path.write_bytes(render(structure, structure.xyz, np.zeros(len(structure), dtype=bool)))
    return str(path)


@pytest.fixture(scope="module")
def loop() -> LoopCandidates:
    return LoopCandidates.of(NATIVE, rebuild_plan(NATIVE, FIRST, LAST))


def test_a_model_elsewhere_is_fitted_to_the_anchors(loop: LoopCandidates, tmp_path: Path) -> None:
    atoms = np.array(backbone_atoms(NATIVE, FIRST, LAST, NATIVE.conformer_mask))
    native = NATIVE.xyz[atoms].reshape(-1, 4, 3)
    paths = [str(STRUCTURES / "1ubi.pdb"), written(elsewhere(NATIVE), tmp_path / "model.pdb")]
    rows = external_candidates(loop, paths)
    assert len(rows) == 2
    same, moved = 10 * rmsd(loop.backbone(rows), native, (1, 2))
    assert same < 0.5
    assert moved == pytest.approx(same, abs=0.02)
    again = loop.close(loop.torsions(rows))
    np.testing.assert_allclose(loop.backbone(again), loop.backbone(rows), atol=1e-4, err_msg="they are closed")


def test_a_model_without_the_loop_is_refused(loop: LoopCandidates) -> None:
    gap = without_atoms(NATIVE, (NATIVE.residue_of > FIRST) & (NATIVE.residue_of < LAST))
    for model in (gap, read(STRUCTURES / "1orc.pdb")):
        with pytest.raises(BuildError, match="has no residues A:45-52 of sequence"):
            fit_model(loop, model)


def test_a_good_candidate_is_found_among_few_streams(tmp_path: Path) -> None:
    bent = (STRUCTURES / "1ubi_bent.pdb").read_bytes()
    model = written(elsewhere(NATIVE), tmp_path / "model.pdb")
    result = gf.repair(bent, "A:45-56", streams=2, rounds=1, seed=0, candidate=model)
    assert result.passed
    (entry,) = result.report["candidate_rmsd_angstrom"]
    assert entry[0] < 0.8
    assert list(result.report["options"]["candidate"]) == [model]


def test_a_file_without_atoms_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong, output = tmp_path / "wrong.pdb", tmp_path / "out.pdb"
    wrong.write_text("REMARK nothing here\n")
    source = str(STRUCTURES / "1ubi_bent.pdb")
    status = main(["repair", source, "-o", str(output), "--loop", "A:45-56", "--candidate", str(wrong)])
    lines = capsys.readouterr().err.strip().splitlines()
    assert status == 2 and len(lines) == 1 and "wrong.pdb" in lines[0] and not output.exists()
