"""Untrusted text meets a terminal and a shell: nothing but printable characters, and one word for one text."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_cases import STRUCTURES
from hypothesis import given
from hypothesis import strategies as st

import geofold as gf
from geofold.app.batch.results import FIELDS, Results
from geofold.app.report.check_text import check_text
from geofold.app.result import summary
from geofold.app.sources import load
from geofold.cli import main
from geofold.errors import LONGEST_PART, OptionError
from geofold.terminal import printable, printable_lines, shell_quoted

CLEAR = "\x1b[2J\x9b31m\u202e"
"""Clears a screen, colours it (the one-character form) and turns the writing direction."""


@given(st.text())
def test_printable_text_is_one_line_without_controls(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable() and (shown == text) == text.isprintable()
    assert printable_lines(text).count("\n") == text.count("\n")


@given(st.lists(st.binary(min_size=1).map(lambda name: name.replace(b"\0", b"")).filter(bool), min_size=1, max_size=20))
def test_a_shell_reads_back_what_was_quoted(names: list[bytes]) -> None:
    words = [shell_quoted(name.decode("utf-8", "surrogateescape")) for name in names]
    assert all(word.isprintable() for word in words)
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {' '.join(words)}"], capture_output=True, check=True)
    assert done.stdout.split(b"\0")[:-1] == names


def gapped(chain: str) -> bytes:
    """Ubiquitin without residues 30 to 33, its chain called by the text, which mmCIF takes."""
    whole = load(STRUCTURES / "1ubi.pdb")
    lines = ["data_x", "loop_"] + [f"_atom_site.{key}" for key in (
        "group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id",
        "label_seq_id", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy", "B_iso_or_equiv", "auth_seq_id", "auth_asym_id",
        "pdbx_PDB_ins_code", "pdbx_PDB_model_num")]  # fmt: skip
    for k in np.flatnonzero(np.isin(whole.resnum, [*range(20, 30), *range(34, 44)]) & ~whole.hetatm).tolist():
        x, y, z = (10 * whole.xyz[k]).round(3).tolist()
        lines.append(
            f"ATOM {k + 1} {whole.element[k]} {whole.name[k]} . {whole.resname[k]} '{chain}' {whole.resnum[k]} "
            f"{x} {y} {z} 1.0 0.0 {whole.resnum[k]} '{chain}' ? 1"
        )
    return ("\n".join(lines) + "\n#\n").encode()


@pytest.mark.parametrize("chain", ["$(touch ran)", "`touch ran`", "A;touch ran", "A B"])
def test_a_command_of_check_runs_nothing_when_pasted(
    chain: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "$(touch ran).cif"
    source.write_bytes(gapped(chain))
    assert main(["check", str(source), "--no-energy"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "geofold repair" in line]
    assert lines
    command = lines[0].split("to repair it")[1].strip()
    shell = f"geofold() {{ printf '%s\\0' \"$@\"; }}; {command}"
    pasted = subprocess.run(["bash", "-c", shell], capture_output=True, cwd=tmp_path, check=True)
    words = pasted.stdout.decode().split("\0")
    assert words[1] == str(source) and words[3].startswith(f"{chain}:30-33")
    assert sorted(path.name for path in tmp_path.iterdir()) == [source.name]


def test_no_control_of_a_file_reaches_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / f"x{CLEAR}\n.cif"
    source.write_bytes(gapped(f"A{CLEAR}"))
    for arguments in (["check", str(source), "--no-energy"], ["repair", str(source), "--loop", "Z:1-9", "-o", "o.cif"]):
        main(arguments)
        said = "".join(capsys.readouterr())
        assert printable_lines(said) == said and "\\x1b[2J" in said


def evil(value: Any) -> Any:
    """The same report, with a control in every text."""
    if isinstance(value, dict):
        return {key: evil(item) for key, item in value.items()}
    if isinstance(value, list):
        return [evil(item) for item in value]
    return value + CLEAR + "\n" if isinstance(value, str) else value


def test_summaries_check_texts_and_tables_are_printable(tmp_path: Path) -> None:
    result = gf.constrain(sequence="AEGKTWYN", contacts=["A:1-A:8<9.0"], energy=False)
    kept = {key: value for key, value in result.report.items() if key != "command"}
    text = summary(evil(kept) | {"command": "constrain"})
    assert printable_lines(text) == text and len(text.splitlines()) == len(summary(result.report).splitlines())
    found = gf.check(gapped("A"), energy=False)
    text = check_text(evil(found))
    assert printable_lines(text) == text and len(text.splitlines()) == len(check_text(found).splitlines())
    table = Results(str(tmp_path / "t.csv"))
    table.write([dict.fromkeys(FIELDS, CLEAR) | {"row": 2}])
    written = (tmp_path / "t.csv").read_text(encoding="utf-8")
    assert printable_lines(written) == written


def test_an_error_is_one_short_printable_line() -> None:
    said = str(OptionError("x" * 50_000 + CLEAR, "y\n" * 50_000, "z"))
    assert said.isprintable() and len(said) < 3 * LONGEST_PART and said.startswith("xxx") and "\\u202e" in said


def test_a_progress_name_is_not_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    from geofold.app.commands.console import console_progress

    said = io.StringIO()
    said.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setenv("TERM", "xterm")
    with console_progress(verbose=False) as tell:
        assert tell is not None
        tell("[/no]\x1b]0;title\x07:1-9", 0, 10, 1.0)
    assert "[/no]" in said.getvalue() and "\x1b]0" not in said.getvalue()
