"""Missing loops built end to end: what comes out is whole, bonded, clean, and nothing else changed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from build_cases import QUICK, checked, renumbered, without, without_records

import geofold as gf
from geofold.app.result import Result
from geofold.cli import main
from geofold.modelling.build import missing_loops
from geofold.modelling.options import RunOptions
from geofold.molecule.io.read import read
from geofold.molecule.loop.build_request import plan_builds
from geofold.molecule.structure import Structure


@pytest.fixture(scope="module")
def short() -> Result:
    return gf.repair(without("1ubi.pdb", (58, 61)), build="A:58-61=DYNI", streams=1, rounds=1, name="1ubi.pdb")


def test_four_residues_are_built_clean(short: Result) -> None:
    checked(short, "A:58-61", "DYNI")
    assert without(short.content, (58, 61)) == without("1ubi.pdb", (58, 61))
    assert short.passed and short.report["after"]["severe_overlaps"] == 0
    assert short.report["after"]["ramachandran"]["outliers"] == 0


def test_the_report_and_the_summary_say_what_was_built(short: Result) -> None:
    (built,) = short.report["built"]
    assert (built["residues"], built["sequence"], built["sequence_from"]) == ("A:58-61", "DYNI", "given")
    assert built["residues_replaced"] == 0 and built["atoms"] == 36
    assert short.report["before"] == {"missing_residues": 4} and short.report["moved"]["atoms"] == 0
    assert short.report["after"]["missing_residues"] == 0 and short.report["after"]["energy_kj_mol"] < 0
    text = short.summary()
    assert "built A:58-61 DYNI (sequence: given), 36 atoms" in text and "- ->" in text
    json.loads(short.report_text())
    assert "A:58" in short.page()


def test_the_path_begins_at_a_closed_conformation_and_ends_at_the_output(short: Result) -> None:
    structure = short.structure
    carbon = structure.atom(56, "C", structure.conformer_mask)
    nitrogen = structure.atom(57, "N", structure.conformer_mask)
    length = np.linalg.norm(short.frames[:, carbon] - short.frames[:, nitrogen], axis=-1)
    assert np.abs(length - 0.1331).max() < 0.0005
    assert np.array_equal(short.frames[0], structure.xyz) and np.abs(short.frames[-1] - short.xyz).max() < 1e-4


def test_same_sequence_and_seed_same_bytes_and_another_seed_another_answer() -> None:
    content = without("1ubi.pdb", (58, 61))
    one, two = (gf.repair(content, build=text, **QUICK) for text in ("A:58-61=DYNI", "A:58-61"))
    assert [r.report["built"][0]["sequence_from"] for r in (one, two)] == ["given", "SEQRES"]
    assert one.content == two.content
    other = gf.repair(content, build="A:58-61", seed=1, **QUICK)
    checked(other, "A:58-61", "DYNI")
    assert other.content != one.content


def test_eight_residues_of_an_mmcif_file() -> None:
    content = without("1fas.cif", (8, 15))
    result = gf.repair(content, build="A:8-15", **QUICK)
    checked(result, "A:8-15", "TTSRAILT")
    assert result.report["built"][0]["sequence_from"] == "pdbx_poly_seq_scheme"
    assert without(result.content, (8, 15)) == content
    assert result.report["after"]["severe_overlaps"] == 0


def test_included_neighbours_are_rebuilt() -> None:
    content = without("1ubi.pdb", (8, 8))
    (gap,) = gf.check(content, energy=False)["chain_breaks"]
    assert gap["missing"] == 1 and gap["build"] == "A:7-9"
    result = gf.repair(content, build=gap["build"], **QUICK)
    checked(result, "A:7-9", "TLT")
    assert without(result.content, (7, 9)) == without(content, (7, 9))
    assert result.report["built"][0]["residues_replaced"] == 2 and result.report["before"] == {"missing_residues": 1}


def test_another_sequence_and_a_leading_proline() -> None:
    content = without_records(without("1ubi.pdb", (44, 47)), "SEQRES")
    checked(gf.repair(content, build="A:44-47=PGAS", **QUICK), "A:44-47", "PGAS")


def test_three_residues_have_no_freedom_but_several_conformations() -> None:
    result = gf.repair(without("1ubi.pdb", (8, 10)), build="A:8-10", **QUICK)
    checked(result, "A:8-10", "LTG")


def test_insertion_codes_serve_where_the_numbers_leave_no_room() -> None:
    content = renumbered(without("1ubi.pdb", (58, 61)), above=57, shift=-4)
    (gap,) = gf.check(content, energy=False)["chain_breaks"]
    assert gap["build"] == "A:57A-57D" and gap["numbers_left"] == 0 and gap["missing"] == 4
    result = gf.repair(content, build=gap["build"], **QUICK)
    labels = [residue.label for residue in read(result.content).residues[56:62]]
    assert labels == ["A:57", "A:57A", "A:57B", "A:57C", "A:57D", "A:58"]


def test_two_loops_in_one_call() -> None:
    result = gf.repair(without("1ubi.pdb", (8, 11), (58, 61)), build=["A:58-61", "A:8-11"], **QUICK)
    checked(result, "A:58-61", "DYNI")
    checked(result, "A:8-11", "LTGK")
    assert [built["residues"] for built in result.report["built"]] == ["A:8-11", "A:58-61"]


def test_toolkit_sources_can_be_built_in(tmp_path: Path) -> None:
    mdtraj = pytest.importorskip("mdtraj")
    source = tmp_path / "gap.pdb"
    source.write_bytes(without("1ubi.pdb", (8, 11)))
    checked(gf.repair(mdtraj.load(str(source)), build="A:8-11=LTGK", **QUICK), "A:8-11", "LTGK")


def test_selenomethionine_of_the_record_is_built_as_methionine() -> None:
    content = without("1ubi.pdb", (58, 61)).replace(b"ASP TYR ASN ILE", b"ASP MSE ASN ILE")
    result = gf.repair(content, build="A:58-61", **QUICK)
    checked(result, "A:58-61", "DMNI")
    assert any("methionine is built" in note for note in result.report["notes"])


def test_command_line_builds_and_check_names_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "gap.pdb", tmp_path / "out.pdb"
    source.write_bytes(without("1ubi.pdb", (58, 61)))
    quick = ["--no-energy", "--streams", "2", "--rounds", "1"]
    assert main(["check", str(source), "--no-energy"]) == 0
    told = capsys.readouterr().out
    assert "4 residues, DYNI (SEQRES)" in told and f"geofold repair {source} --build A:58-61 -o OUT" in told
    assert main(["repair", str(source), "--loop", "A:55-63", "-o", str(out), *quick]) == 2
    assert "--build A:58-61" in capsys.readouterr().err
    assert main(["repair", str(source), "--build", "A:58-61=DY", "-o", str(out), *quick]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("geofold: ") and not out.exists()
    assert main(["repair", str(source), "--build", "A:58-61", "-o", str(out), *quick]) in (0, 1)
    assert "built A:58-61 DYNI (sequence: SEQRES)" in capsys.readouterr().err
    assert len(read(out).residues) == len(read(source).residues) + 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "first", "last"), [("1ubi.pdb", 45, 56), ("1orc.pdb", 30, 41), ("1bhl.pdb", 138, 153)]
)
def test_long_loops_come_out_clean(name: str, first: int, last: int) -> None:
    content = without(name, (first, last))
    result = gf.repair(content, build=f"A:{first}-{last}")
    checked(result, f"A:{first}-{last}", result.report["built"][0]["sequence"])
    assert without(result.content, (first, last)) == content
    assert result.passed


@pytest.mark.parametrize(
    ("status", "gain", "repacked"), [("done", 9.0, False), ("stuck", 9.0, True), ("stuck", 0.5, False)]
)
def test_neighbours_are_repacked_only_where_a_loop_is_not_clean_and_gains(
    monkeypatch: pytest.MonkeyPatch, status: str, gain: float, repacked: bool
) -> None:
    bare = read(without("1ubi.pdb", (69, 73)))
    builds = plan_builds(bare, ["A:69-73"])
    made = missing_loops.build_loops
    radii = []

    def fake(structure: Structure, builds: object, options: RunOptions, *_: object) -> list[SimpleNamespace]:
        radii.append(options.shell)
        cost = -gain if options.shell else 0.0
        model = SimpleNamespace(outcome=SimpleNamespace(status=status), cost_without_energy=cost)
        return [SimpleNamespace(models=[model], radius=options.shell)]

    monkeypatch.setattr(missing_loops, "build_loops", fake)
    (built,) = made(bare, builds, RunOptions(repack_shell="auto", energy=False))
    assert (built.radius > 0) == repacked
    assert len(radii) == (1 if status == "done" else 2)
