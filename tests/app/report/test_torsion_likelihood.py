"""The prior at work: what stands out in a structure, and peptides that start from it."""

from __future__ import annotations

import numpy as np
import pytest

import geofold as gf
from geofold import resources
from geofold.app.report.torsion_likelihood import likelihood
from geofold.cli import main
from geofold.errors import OptionError
from geofold.learn.data.chains import AMINO_ACIDS
from geofold.learn.torsion_prior.model import shipped_prior
from geofold.modelling.peptide.prior_start import draw_peptide
from geofold.molecule.encoding import encode_residues
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.io.read import read
from geofold.molecule.sidechains.packing import backbone_torsions


def shipped(name: str):
    return read(resources.find("structures", name))


def test_the_card_is_that_of_the_weights() -> None:
    model, card = shipped_prior()
    assert card["parameters"] == sum(p.numel() for p in model.parameters())
    assert card["command"].startswith("geofold train prior") and len(card["data_sha256"]) == 64
    assert resources.find("prior.safetensors").stat().st_size < 1_000_000


def test_a_perturbed_loop_is_unlikely_and_its_native_is_not() -> None:
    native, bent = (likelihood(shipped(name), [(0, 75)]) for name in ("1ubi.pdb", "1ubi_bent.pdb"))
    assert native is not None and bent is not None
    assert bent["mean_nat"] < native["mean_nat"] - 0.2 and not native["unlikely"]
    found = [part["residues"] for part in bent["unlikely"]]
    assert found and all(44 <= int(text.split(":")[1].split("-")[0]) <= 57 for text in found)
    assert set(bent["residues"]) == {f"A:{k}" for k in range(2, 76)}


def test_likelihood_does_not_cross_a_break() -> None:
    structure = shipped("1bhl.pdb")
    whole = likelihood(structure, [(0, 80)])
    both = likelihood(structure, [(0, 80), (81, 134)])
    assert whole is not None and both is not None
    assert all(both["residues"][label] == value for label, value in whole["residues"].items())


def test_letters_are_those_of_the_prior() -> None:
    structure = peptide("ACDW")
    assert [AMINO_ACIDS[k] for k in encode_residues(structure, 0, 3)[:, 0].tolist()] == list("ACDW")


def test_a_drawn_peptide_has_the_torsions_that_were_drawn() -> None:
    sequence = "GSWTPENGKW"
    one, again, other = draw_peptide(sequence, 3), draw_peptide(sequence, 3), draw_peptide(sequence, 4)
    np.testing.assert_array_equal(one.xyz, again.xyz)
    assert not np.array_equal(one.xyz, other.xyz)
    turned = np.degrees(backbone_torsions(one))
    built = peptide(sequence, [(-60.0 - k, 120.0 + k, 175.0) for k in range(10)])
    found = np.degrees(backbone_torsions(built))
    np.testing.assert_allclose(found[1:, 0], [-60.0 - k for k in range(1, 10)], atol=0.2)  # PDB rounds places
    np.testing.assert_allclose(found[:-1, 1], [120.0 + k for k in range(9)], atol=0.2)
    extended = backbone_torsions(peptide(sequence))
    assert np.abs(turned[1:-1, :2] - np.degrees(extended[1:-1, :2])).max() > 30


def test_constrain_starts_from_the_prior() -> None:
    result = gf.constrain(
        sequence="GSWTYENGKW", contacts=["A:3-A:9<6.0"], start="prior", seed=1, energy=False, steps=60
    )
    assert result.report["audit"]["passed"]
    plain = gf.constrain(sequence="GSWTYENGKW", contacts=["A:3-A:9<6.0"], seed=1, energy=False, steps=60)
    assert not np.array_equal(result.trajectory.xyz[0], plain.trajectory.xyz[0])


def test_a_start_without_a_sequence_is_refused(tmp_path, capsys) -> None:
    with pytest.raises(OptionError, match="start prior without a sequence"):
        gf.constrain("structures/1ubi.pdb", ["A:3-A:9<6.0"], start="prior")
    out = tmp_path / "o.pdb"
    command = ["constrain", "--sequence", "GSWTYENG", "--start", "coil", "--contact", "A:1-A:8<6.0", "-o", str(out)]
    assert main(command) == 2
    assert "start coil" in capsys.readouterr().err and not out.exists()


def test_check_reports_the_prior(capsys) -> None:
    assert main(["check", str(resources.find("structures", "1ubi_bent.pdb")), "--no-energy"]) == 0
    assert "unusual torsions" in capsys.readouterr().out
    report = gf.check(resources.find("structures", "1ubi_bent.pdb"), energy=False)
    assert report["prior"]["unlikely"] and len(report["prior"]["residues"]) == 74
