"""The loop benchmark: sets, metrics and table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_cases import STRUCTURES

from geofold.bench.common.records import Records
from geofold.bench.loop import benchmark as loop
from geofold.bench.loop import tables as loop_table
from geofold.bench.loop.comparison import lines_outside
from geofold.bench.loop.sets import Episode, bend_and_refine, count_native_cis, episodes, remove_loop
from geofold.errors import InputFileError, OptionError
from geofold.molecule.datasets.bent_loops import PerturbedLoop as ChainLoop
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.io.read import read
from geofold.molecule.loop.perturbation import backbone_rmsd
from geofold.molecule.selection import find_range
from geofold.molecule.sidechains.repacking import BACKBONE_AND_CB

LOOP = "A:46-52"
NATIVE = read(STRUCTURES / "1ubi.pdb")


def test_a_loop_is_removed_with_the_side_chains_near_it() -> None:
    episode = remove_loop("ubiquitin", NATIVE, LOOP, reach=0.6, shell=8.0)
    first, last = episode.span
    assert episode.sequence == "AGKQLED" and len(episode.start.residues) == len(NATIVE.residues) - 7
    labels = {residue.label for residue in episode.start.residues}
    assert not labels & {NATIVE.residues[k].label for k in range(first, last + 1)}
    atoms = NATIVE.xyz[(NATIVE.residue_of >= first) & (NATIVE.residue_of <= last)]
    atom_of = {
        (NATIVE.residues[k].label, str(NATIVE.name[a])): a
        for k in range(len(NATIVE.residues))
        for a in NATIVE.residues[k].atoms
    }
    for (label, name), atom in atom_of.items():
        residue = next((r for r in episode.start.residues if r.label == label), None)
        if residue is None or NATIVE.hetatm[atom]:
            continue
        kept = name in episode.start.name[residue.atoms]
        if name in BACKBONE_AND_CB:
            assert kept
        elif not kept:
            side = [a for (other, n), a in atom_of.items() if other == label and n not in BACKBONE_AND_CB]
            reach = np.linalg.norm(atoms[:, None] - NATIVE.xyz[side], axis=-1).min()
            assert reach < 0.6
    without_reach = remove_loop("ubiquitin", NATIVE, LOOP)
    assert len(without_reach.start) == len(NATIVE) - len(atoms)


def test_a_bent_loop_is_refined_among_repacked_side_chains() -> None:
    first, last = find_range(NATIVE, LOOP)
    bent = bend_and_refine(NATIVE, ChainLoop(0, 0, first, last - first + 1, 2.0))
    assert bent.name.tolist() == NATIVE.name.tolist()
    inside = (NATIVE.residue_of >= first) & (NATIVE.residue_of <= last)
    still = np.isin(NATIVE.name, list(BACKBONE_AND_CB)) & ~inside
    assert np.array_equal(bent.xyz[still], NATIVE.xyz[still])
    assert (np.abs(bent.xyz - NATIVE.xyz).max(1) > 0)[~still & ~inside].any()
    assert backbone_rmsd(NATIVE, first, last, bent.xyz, NATIVE.xyz) > 1.0


def test_cis_bonds_of_natives_are_counted() -> None:
    assert count_native_cis(Episode("trans", NATIVE, LOOP, NATIVE)) == 0
    peptide_with_cis = peptide("AAPAA", [(-60.0, 140.0, 0.0 if letter == "P" else 180.0) for letter in "AAPAA"])
    assert count_native_cis(Episode("cis", peptide_with_cis, "A:2-4", peptide_with_cis)) == 1


def test_unknown_sets_and_missing_data_are_refused(tmp_path: Path) -> None:
    for name, data, error in (("mandell_12res", None, OptionError), ("mandell_12res", str(tmp_path), InputFileError)):
        with pytest.raises(error):
            list(episodes(name, data, None))
    (tmp_path / "MANIFEST.tsv").write_text("set\tpdb_file\n")
    with pytest.raises(OptionError, match="set nothing"):
        list(episodes("nothing", str(tmp_path), None))
    with pytest.raises(OptionError, match="rival rosetta"):
        loop.run(str(tmp_path / "out"), set_name="bent", data=None, quick=True, limit=1, seed=0, rivals="rosetta")


def test_a_fixed_half_of_the_long_sets_is_run(tmp_path: Path) -> None:
    columns = "set\tpdb_file\tchain\tstart_resid\tend_resid\tstart_model"
    native = STRUCTURES / "1ubi.pdb"
    rows = [f"fread_16res\t{native}\tA\t{first}\t{first + 6}\t" for first in range(20, 40)]
    (tmp_path / "MANIFEST.tsv").write_text("\n".join([columns, *rows]) + "\n")
    one, second_run = ([episode.loop for episode in episodes("fread_16res", str(tmp_path), None)] for _ in range(2))
    assert one == second_run and len(one) == 10
    assert one == sorted(one, key=lambda span: int(span.split(":")[1].split("-")[0]))


def row(rmsd: float, models: list[float], **more: Any) -> dict[str, Any]:
    """A record of the loop benchmark."""
    short = {"overlaps": 0, "outliers": 0, "cis": 0, "energy": -1.0}
    scored = [{"score": float(k), "rmsd": value} for k, value in enumerate([rmsd, *models])]
    return {
        "rmsd": rmsd,
        "residues": 7,
        "models": scored,
        "native": short,
        "native_cis": 0,
        "before": short,
        "after": short,
        "finite": True,
        "checks": {
            "closure_error_angstrom": 0.0,
            "bond_change_angstrom": 0.0,
            "angle_change_degrees": 0.0,
            "chiralities_changed": 0,
        },
        "seconds": 1.0,
        "cpu_seconds": 2.0,
        "others_identical": True,
        "audit": True,
        "status": "done",
    } | more


def test_a_loop_with_one_model_counts_in_the_best_of_five() -> None:
    found = loop_table.compute_metrics([row(0.4, []), row(2.0, [1.0]), row(3.0, [5.0])])
    assert found["top5_rmsd"] == 1.0 and found["closest_rmsd"] == 0.4
    assert found["first_better_than_median_model"] == 0.5
    assert "top5_rmsd" not in loop_table.compute_metrics([row(0.4, []), row(2.0, [])])


def test_the_table_has_medians_best_of_five_and_failures(tmp_path: Path) -> None:
    records = Records(str(tmp_path))
    for name, numbers in {
        "a": row(0.5, [3.0, 4.0]),
        "b": row(1.5, [0.7]),
        "c": row(9.0, [8.0], native_cis=1),
    }.items():
        records.add(name, "geofold", **numbers)
    numbers = row(7.0, [])
    records.add("a", "pdbfixer", **{key: numbers[key] for key in numbers if key not in ("checks", "models")})
    records.add("b", "pdbfixer", failed="PDBFixer cannot")
    loop_table.summarise(records, "made", quick=True, began=0.0)
    metrics = json.loads((tmp_path / "summary.json").read_text())["metrics"]
    assert metrics["geofold.median_rmsd"] == 1.5 and metrics["geofold.top5_rmsd"] == 0.7
    assert metrics["geofold.trans_median_rmsd"] == 1.0 and metrics["geofold.closest_rmsd"] == 0.5
    assert metrics["geofold.below_1"] == pytest.approx(1 / 3, abs=1e-4)
    assert metrics["geofold.first_better_than_median_model"] == pytest.approx(1 / 3, abs=1e-4)
    assert metrics["pdbfixer.failed"] == 1 and metrics["pdbfixer.loops"] == 1
    table = (tmp_path / "table.md").read_text()
    assert "| geofold | 3 |" in table and "| pdbfixer | 1 |" in table and (tmp_path / "loops.png").exists()


def test_lines_outside_the_loop_are_compared() -> None:
    content = (STRUCTURES / "1ubi.pdb").read_bytes()
    lines = content.decode().splitlines(keepends=True)
    first, last = find_range(NATIVE, LOOP)
    atoms = {NATIVE.residues[k].label for k in range(first, last + 1)}
    for residue, same in ((NATIVE.residues[first], True), (NATIVE.residues[first - 1], False)):
        number = [k for k, line in enumerate(lines) if line.startswith("ATOM") and int(line[22:26]) == residue.resnum]
        changed = [line[:30] + "   0.001" + line[38:] if k in number else line for k, line in enumerate(lines)]
        other = "".join(changed).encode()
        assert (lines_outside(content, atoms, set()) == lines_outside(other, atoms, set())) is same
    number = next(k for k, line in enumerate(lines) if line.startswith("ATOM") and line[12:16].strip() == "CG")
    lacking = "".join(lines[:number] + lines[number + 1 :]).encode()
    residue = next(one for one in NATIVE.residues if one.resnum == int(lines[number][22:26]))
    assert lines_outside(lacking, atoms, set()) == lines_outside(content, atoms, set(), {f"{residue.label}@CG"})
    assert lines_outside(lacking, atoms, set()) != lines_outside(content, atoms, set())


def test_builders_of_loops_are_found() -> None:
    """A rival that cannot be imported would be recorded as a failure of the rival."""
    native = read(STRUCTURES / "1ajj.pdb")
    first = native.residues[12]
    episode = remove_loop("1ajj", native, f"{first.label}-{first.resnum + 3}")
    ((_, agent, numbers),) = loop.run_episode(episode, ["pdbfixer"], 0, None)
    assert agent == "pdbfixer" and "failed" not in numbers
    assert numbers["residues"] == 4 and np.isfinite(numbers["rmsd"])


def test_failures_of_rivals_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setitem(loop.RUNNERS, "promod3", fail)
    rows = loop.run_episode(Episode("any", NATIVE, LOOP, NATIVE), ["promod3"], 0, None)
    assert rows == [("any", "promod3", {"failed": "first line"})]
