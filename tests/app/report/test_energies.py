"""Energies of a structure in a background thread are those of the main thread."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from app_cases import STRUCTURES

import geofold as gf
from geofold.app.report import energies
from geofold.app.report.energies import BackgroundEnergy, as_it_is
from geofold.cli import main
from geofold.errors import ForceFieldError
from geofold.molecule.energy.amber import FORCE_FIELDS, ForceField
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
    with BackgroundEnergy.start(structure, altloc, field) as background:
        numbers, notes = background.result(structure)
    assert (numbers, notes) == as_it_is(structure, altloc, field) and numbers["force_field"] == field.label
    assert not background.thread.is_alive()
    if source == SMALL:
        assert numbers["energy_kj_mol"] < 0 and f"HOH (no {field.name} parameters)" in notes[0]


def test_check_reports_what_the_function_returns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(SMALL), "--report", str(tmp_path / "c.json")]) == 0
    written = json.loads((tmp_path / "c.json").read_text())
    assert written == json.loads(json.dumps(gf.check(str(SMALL)))) and "kJ/mol" in capsys.readouterr().out


def test_errors_of_the_thread_are_raised_by_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ForceFieldError("a residue", "another", "remove it")

    monkeypatch.setattr(energies, "as_it_is", refuse)
    structure = read(SMALL)
    with (
        BackgroundEnergy.start(structure, None) as background,
        pytest.raises(ForceFieldError, match="a residue; expected another; remove it"),
    ):
        background.result(structure)


def test_the_thread_is_awaited_after_an_error_but_not_after_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    structure, go_on = read(SMALL), threading.Event()
    monkeypatch.setattr(energies, "as_it_is", lambda *_: (go_on.wait(10), []))
    with pytest.raises(KeyboardInterrupt), BackgroundEnergy.start(structure, None) as background:
        raise KeyboardInterrupt
    assert background.thread.is_alive() and background.thread.daemon
    go_on.set()
    with pytest.raises(RuntimeError), BackgroundEnergy.start(structure, None) as background:
        raise RuntimeError
    assert not background.thread.is_alive()


def test_a_missing_file_is_reported_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "no.pdb")]) == 2
    assert "does not exist" in capsys.readouterr().err
