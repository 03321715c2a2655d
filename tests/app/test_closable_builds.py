"""Gaps that cannot be closed alone are built with their neighbours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from build_cases import QUICK, checked, without

import geofold as gf
from geofold.app import closable_builds as module
from geofold.app.closable_builds import closable_builds
from geofold.app.report.chain_breaks import expand_builds
from geofold.errors import BuildError
from geofold.modelling.options import RunOptions
from geofold.molecule.io.read import read
from geofold.molecule.loop.build_plan import BuildPlan


class Drawn:
    """Candidates of one cost."""

    def __init__(self, cost: float) -> None:
        self.cost = lambda rows: np.full(len(rows), cost)
        self.outlier_after = lambda rows: np.zeros(len(rows))

    def draw(self, count: int, noise: np.random.Generator) -> np.ndarray:
        return np.zeros((2, 1, 3))


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets no conformation close the plans of which a function says so; others have a cost, zero by default."""

    def refuse(what: Callable[[BuildPlan], bool], **costs: float) -> None:
        def of(_, plan: BuildPlan, **options: object) -> Drawn:
            if what(plan):
                raise BuildError("given", "expected", "remedy")
            return Drawn(costs.get(plan.label, 0.0))

        monkeypatch.setattr(module.LoopCandidates, "of", of)

    return refuse


def test_a_range_is_widened_until_it_closes(refusing) -> None:
    structure = read(without("1fas.cif", (10, 12), (30, 32)), name="1fas.cif")
    assert expand_builds(structure, ["all"]) == ["A:10-12", "A:30-32"]
    refusing(lambda plan: len(plan.names) < 5)
    assert closable_builds(structure, ["A:10-12", "A:30-32"], RunOptions()) == ["A:9-13", "A:29-33"]
    assert closable_builds(structure, ["A:10-12", "A:30-32"], RunOptions(), fixed=["A:30-32"]) == ["A:9-13", "A:30-32"]
    refusing(lambda plan: plan.label == "A:10-12" or len(plan.names) == 5)
    assert closable_builds(structure, ["A:10-12", "A:30-32"], RunOptions()) == ["A:8-14", "A:30-32"]


def test_a_range_is_widened_until_it_fits(refusing) -> None:
    structure = read(without("1fas.cif", (10, 12), (30, 32)), name="1fas.cif")
    refusing(lambda plan: False, **{"A:10-12": 40.0, "A:9-13": 12.0, "A:30-32": 4.0})
    assert closable_builds(structure, ["A:10-12", "A:30-32"], RunOptions()) == ["A:8-14", "A:30-32"]
    refusing(lambda plan: False, **{"A:10-12": 40.0, "A:9-13": 12.0, "A:8-14": 11.0, "A:30-32": 9.0})
    assert closable_builds(structure, ["A:10-12", "A:30-32"], RunOptions()) == ["A:9-13", "A:30-32"]
    refusing(lambda plan: False, **{"A:10-12": 40.0, "A:9-13": 30.0, "A:8-14": 25.0, "A:30-32": 0.0})
    assert closable_builds(structure, ["A:10-12", "A:30-32"], RunOptions()) == ["A:10-12", "A:30-32"]


def test_a_range_that_no_neighbours_help_stays(refusing) -> None:
    structure = read(without("1fas.cif", (10, 12), (14, 16)), name="1fas.cif")
    refusing(lambda plan: plan.label == "A:10-12")
    # with A:13 rebuilt, nothing would remain between the two
    assert closable_builds(structure, ["A:10-12", "A:14-16"], RunOptions()) == ["A:10-12", "A:14-16"]


def test_chain_ends_and_longer_gaps_are_not_tried(refusing) -> None:
    structure = read(without("1fas.cif", (1, 2), (30, 37)), name="1fas.cif")
    refusing(lambda plan: True)
    assert closable_builds(structure, ["A:1-2", "A:30-37"], RunOptions()) == ["A:1-2", "A:30-37"]


def moved(content: bytes, number: int, shift: tuple[float, float, float]) -> bytes:
    """A PDB file whose residues up to a number are elsewhere."""
    lines = content.splitlines(keepends=True)
    for k, line in enumerate(lines):
        if line.startswith(b"ATOM") and int(line[22:26]) <= number:
            place = [float(line[30 + 8 * j : 38 + 8 * j]) + shift[j] for j in range(3)]
            lines[k] = line[:30] + b"%8.3f%8.3f%8.3f" % tuple(place) + line[54:]
    return b"".join(lines)


def test_build_all_closes_what_three_residues_cannot() -> None:
    content = moved(without("1ubi.pdb", (17, 19)), 16, (-1.8, -0.9, 0.1))
    with pytest.raises(BuildError, match=r"none of 512 samples closes it"):
        gf.repair(content, build="A:17-19", **QUICK, name="1ubi.pdb")
    result = gf.repair(content, build="all", **QUICK, name="1ubi.pdb")
    assert result.report["loops"] == ["A:16-20"]
    checked(result, "A:16-20", "EVEPS")
