"""Constraining peptides end to end."""

from __future__ import annotations

import numpy as np
import pytest

import geofold as gf
from geofold.errors import ContactError, OptionError, SequenceError
from geofold.modelling.force_field_stage import run_force_field
from geofold.modelling.options import TORSION_CAP, RunOptions
from geofold.modelling.outcome import StreamOutcome
from geofold.modelling.peptide.streaming import constrain_peptide, controller, goal_of
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.residues import AMINO_ACID_LETTERS


def test_contact_is_reached_without_damage() -> None:
    result = gf.constrain(sequence="GSWTYENGKW", contacts=["A:3-A:9<6.0"])
    report = result.report
    assert report["contacts"][0]["before_angstrom"] > 15
    assert report["contacts"][0]["after_angstrom"] <= 6.0
    assert report["after"]["severe_overlaps"] == 0
    assert report["after"]["ramachandran"]["outliers"] == 0
    assert report["stream"]["steps"] <= 128
    assert result.passed


def test_every_step_obeys_the_cap() -> None:
    from geofold.molecule.energy.ramachandran import phi_psi_omega

    result = gf.constrain(sequence="AEGKTWYN", contacts=["A:1-A:8<6.0"], energy=False)
    angles = phi_psi_omega(result.trajectory)
    for turn in (angles.phi, angles.psi):
        change = np.angle(np.exp(1j * np.diff(turn[:, 1:-1], axis=0)))
        assert np.degrees(np.abs(change)).max() <= 10.0 + 0.01
    omega = np.angle(np.exp(1j * (angles.omega[:, 1:] - angles.omega[0, 1:])))
    assert np.degrees(np.abs(omega)).max() < 0.01


def test_the_policy_leads_and_can_be_done_without() -> None:
    led, still = (
        gf.constrain(sequence="GSWTYENGKW", contacts=["A:3-A:9<6.0"], energy=False, predictor=name).report
        for name in ("trained", "hold-still")
    )
    assert (led["predictor"], led["gate"]) == ("peptide-policy", "learned")
    assert (still["predictor"], still["gate"]) == ("hold-still", "threshold")
    assert led["contacts"][0]["satisfied"] and still["contacts"][0]["satisfied"]
    assert led["stream"]["steps"] < still["stream"]["steps"]
    with pytest.raises(OptionError, match="trained or hold-still"):
        gf.constrain(sequence="GSWTYENGKW", contacts=["A:3-A:9<6.0"], predictor="glide")


def test_a_step_budget_leaves_out_corrections_that_do_not_fit() -> None:
    def run(**options: float) -> StreamOutcome:
        structure = peptide("GSWTYENGKW")
        contact = parse_contact(structure, "A:3-A:9<6.0")
        return constrain_peptide(structure, 0, 9, (contact,), RunOptions(energy=False, steps=40, **options))

    tight, ample = run(step_budget=0.1), run(step_budget=60000.0)
    # corrections are made one by one until it is known how long they take
    assert sum(tight.trace) <= 2 < sum(ample.trace) and max(tight.trace) <= 1


def test_a_step_budget_is_an_option_of_streams() -> None:
    result = gf.constrain(sequence="AEGKTWYN", contacts=["A:1-A:8<7.0"], energy=False, step_budget=60000.0)
    assert result.passed and result.report["options"]["step_budget"] == 60000.0
    steering = gf.steer(sequence="AEGKTWYNSV", contacts=["A:2-A:8<6.0"], step_budget=0.1)
    assert sum(next(steering).inner_steps for _ in range(10)) <= 2


def test_a_step_budget_does_not_touch_the_energy_stage() -> None:
    structure = peptide("AEGKTWYN")
    domain = PeptideDomain.of(structure, 0, 7, cap=TORSION_CAP)
    goal = goal_of((parse_contact(structure, "A:1-A:8<7.0"),))
    parts = controller(RunOptions(step_budget=0.1))
    infos = [info for _, info in run_force_field(parts, domain, domain.start(structure.xyz), goal, steps=4)]
    assert parts.budget == 0.1 and [int(info.inner_steps[0]) for info in infos] == [1, 1, 1, 1]


def test_the_same_seed_gives_the_same_bytes() -> None:
    one, two = (gf.constrain(sequence="AEGKTWYN", contacts=["A:1-A:8<6.0"], energy=False, seed=3) for _ in range(2))
    assert one.content == two.content


def test_lower_bounds_and_several_contacts() -> None:
    wanted = ["A:3-A:9<6.0", "A:1@CA-A:10@CA>8.0"]
    result = gf.constrain(sequence="GSWTYENGKW", contacts=wanted, energy=False)
    assert [c["kind"] for c in result.report["contacts"]] == ["upper", "lower"]
    assert all(c["satisfied"] for c in result.report["contacts"])


def test_a_pdb_peptide_keeps_its_bytes_elsewhere() -> None:
    source = gf.constrain(sequence="AEGKTWYN", contacts=["A:1-A:8>3.0"], energy=False, steps=5)
    again = gf.constrain(source.content, ["A:1-A:8<7.0"], energy=False)
    before, after = source.content.splitlines(), again.content.splitlines()
    assert [x[:30] for x in before] == [x[:30] for x in after]


def test_an_exhausted_time_limit_is_reported() -> None:
    result = gf.constrain(sequence="AEGKTWYN", contacts=["A:1-A:8<6.0"], energy=False, steps=2)
    assert result.report["stream"]["status"] == ["stuck"]
    assert not result.passed


@pytest.mark.parametrize("letter", AMINO_ACID_LETTERS)
def test_every_amino_acid_is_built_whole(letter: str) -> None:
    from geofold.molecule.topology.bonds import templates

    structure = peptide(f"G{letter}G")
    known = {name for bond in templates()[structure.residues[1].resname] for name in bond}
    heavy = {name for name in known if not name.startswith("H") and name != "OXT"}
    assert {str(structure.name[a]) for a in structure.residues[1].atoms} == heavy


@pytest.mark.parametrize(
    ("sequence", "contact", "error"),
    [
        ("GAXA", "A:1-A:4<6", SequenceError), ("A", "A:1-A:4<6", SequenceError),
        ("GAGAGA", "A:2-A:2<6", ContactError), ("GAGAGA", "A:2-A:4<6", ContactError),
        ("GAGAGA", "A:2_A:6<6", ContactError), ("GAGAGA", "A:2@XX-A:6<6", ContactError),
        ("GAGAGA", "A:2-A:6<0.01", ContactError),
    ],
)  # fmt: skip
def test_bad_requests_say_what_to_do(sequence: str, contact: str, error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        gf.constrain(sequence=sequence, contacts=[contact])
    assert "expected" in str(raised.value) and "\n" not in str(raised.value)


def test_a_structure_or_a_sequence_not_both_not_neither() -> None:
    with pytest.raises(OptionError, match="neither"):
        gf.constrain(contacts=["A:1-A:5<6"])
    with pytest.raises(OptionError, match="both"):
        gf.constrain(b"x", ["A:1-A:5<6"], sequence="GAGAGA")
