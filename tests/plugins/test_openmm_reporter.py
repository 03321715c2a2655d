"""The reporter in a real simulation, what it watches against the numbers of the report, and our force field's door."""

from __future__ import annotations

import csv
import io
from importlib.metadata import entry_points

import numpy as np
import openmm
import pytest
from openmm import app, unit

from geofold.app.report import measure
from geofold.errors import CoordinateError, OptionError, OutputError, ResidueRangeError
from geofold.molecule.analysis.residue_monitor import ResidueMonitor
from geofold.molecule.energy import ramachandran
from geofold.molecule.io.read import read
from geofold.molecule.topology.torsion_tree import torsion_tree
from geofold.plugins.openmm import structure_from_openmm
from geofold.plugins.openmm_reporter import COLUMNS, STATE_NAMES, TorsionReporter
from geofold.resources import find, forcefield_directory

FIELDS = ("amber14/protein.ff14SB.xml", "geofold_sterics.xml")


@pytest.fixture(scope="module")
def simulation() -> app.Simulation:
    """A peptide under amber14 and our clash term, the latter found by OpenMM through its entry point."""
    file = app.PDBFile(str(find("structures", "5e5z.pdb")))
    model, field = app.Modeller(file.topology, file.positions), app.ForceField(*FIELDS)
    model.deleteWater()
    platform = openmm.Platform.getPlatformByName("Reference")
    model.addHydrogens(field, platform=platform)
    system = field.createSystem(model.topology, nonbondedMethod=app.NoCutoff)
    made = app.Simulation(model.topology, system, openmm.VerletIntegrator(0.0005), platform)
    made.context.setPositions(model.positions)
    return made


def positions(simulation: app.Simulation) -> np.ndarray:
    state = simulation.context.getState(positions=True)
    return np.array(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer))


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_our_force_fields_are_found_by_name(simulation: app.Simulation) -> None:
    doors = entry_points(group="openmm.forcefielddir")
    if "geofold" not in doors.names:
        pytest.skip("geofold is not installed, only imported")
    assert doors["geofold"].load()() == forcefield_directory()
    named = {force.getName() for force in simulation.system.getForces()}
    assert "CustomNonbondedForce" in named


def test_the_reporter_logs_what_the_report_would_say(simulation: app.Simulation) -> None:
    out, interval = io.StringIO(), 3
    simulation.reporters[:] = [TorsionReporter(out, interval)]
    simulation.currentStep = 0
    simulation.step(7)
    rows = rows_of(out.getvalue())
    assert tuple(rows[0]) == COLUMNS
    assert sorted({int(row["step"]) for row in rows}) == [3, 6]
    simulation.reporters[:] = []
    out = io.StringIO()
    simulation.reporters[:] = [TorsionReporter(out, 1)]
    simulation.step(1)
    structure = structure_from_openmm(simulation.topology, positions(simulation))
    reported = measure.backbone(structure, structure.xyz)
    for row in rows_of(out.getvalue()):
        k = [residue.label for residue in structure.residues].index(row["residue"])
        assert row["resname"] == structure.residues[k].resname
        for name, angles in (("phi_deg", reported.phi), ("psi_deg", reported.psi), ("omega_deg", reported.omega)):
            assert (row[name] == "") == np.isnan(angles[k])
            if row[name]:
                assert abs((float(row[name]) - np.degrees(angles[k]) + 180) % 360 - 180) < 0.01
        assert row["ramachandran"] == STATE_NAMES[int(reported.verdict[k])]
    simulation.reporters[:] = []


def test_files_residues_and_going_on(simulation: app.Simulation, tmp_path) -> None:
    path = tmp_path / "torsions.csv"
    labels = [r.label for r in structure_from_openmm(simulation.topology, positions(simulation)).residues]
    span = f"{labels[1]}-{labels[2].split(':')[1]}"
    for append in (False, True):
        reporter = TorsionReporter(path, 2, span, append=append)
        simulation.reporters[:] = [reporter]
        simulation.step(2)
        reporter.close()
    rows = rows_of(path.read_text(encoding="utf-8"))
    assert [row["residue"] for row in rows] == labels[1:3] * 2
    simulation.reporters[:] = []


def test_mistakes_raise_before_the_first_step(simulation: app.Simulation, tmp_path) -> None:
    with pytest.raises(OptionError, match="interval 0"):
        TorsionReporter(io.StringIO(), 0)
    with pytest.raises(ResidueRangeError, match="is not a residue range"):
        TorsionReporter(io.StringIO(), 1, ["forty-five"])
    with pytest.raises(OutputError, match="cannot be written"):
        TorsionReporter(tmp_path / "no" / "folder.csv", 1)
    simulation.reporters[:] = [TorsionReporter(io.StringIO(), 1, ["Z:1-5"])]
    before = simulation.currentStep
    with pytest.raises(ResidueRangeError, match="chain 'Z'"):
        simulation.step(1)
    assert simulation.currentStep == before
    simulation.reporters[:] = []


def test_an_exploded_simulation_is_named(simulation: app.Simulation) -> None:
    class Exploded:
        def getPositions(self, asNumpy: bool) -> unit.Quantity:
            return np.full((simulation.topology.getNumAtoms(), 3), np.nan) * unit.nanometer

    reporter = TorsionReporter(io.StringIO(), 1)
    reporter.describeNextReport(simulation)
    with pytest.raises(CoordinateError, match="shorter time step"):
        reporter.report(simulation, Exploded())


def test_overlaps_are_those_of_the_report() -> None:
    structure = read(find("structures", "1ubi_bent.pdb"))
    monitor = ResidueMonitor.of(structure, ["A:45-56"])
    state = monitor.evaluate(structure.xyz)
    first, last = int(monitor.residues[0]), int(monitor.residues[-1])
    tree = torsion_tree(structure, first, last)
    expected = {(min(i, j), max(i, j)) for i, j, _ in measure.overlaps(structure, tree, structure.xyz)}
    ends = structure.residue_of[state.pairs]
    inside = (ends >= first) & (ends <= last)
    assert inside.any(1).all()
    # atoms of the loop that its torsions do not carry are watched, but cannot be distinguished by moving
    carried = np.isin(state.pairs, tree.atoms).any(1)
    assert {tuple(pair) for pair in state.pairs[carried].tolist()} == {
        pair for pair in expected if np.isin(structure.residue_of[list(pair)], monitor.residues).any()
    }
    assert len(expected) > 50 and state.overlaps.sum() == len(ends) + (inside.all(1) & (ends[:, 0] != ends[:, 1])).sum()


def test_torsions_are_those_of_the_report_gaps_included() -> None:
    structure = read(find("structures", "1bhl.pdb"))
    monitor = ResidueMonitor.of(structure)
    state, reported = monitor.evaluate(structure.xyz), measure.backbone(structure, structure.xyz)
    for mine, theirs in ((state.phi, reported.phi), (state.psi, reported.psi), (state.omega, reported.omega)):
        theirs = theirs[monitor.residues]
        assert np.array_equal(np.isnan(mine), np.isnan(theirs))
        difference = np.angle(np.exp(1j * (mine - theirs)))
        assert np.nanmax(np.abs(difference)) < 1e-3
    both = ~np.isnan(state.percentile)
    assert np.array_equal(state.verdict[both], reported.verdict[monitor.residues][both])
    assert (state.verdict == ramachandran.OUTLIER).sum() == 1
