"""The packer's benchmark on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from geofold import resources
from geofold.bench.models import side_chain_packer as learning
from geofold.bench.models.side_chain_packer import strip_side_chains
from geofold.molecule.datasets.packed_chains import with_added_atoms
from geofold.molecule.io.read import read
from geofold.molecule.sidechains.packing import pack, place_side_chains


def test_side_chains_are_added_in_the_order_of_the_backbone() -> None:
    native = read(resources.find("structures", "1ajj.pdb"))
    bare = strip_side_chains(native)
    assert set(bare.name.tolist()) == {"N", "CA", "C", "O"}
    model = with_added_atoms(bare, place_side_chains(bare, pack(bare))[1])
    assert len(model.residues) == len(bare.residues)
    for one, other in zip(model.residues, bare.residues, strict=True):
        assert (one.label, one.resname) == (other.label, other.resname)
        np.testing.assert_array_equal(model.xyz[one.atoms[:4]], bare.xyz[other.atoms])


def test_run_writes_shares_and_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "PROTEINS", ("1ajj.pdb",))
    learning.run(str(tmp_path), quick=True, limit=None, seed=0)
    metrics = json.loads((tmp_path / "summary.json").read_text())["metrics"]
    assert metrics["geofold.chi1"] > metrics["pdbfixer.chi1"] > 0
    assert metrics["geofold.seconds_per_300"] > 0 and metrics["geofold.shell_seconds"] > 0
