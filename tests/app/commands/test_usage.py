"""Wrong command lines: one line that names the mistake and the right help text, and exit status 2."""

from __future__ import annotations

import pytest

from geofold.cli import main


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("batch", "batch needs a command: repair, constrain; see geofold batch --help"),
        ("batch repair", "Missing argument 'JOBS.csv'; see geofold batch repair --help"),
        ("check x.pdb --report", "Option '--report' requires an argument; see geofold check --help"),
        ("batch repair x.csv --workers", "Option '--workers' requires an argument; see geofold batch repair --help"),
        (
            "repair x.pdb --loop A:1-9 -o y.pdb --seed abc",
            "Invalid value for '--seed': a whole number was expected; see geofold repair --help",
        ),
        (
            "fix x.pdb -o y.pdb --budget x",
            "Invalid value for '--budget': a number was expected; see geofold fix --help",
        ),
        ("nosuch", "No such command 'nosuch'; see geofold --help"),
        ("--nosuch", "No such option: --nosuch; see geofold --help"),
    ],
)
def test_a_wrong_command_line_ends_in_one_line(line: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    shown = capsys.readouterr()
    assert shown.err == f"geofold: {expected}\n" and not shown.out


def test_a_structure_and_a_report_do_not_share_the_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["repair", "x.pdb", "--loop", "A:1-9", "-o", "-", "--json"]) == 2
    shown = capsys.readouterr()
    assert "both on standard output" in shown.err and shown.err.count("\n") == 1 and not shown.out


@pytest.mark.parametrize("line", ["view x.pdb -o page.pdb", "repair x.pdb --loop A:1-9 -o y.pdb --view page.txt"])
def test_a_page_has_the_name_of_a_page(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    assert "expected a name ending in .html" in capsys.readouterr().err


def test_the_list_of_commands_is_not_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "..." not in capsys.readouterr().out.split("Commands:")[1]
