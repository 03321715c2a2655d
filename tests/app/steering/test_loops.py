"""Steering of a loop between its anchors."""

from __future__ import annotations

import numpy as np
import pytest
from app_cases import STRUCTURES

import geofold as gf
from geofold.errors import ContactError, ResidueRangeError


def test_steering_moves_a_loop_of_a_structure() -> None:
    steering = gf.steer(structure=STRUCTURES / "1ubi.pdb", loop="A:46-53", contacts=["A:48-A:60<30.0"])
    before = steering.xyz
    steering.contacts = ["A:48@CA-A:59@CA<9.0"]
    for _, step in zip(range(4), steering, strict=False):
        moved = np.flatnonzero(np.abs(step.xyz - before).max(1) > 0)
    residues = set(steering.structure.residue_of[moved].tolist())
    assert residues and residues <= set(range(steering.span[0], steering.span[1] + 1))
    result = steering.result(energy=False)
    closure = next(c for c in result.report["audit"]["checks"] if c["name"] == "closure_error_angstrom")
    assert closure["value"] <= 0.01 and result.report["loops"] == ["A:46-53"]
    with pytest.raises(ContactError):
        steering.add("A:2-A:9<5.0")


def test_a_loop_that_there_is_not_is_refused() -> None:
    with pytest.raises(ResidueRangeError):
        gf.steer(STRUCTURES / "1ubi.pdb", loop="A:70-99")
