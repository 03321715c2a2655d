"""Inputs that are unusual but real: caps, other names, unknown residues, compressed and linked files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from app_cases import BENT, LOOP, STRUCTURES, with_stray_carbons

import geofold as gf
from geofold.cli import main
from geofold.modelling.repair import loop as loop_repair
from geofold.molecule.io.read import read
from geofold.molecule.loop.build_plan import rebuild_plan

QUICK = {"energy": False, "rounds": 1, "streams": 1}


def lines_of(name: str) -> list[str]:
    return (STRUCTURES / name).read_text(encoding="latin-1").splitlines(keepends=True)


def test_a_capped_peptide_moves_with_its_caps() -> None:
    result = gf.constrain(STRUCTURES / "1a1p.pdb", ["A:3-A:10<12.0"], energy=False, steps=3)
    checks = {c["name"]: c["value"] for c in result.report["audit"]["checks"]}
    assert checks["bond_change_angstrom"] <= 0.01 and checks["angle_change_degrees"] <= 1.0


def test_the_chosen_conformer_is_the_one_that_is_measured() -> None:
    """Residue 5's CB in two places: the contact is that of the conformer asked for."""
    source = gf.constrain(sequence="AEGKTWYN", contacts=["A:1-A:8>3.0"], energy=False, steps=1).content.decode()
    text = []
    for line in source.splitlines(keepends=True):
        if line.startswith("ATOM") and line[22:26].strip() == "5" and line[12:16].strip() in ("CB", "OG1", "CG2"):
            text.append(line[:16] + "A" + line[17:54] + "  0.60" + line[60:])
            text.append(
                line[:16] + "B" + line[17:30] + f"{float(line[30:38]) + 0.4:8.3f}" + line[38:54] + "  0.40" + line[60:]
            )
        else:
            text.append(line)
    for letter in ("A", "B"):
        result = gf.constrain("".join(text).encode(), ["A:1-A:5<30.0"], altloc=letter, energy=False, steps=2)
        structure = read(result.content)
        mask = structure.conformer(letter)
        ends = [structure.atom(k, "CB", mask) for k in (0, 4)]
        distance = 10 * float(np.linalg.norm(structure.xyz[ends[0]] - structure.xyz[ends[1]]))
        assert abs(result.report["contacts"][0]["after_angstrom"] - distance) < 0.002


def test_charmm_names_isoleucine_s_delta_carbon_cd() -> None:
    text = "".join(
        line[:12] + " CD  " + line[17:] if line[12:16] == " CD1" and line[17:20] == "ILE" else line
        for line in lines_of("1ubi.pdb")
    )
    result = gf.repair(text.encode(), "A:59-63", **QUICK)
    assert result.report["added_atoms"] == []
    assert np.isfinite(result.xyz).all()


def test_names_of_force_fields_are_the_standard_residues(monkeypatch: pytest.MonkeyPatch) -> None:
    """CHARMM's and Amber's names of protonation states: the same end, the same loop to search for, nothing left out."""
    names = {"HIS": "HSE", "LYS": "LYN", "GLU": "GLH", "ASP": "ASH"}
    plain = "".join(lines_of("1ubi.pdb"))
    other = "".join(
        line[:17] + names.get(line[17:20], line[17:20]) + line[20:] if line[:4] == "ATOM" else line
        for line in lines_of("1ubi.pdb")
    )
    assert other.count("HSE") > 5
    with monkeypatch.context() as patch:
        patch.setattr(loop_repair, "CLEAN_MARGIN", -np.inf)
        ends = [gf.repair(text.encode(), "A:64-70", **QUICK) for text in (plain, other)]
    assert np.array_equal(ends[0].xyz, ends[1].xyz) and np.abs(ends[0].xyz - read(plain.encode()).xyz).max() > 0.001
    for key in ("before", "after", "notes"):
        assert ends[0].report[key] == ends[1].report[key]
    structure = read(other.encode())
    assert rebuild_plan(structure, 63, 69).sequence == "ESTLHLV"
    assert gf.check(other.encode())["notes"] == ["the energy leaves out HOH (no amber14 parameters)"]
    short = "".join(line for line in other.splitlines(keepends=True) if line[12:26] != " NE2 HSE A  68")
    assert gf.repair(short.encode(), "A:64-70", **QUICK).report["added_atoms"] == ["A:68@NE2"]


def test_an_unknown_residue_elsewhere_is_left_out_of_the_energy_and_reported() -> None:
    text = "".join(
        "HETATM" + line[6:17] + "XYZ" + line[20:] if line.startswith("ATOM") and line[22:26] == "   6" else line
        for line in lines_of("1ubi.pdb")
    )
    found = gf.check(text.encode())
    assert np.isfinite(found["before"]["energy_kj_mol"])
    assert any("XYZ" in note for note in found["notes"])


def test_selenomethionine_moves_with_its_chain() -> None:
    text = "".join(
        ("HETATM" + line[6:12] + line[12:16].replace(" SD ", "SE  ") + line[16:17] + "MSE" + line[20:76]
         + ("SE" if line[12:16] == " SD " else line[76:78]) + line[78:])
        if line.startswith("ATOM") and line[22:26] == "   1" else line
        for line in lines_of("1ubi.pdb")
    )  # fmt: skip
    result = gf.repair(text.encode(), "A:1-4", **QUICK)
    moved = np.flatnonzero(np.abs(result.xyz - result.structure.xyz).max(1) > 0)
    assert result.report["added_atoms"] == []
    assert len(moved) == 0 or "MSE" in set(result.structure.resname[: max(moved) + 1])


def test_one_file_under_two_names_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "link.pdb").symlink_to(tmp_path / "real.pdb")
    arguments = ["repair", str(BENT), "--loop", LOOP, "-o", str(tmp_path / "real.pdb")]
    assert main([*arguments, "--report", str(tmp_path / "link.pdb")]) == 2
    assert "twice" in capsys.readouterr().err


def test_a_linked_output_stays_a_link(tmp_path: Path) -> None:
    from geofold.files import write_all

    (tmp_path / "real.pdb").write_text("old")
    (tmp_path / "link.pdb").symlink_to(tmp_path / "real.pdb")
    write_all({str(tmp_path / "link.pdb"): b"new"})
    assert (tmp_path / "link.pdb").is_symlink() and (tmp_path / "real.pdb").read_text() == "new"


@pytest.mark.parametrize("name", ["t.nc", "t.dcd.gz", "t"])
def test_an_unknown_trajectory_suffix_is_refused_before_the_run(name: str, tmp_path: Path) -> None:
    out = tmp_path / "o.pdb"
    assert main(["repair", str(BENT), "--loop", LOOP, "-o", str(out), "--trajectory", str(tmp_path / name)]) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".dcd", ".xtc"])
def test_binary_trajectories_hold_the_whole_path(suffix: str, tmp_path: Path) -> None:
    mdtraj = pytest.importorskip("mdtraj")
    result = gf.constrain(sequence="AEGKTWYN", contacts=["A:1-A:8<9.0"], energy=False)
    (tmp_path / f"t{suffix}").write_bytes(result.trajectory_content(f"t{suffix}"))
    loaded = mdtraj.load(str(tmp_path / f"t{suffix}"), top=result.trajectory.topology)
    assert loaded.n_frames == len(result.frames)
    assert np.abs(loaded.xyz[-1] - result.trajectory.xyz[-1]).max() < 2e-3


def test_view_reads_gzip_and_mmcif(tmp_path: Path) -> None:
    (tmp_path / "t.pdb.gz").write_bytes(gzip.compress(BENT.read_bytes()))
    for source in (tmp_path / "t.pdb.gz", STRUCTURES / "1fas.cif"):
        assert main(["view", str(source), "-o", str(tmp_path / "v.html")]) == 0
        assert (tmp_path / "v.html").stat().st_size > 5000


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_few_residues_are_looked_at_too(count: int) -> None:
    text = "".join(line for line in lines_of("1ubi.pdb") if line[:4] == "ATOM" and int(line[22:26]) <= count)
    report = gf.check(text.encode(), energy=count == 2)
    assert report["residues"] and report["trouble"]["stretches"] == []


def test_atoms_in_the_very_same_place_are_led_apart_and_no_number_is_nan() -> None:
    """A carbon of the loop put where one of the protein is: OpenMM's energy and forces are not finite there."""
    place = next(line[30:54] for line in lines_of("1ubi_bent.pdb") if line[12:26] == " CG1 ILE A  30")
    text = "".join(
        line[:30] + place + line[54:] if line[12:26] == " CD1 LEU A  50" else line for line in lines_of("1ubi_bent.pdb")
    ).encode()
    result = gf.repair(text, "A:48-56", rounds=1, streams=2)
    assert np.isfinite(result.xyz).all() and result.report["after"]["severe_overlaps"] == 0
    json.dumps(result.report, allow_nan=False)
    assert "energy_kj_mol" not in result.report["before"] and result.report["after"]["energy_kj_mol"]
    assert "the energy before is infinite: some atoms coincide" in result.report["notes"]
    assert "infinite ->" in result.summary()
    report = gf.check(text)
    json.dumps(report, allow_nan=False)
    assert "the energy now is infinite: some atoms coincide" in report["notes"]


def test_atoms_in_the_same_place_elsewhere_have_no_say_in_the_choice() -> None:
    """Two carbons far from the loop coincide: every energy is infinite, and so tells nothing."""
    lines = lines_of("1ubi_bent.pdb")
    place = next(line[30:54] for line in lines if line[12:26] == " CD1 ILE A   3")
    text = [line[:30] + place + line[54:] if line[12:26] == " CG2 ILE A  13" else line for line in lines]
    result = gf.repair("".join(text).encode(), "A:48-56", rounds=1, streams=2)
    json.dumps(result.report, allow_nan=False)
    assert result.report["after"]["severe_overlaps"] == 0 and np.isfinite(result.xyz).all()
    assert [note for note in result.report["notes"] if "infinite" in note] == [
        f"the energy {when} is infinite: some atoms coincide" for when in ("before", "after")
    ]


def test_a_residue_that_takes_no_part_in_the_energy_cannot_be_steered_by_it(tmp_path, capsys) -> None:
    kept = {*range(10, 16), 25}
    lines = [line for line in lines_of("1ubi.pdb") if line[:4] == "ATOM" and int(line[22:26]) in kept]
    (tmp_path / "in.pdb").write_text("".join(lines))
    assert main(["repair", str(tmp_path / "in.pdb"), "--loop", "A:25", "-o", str(tmp_path / "o.pdb")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "--no-energy" in told and not (tmp_path / "o.pdb").exists()


def test_residues_without_parameters_are_refused_before_the_search_and_noted_by_check(tmp_path, capsys, monkeypatch):
    from geofold.app import repair_runs

    source = tmp_path / "odd.pdb"
    source.write_text("".join(with_stray_carbons(lines_of("1ubi.pdb"), " CB  ALA A  28")))
    report = gf.check(source)
    assert any(note.startswith("no energy: ") for note in report["notes"]) and report["before"]["ramachandran"]
    assert "energy_kj_mol" not in report["before"]
    assert main(["check", str(source)]) == 0 and "no energy: " in capsys.readouterr().out
    monkeypatch.setattr(repair_runs, "repair_loop", lambda *_: pytest.fail("searched before it was refused"))
    assert main(["repair", str(source), "--loop", LOOP, "-o", str(tmp_path / "o.pdb")]) == 2
    assert "--no-energy" in capsys.readouterr().err and not (tmp_path / "o.pdb").exists()


def test_a_good_loop_is_not_made_worse() -> None:
    result = gf.repair(STRUCTURES / "1ubi.pdb", LOOP, rounds=1, streams=2)
    assert result.report["after"]["energy_kj_mol"] <= result.report["before"]["energy_kj_mol"]
    assert result.passed
