"""Chain ends that are built: bonded on one side, ideal, clean, several at once, with what they leave undetermined."""

from __future__ import annotations

import numpy as np
import pytest
from app_cases import STRUCTURES
from build_cases import QUICK, without, without_records

import geofold as gf
from geofold.app.report.chain_breaks import expand_builds
from geofold.app.result import Result
from geofold.errors import BackboneError, BuildError, OptionError, SequenceError
from geofold.geometry import dihedral
from geofold.learn.torsion_prior.model import shipped_prior
from geofold.molecule.io.read import read
from geofold.molecule.loop.build_request import plan_build
from geofold.molecule.loop.open_segment import OpenSegment
from geofold.molecule.loop.torsion_sampling import sample_torsions
from geofold.molecule.residues import one_letter_code
from geofold.molecule.selection import find_range
from geofold.molecule.structure import Structure
from geofold.molecule.topology.gaps import find_missing_ends

BOTH = without("1ubi.pdb", (1, 4), (73, 76))


def two_chains() -> bytes:
    """Ubiquitin twice, 60 A apart: chain A lacks its last residues, chain B its first ones."""
    one, two = (without("1ubi.pdb", span).splitlines(keepends=True) for span in ((74, 76), (1, 4)))
    records = [line for line in one if line.startswith(b"SEQRES")]
    named = [line[:11] + b"B" + line[12:] for line in records]
    atoms = [line for line in one if line.startswith(b"ATOM")]
    moved = [
        b"%s%s%s%8.3f%s" % (line[:21], b"B", line[22:30], float(line[30:38]) + 60, line[38:])
        for line in two
        if line.startswith(b"ATOM")
    ]
    return b"".join([*records, *named, *atoms, *moved, b"END\n"])


@pytest.fixture(scope="module")
def ends() -> Result:
    return gf.repair(BOTH, build="ends", **QUICK, name="1ubi.pdb")


def checked(result: Result, span: str, sequence: str) -> None:
    structure = read(result.content)
    first, last = find_range(structure, span)
    assert "".join(one_letter_code(r.resname) for r in structure.residues[first : last + 1]) == sequence
    assert all(structure.bonded(k, k + 1) for k in range(first, last))
    values = {check["name"]: check for check in result.report["audit"]["checks"]}
    names = ("other_atoms_moved_angstrom", "joint_bond_error_angstrom", "joint_angle_error_degrees",
             "d_amino_acids_built", "omega_from_trans_degrees", "bond_change_angstrom", "angle_change_degrees",
             "severe_overlaps")  # fmt: skip
    assert all(values[name]["passed"] for name in names), values


def test_check_lists_missing_ends_with_the_command() -> None:
    report = gf.check(BOTH, energy=False, name="1ubi.pdb")
    first, last = report["chain_ends"]
    assert (first["at"], first["side"], first["sequence"], first["build"]) == ("A:5", "before", "MQIF", "A:1-4")
    assert (last["at"], last["side"], last["sequence"], last["build"]) == ("A:72", "after", "LRGG", "A:73-76")
    assert report["chain_breaks"] == [] and last["sequence_from"] == "SEQRES"
    assert gf.check(without("1ubi.pdb", (30, 33)), energy=False)["chain_ends"] == []


def test_both_ends_are_built_and_nothing_else_changes(ends: Result) -> None:
    checked(ends, "A:1-4", "MQIF")
    checked(ends, "A:73-76", "LRGG")
    assert without(ends.content, (1, 4), (73, 76)) == BOTH
    assert ends.report["loops"] == ["A:1-4", "A:73-76"] and ends.report["before"] == {"missing_residues": 8}
    assert sum("chain end" in note for note in ends.report["notes"]) >= 2
    assert gf.repair(BOTH, build=["A:73-76", "A:1-4"], **QUICK, name="1ubi.pdb").content == ends.content


def test_the_confidence_says_how_little_is_known(ends: Result) -> None:
    start, end = ends.report["confidence"]
    errors = [list(one["residue_error_angstrom"].values()) for one in (start, end)]
    assert errors[0][0] > errors[0][-1] and errors[1][-1] > errors[1][0]  # the free end is the least certain
    for one, own in ((start, errors[0]), (end, errors[1])):
        assert one["from_angstrom"] < one["to_angstrom"] and one["expected_rmsd_angstrom"] > 1
        assert np.sqrt(np.square(own).mean()) == pytest.approx(one["expected_rmsd_angstrom"], abs=0.02)


def test_several_models_of_one_end_and_of_both() -> None:
    one = gf.repair(BOTH, build="A:73-76", models=3, streams=6, rounds=1, energy=False)
    backbones = [result.xyz[result.structure.name == "CA"][-4:] for result in (one, *one.others)]
    assert len(backbones) == 3
    for k, here in enumerate(backbones):
        assert all(np.sqrt(np.square(here - other).sum(-1).mean()) > 0.05 for other in backbones[:k])
    both = gf.repair(BOTH, build="ends", models=2, streams=4, rounds=1, energy=False)
    assert len(both.others) == 1 and both.content != both.others[0].content
    for result in (both, *both.others):
        checked(result, "A:1-4", "MQIF")
    with pytest.raises(OptionError, match="several models of one loop or of chain ends"):
        gf.repair(without("1ubi.pdb", (1, 4), (30, 33)), build=["ends", "all"], models=2, **QUICK)


def test_an_end_of_an_mmcif_file_and_one_given_by_a_fasta_text() -> None:
    content = without("1fas.cif", (1, 5))
    result = gf.repair(content, build="ends", **QUICK)
    checked(result, "A:1-5", "TMCYS")
    assert result.report["built"][0]["sequence_from"] == "pdbx_poly_seq_scheme"
    assert without(result.content, (1, 5)) == content
    bare = without_records(BOTH, "SEQRES")
    assert gf.check(bare, energy=False)["chain_ends"] == []
    with pytest.raises(BuildError, match="no chain end that can be built"):
        gf.repair(bare, build="ends", **QUICK)
    fasta = ">ub\nMQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG\n"
    assert [end["build"] for end in gf.check(bare, energy=False, fasta=fasta)["chain_ends"]] == ["A:1-4", "A:73-76"]
    given = gf.repair(bare, build="A:3-4=IF", **QUICK)
    checked(given, "A:3-4", "IF")


def test_ends_of_two_chains_that_meet_in_the_file_and_a_gap() -> None:
    content = without(two_chains(), (20, 23))
    structure = read(content)
    assert expand_builds(structure, ["ends", "all"]) == ["A:20-23", "A:74-76", "B:1-4"]
    result = gf.repair(content, build=["ends", "all"], **QUICK)
    for span, sequence in (("A:20-23", "SDTI"), ("A:74-76", "RGG"), ("B:1-4", "MQIF")):
        checked(result, span, sequence)
    assert len(result.spans) == 3 and without(without(result.content, (20, 23), (74, 76)), (1, 4), chain="B") == content
    with_loop = gf.repair(content, "B:30-33", build=["A:74-76", "B:1-4"], **QUICK)
    checked(with_loop, "B:1-4", "MQIF")
    assert with_loop.report["loops"] == ["A:74-76", "B:1-4", "B:30-33"]


def test_caps_are_left_out_where_an_end_is_built() -> None:
    result = gf.repair(BOTH, build="A:1-4", cap="ends", **QUICK)
    assert [(cap["name"], cap["bonded_to"]) for cap in result.report["caps"]["added"]] == [("NME", "A:72")]


def test_fix_builds_ends_only_if_asked() -> None:
    plain = gf.fix(BOTH, **QUICK)
    assert plain.content == BOTH
    result = gf.fix(BOTH, ends=True, **QUICK)
    step = next(step for step in result.report["steps"] if step["step"] == "chain ends built")
    assert step["done"] == ["A:1-4", "A:73-76"] and step["left"] == []


def test_what_cannot_be_built_is_refused_in_one_line() -> None:
    far = without("1ubi.pdb", (1, 18))
    cases = [
        (far, "A:1-18", BuildError, "at most 15"),
        (BOTH, "A:1-3", BuildError, "does not follow on A:5"),
        (BOTH, "A:1-6", BuildError, "A:1-4, or the part of it next to A:5"),
        (BOTH, "A:73-76=LRGA", SequenceError, "disagrees with SEQRES"),
        (without("1ubi.pdb", (1, 4)), "A:77-78=GG", BuildError, "has OXT"),
        (without_records(BOTH, "SEQRES"), "A:2-4", BuildError, "does not contain the sequence"),
        (without_records(BOTH, "SEQRES"), "A:1-3=MQI", BuildError, "does not follow on A:5"),
    ]
    for content, text, error, words in cases:
        with pytest.raises(error, match=words) as caught:
            gf.repair(content, build=text, energy=False)
        assert "\n" not in str(caught.value)
    with pytest.raises(BuildError, match="contains the residue that the chain end A:1-4 is built on"):
        gf.repair(BOTH, "A:5-9", build="A:1-4", **QUICK)
    torn = b"".join(line for line in BOTH.splitlines(keepends=True) if line[12:26] != b" C   ARG A  72")
    with pytest.raises((BackboneError, BuildError)):
        gf.repair(torn, build="A:73-76", **QUICK)
    water = BOTH.replace(b"HOH A  77", b"HOH A  73")
    with pytest.raises(BuildError, match="belong to other residues"):
        gf.repair(water, build="A:73-76", **QUICK)
    (end, _) = gf.check(without("1ubi.pdb", (1, 16), (73, 76)), energy=False)["chain_ends"]
    assert end["build"] is None and "A:2-16" in end["not_built_because"]


@pytest.mark.parametrize("text", ["A:1-4", "A:73-76"])
def test_a_segment_has_the_torsions_that_were_sampled(text: str) -> None:
    """Dihedrals measured on the coordinates, anchor included, are those of the sample."""
    structure = read(BOTH)
    build = plan_build(structure, text)
    segment = OpenSegment.of(structure, build)
    torsions, _ = sample_torsions(structure, build, shipped_prior()[0], 5, np.random.default_rng(0))
    names, rows = segment.coordinates(segment.increments(torsions))
    place = [(k, name) for k, own in enumerate(names) for name in own]
    n = len(build.names)

    def at(k: int, name: str) -> np.ndarray:
        if 0 <= k < n:
            return rows[:, place.index((k, name))]
        return np.broadcast_to(anchor_atom(structure, build.anchor, name), (5, 3))

    inside = range(n) if build.side == "after" else range(1, n + 1)
    for k in inside:  # phi of every residue that follows another one
        phi = dihedral(at(k - 1, "C"), at(k, "N"), at(k, "CA"), at(k, "C"))
        assert np.allclose(np.cos(phi - torsions[:, k, 0]), 1, atol=1e-9)
    for k in range(n - 1):
        psi = dihedral(at(k, "N"), at(k, "CA"), at(k, "C"), at(k + 1, "N"))
        assert np.allclose(np.cos(psi - torsions[:, k, 1]), 1, atol=1e-9)
    joint = (n - 1, n) if build.side == "before" else (-1, 0)
    bond = np.linalg.norm(at(joint[0], "C") - at(joint[1], "N"), axis=-1)
    assert np.allclose(bond, 0.1331, atol=5e-4)


def test_the_phi_of_a_proline_is_kept() -> None:
    structure = read(without("1ubi.pdb", (1, 18)))
    segment = OpenSegment.of(structure, plan_build(structure, "A:15-18"))
    torsions, _ = sample_torsions(
        structure, plan_build(structure, "A:15-18"), shipped_prior()[0], 3, np.random.default_rng(0)
    )
    names, rows = segment.coordinates(segment.increments(torsions))
    carbon = rows[:, [(k, name) for k, own in enumerate(names) for name in own].index((3, "C"))]
    k = find_range(structure, "A:19-19")[0]
    n, ca, c, cd = (anchor_atom(structure, k, name) for name in ("N", "CA", "C", "CD"))
    phi = dihedral(carbon, n, ca, c)
    assert np.ptp(phi) < 1e-9 and abs(float(phi[0])) < np.radians(110)
    assert np.linalg.norm(carbon - cd, axis=-1).min() > 0.22  # not into the ring


def anchor_atom(structure: Structure, k: int, name: str) -> np.ndarray:
    return structure.xyz[structure.atom(k, name, structure.conformer_mask)]


def test_numbers_of_a_record_are_kept_and_caps_are_not_residues() -> None:
    (end,) = find_missing_ends(read(without("1fas.cif", (1, 5))))
    assert end.numbers == tuple((k, "") for k in range(1, 6)) and end.side == "before"
    assert find_missing_ends(read(STRUCTURES / "1a1p.pdb")) == []  # its record ends with NH2
