"""`prepare`: OpenMM accepts the file at once, heavy atoms stay, and the report names what was removed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_cases import STRUCTURES
from build_cases import without_records
from openmm.app import ForceField, Modeller, PDBFile, PDBxFile

import geofold as gf
from geofold.app.prepare import READY, REMOVED, require_accepted
from geofold.app.result import Result
from geofold.cli import main
from geofold.errors import ForceFieldError, OptionError
from geofold.molecule.energy.amber import AMBER14
from geofold.molecule.io.read import read


def opened(result: Result) -> Any:
    text = result.content.decode()
    return (PDBxFile if text.startswith("data_") else PDBFile)(io.StringIO(text))


def step(result: Result, name: str) -> dict[str, Any]:
    return next(one for one in result.report["steps"] if one["step"] == name)


@pytest.mark.parametrize("name", ["1ubi.pdb", "1ejg.pdb", "5pti.cif"])  # waters; altlocs; disulfides and ions
def test_openmm_makes_a_system_of_the_file(name: str) -> None:
    result = gf.prepare(STRUCTURES / name, energy=False)
    topology = opened(result).topology
    system = ForceField("amber14-all.xml", "implicit/obc2.xml").createSystem(topology)
    assert system.getNumParticles() == topology.getNumAtoms() > 0
    before, after = read(STRUCTURES / name), read(result.content)
    assert {"", *before.chain[[before.is_amino_acid(k) for k in before.residue_of]]} >= set(after.chain)
    assert set(after.altloc.tolist()) == {""} and not any(after.is_water(k) for k in range(len(after.residues)))
    place = {(before.chain[a], before.resnum[a], before.name[a]): [] for a in range(len(before))}
    for a in range(len(before)):
        place[before.chain[a], before.resnum[a], before.name[a]].append(before.xyz[a])
    heavy = [a for a in range(len(after)) if after.element[a] != "H" and after.name[a] != "OXT"]
    for a in heavy:
        same = np.array(place[after.chain[a], after.resnum[a], after.name[a]])
        assert np.abs(same - after.xyz[a]).max(-1).min() < 1e-4
    again = gf.prepare(result.content, energy=False)
    assert gf.prepare(STRUCTURES / name, energy=False).content == result.content
    assert opened(again).topology.getNumAtoms() == topology.getNumAtoms()


@pytest.mark.parametrize("ph", [3.0, 7.0, 11.0])
def test_protonation_is_that_of_openmm(ph: float) -> None:
    result = gf.prepare(STRUCTURES / "1ubi.pdb", ph=ph, energy=False)
    field, file = ForceField("amber14-all.xml"), PDBFile(str(STRUCTURES / "1ubi.pdb"))
    modeller = Modeller(file.topology, file.positions)
    modeller.deleteWater()
    modeller.addHydrogens(field, pH=ph)
    wanted = [sorted(a.element.symbol for a in residue.atoms()) for residue in modeller.topology.residues()]
    given = [sorted(a.element.symbol for a in residue.atoms()) for residue in opened(result).topology.residues()]
    assert given == wanted


def test_the_report_names_what_was_removed_and_what_is_left() -> None:
    ligand = gf.prepare(STRUCTURES / "5pti.cif", energy=False)
    assert step(ligand, REMOVED)["done"] == ["63 waters", "A:70 PO4", "A:324 UNX"]
    broken = without_records((STRUCTURES / "1bhl.pdb").read_bytes(), "SEQRES")
    lines = [line for line in broken.decode().splitlines(True) if line[12:26] != " C   PRO A  58"]
    result = gf.prepare("".join(lines), energy=False)
    torn = [text for text in step(result, REMOVED)["left"] if text.startswith("A:58")]
    assert len(torn) == sum(line[12:26] == " C   PRO A  58" for line in broken.decode().splitlines())
    assert any("A:137 to A:154: a break" in text for text in step(result, READY)["left"])
    require_accepted(result.content, AMBER14)  # no bond is made across the break


def test_a_file_that_openmm_refuses_is_refused() -> None:
    with pytest.raises(ForceFieldError, match="no template"):
        require_accepted((STRUCTURES / "1ubi.pdb").read_bytes(), AMBER14)


def test_the_command_writes_the_same_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.pdb"
    assert main(["prepare", str(STRUCTURES / "1ubi.pdb"), "-o", str(out), "--ph", "4", "--no-energy"]) == 0
    assert "hydrogens at pH 4" in capsys.readouterr().err
    assert out.read_bytes() == gf.prepare(STRUCTURES / "1ubi.pdb", ph=4, energy=False).content
    assert main(["prepare", str(STRUCTURES / "1ubi.pdb"), "-o", str(out), "--ph", "40"]) == 2
    with pytest.raises(OptionError, match="from 0 to 14"):
        gf.prepare(STRUCTURES / "1ubi.pdb", ph=-1)
