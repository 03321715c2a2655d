"""Energies of a structure in a process of its own are those that are had here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from app_cases import STRUCTURES

import geofold as gf
from geofold.app.report import energies
from geofold.app.report.energies import BackgroundEnergy, as_it_is
from geofold.cli import main
from geofold.errors import ForceFieldError
from geofold.molecule.energy.amber import AMBER14, FORCE_FIELDS, ForceField
from geofold.molecule.io.read import read

SMALL, ALTERNATIVE = STRUCTURES / "1yjp.cif", "1ejg.pdb"


def test_no_torch_is_needed() -> None:
    code = "import sys; import geofold.app.report.energies; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("field", FORCE_FIELDS.values(), ids=FORCE_FIELDS)
@pytest.mark.parametrize("altloc", [None, "A"])
def test_same_numbers_and_notes(field: ForceField, altloc: str | None) -> None:
    source = SMALL if altloc is None else STRUCTURES / ALTERNATIVE
    structure = read(source)
    with BackgroundEnergy.start(source.read_bytes(), altloc, field) as aside:
        told = aside.result(structure)
    assert told == as_it_is(structure, altloc, field) and told[0]["force_field"] == field.label
    assert aside.process is not None and aside.process.poll() == 0  # it was that process that told them
    if source == SMALL:
        assert told[0]["energy_kj_mol"] < 0 and f"HOH (no {field.name} parameters)" in told[1][0]


def test_check_reports_what_the_function_returns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(SMALL), "--report", str(tmp_path / "c.json")]) == 0
    written = json.loads((tmp_path / "c.json").read_text())
    assert written == json.loads(json.dumps(gf.check(str(SMALL)))) and "kJ/mol" in capsys.readouterr().out


def test_a_process_that_fails_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    structure = read(str(SMALL))
    with BackgroundEnergy.start(SMALL.read_bytes(), None) as aside:
        assert aside.result(structure) == as_it_is(structure)


def test_unparametrised_residues_are_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise ForceFieldError("a residue", "another", "remove it")

    monkeypatch.setattr(energies, "as_it_is", refuse)
    monkeypatch.setattr(sys, "stdin", type("Piped", (), {"buffer": SMALL.open("rb")}))
    energies._main([AMBER14.name])
    said = capsys.readouterr().out
    with BackgroundEnergy.start(SMALL.read_bytes(), None) as aside:
        aside.process.kill()
        monkeypatch.setattr(aside.process, "stdout", type("Pipe", (), {"read": lambda _: said, "close": int})())
        monkeypatch.setattr(aside.process, "wait", int)
        with pytest.raises(ForceFieldError, match="a residue; expected another; remove it"):
            aside.result(read(str(SMALL)))


def test_a_missing_file_is_reported_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "no.pdb")]) == 2
    assert "does not exist" in capsys.readouterr().err
