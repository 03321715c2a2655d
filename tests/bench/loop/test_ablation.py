"""Ablation of loop repair: each variant lacks the part that it names, and nothing stays replaced."""

from __future__ import annotations

import json
import pydoc
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from app_cases import STRUCTURES

from geofold.bench.common import records
from geofold.bench.loop import ablation
from geofold.bench.loop.ablation import BASE, make_variants, run, weights_without
from geofold.bench.loop.sets import remove_loop
from geofold.modelling import controllers
from geofold.modelling.build import initial_models
from geofold.modelling.options import RunOptions
from geofold.modelling.repair.refinement import loop_domain
from geofold.modelling.search.effort import Effort
from geofold.molecule.io.read import read
from geofold.molecule.loop.predictor import LoopFeatures

ROOT = Path(__file__).resolve().parents[3]
WEIGHTS = re.compile(r"from geofold.modelling.scoring import .*\b(BREEDING|GUIDING|SEARCH|FOUND|REFINED)\b")


LOOP = (44, 55)


@pytest.fixture(scope="module")
def streams() -> dict[str, list[tuple[torch.Tensor, int]]]:
    """Torsions and depth at the first steps of a guided stream, for each variant that changes it."""
    structure = read(STRUCTURES / "1ubi_bent.pdb")
    domain = loop_domain(structure, *LOOP, RunOptions())
    domain = replace(domain, features=LoopFeatures.of(structure, domain.decoder))
    found = {}
    for name in (BASE, "euclidean", "order_1", "no_loop_model", "at_once", "at_once_deaf", "no_corrections"):
        with make_variants()[name].in_place():
            steps = islice(controllers.run_guided(domain, domain.start(structure.xyz)), 84)
            found[name] = [(state.conformation.angle.clone(), int(info.inner_steps.max())) for state, info, _ in steps]
    return found


def test_every_variant_of_a_stream_moves_in_its_own_way(streams) -> None:
    ends = {name: steps[-1][0] for name, steps in streams.items()}
    for name, end in ends.items():
        assert torch.isfinite(end).all()
        assert [other for other in ends if torch.equal(end, ends[other])] == [name]
    assert torch.equal(streams["at_once"][0][0], streams["at_once_deaf"][0][0]), "nothing to write back before it"


def test_depths_are_those_of_the_gates(streams) -> None:
    depths = {name: {depth for _, depth in steps} for name, steps in streams.items()}
    assert depths["no_corrections"] == {0} and depths["at_once"] == {1} and len(depths[BASE]) > 1


def test_what_is_replaced_comes_back() -> None:
    names = ("Pullback", "Controller", "LoopPredictor", "shipped_gate", "POTENTIAL_WEIGHT")
    before = {name: getattr(controllers, name) for name in names}
    changed = set()
    for variant in make_variants().values():
        with pytest.raises(KeyError), variant.in_place():
            changed |= {name for name in names if getattr(controllers, name) is not before[name]}
            raise KeyError
    assert changed == set(names)
    assert before == {name: getattr(controllers, name) for name in names}


def test_a_term_is_taken_out_of_every_table_of_weights() -> None:
    """Modules of a build that import weights, without those whose loops no validation loop has."""
    users = {path for path in (ROOT / "geofold" / "modelling").rglob("*.py") if WEIGHTS.search(path.read_text())}
    found = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in users}
    left = {f"geofold.modelling.{name}" for name in ("search.chain_end", "build.copied_models", "build.refine_models")}
    assert found - left == {name.rsplit(".", 1)[0] for name in weights_without("judge")}
    for name, weights in weights_without("judge").items():
        assert weights.judge == 0.0 and (weights.potential, weights.clash) == (1.0, pydoc.locate(name).clash)


def test_a_small_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_here(name: str, function, jobs, workers: int) -> Iterator:
        yield from (function(*job) for job in jobs)

    few = Effort(draws=32, crosses=16, generations=1, pooled=2, guided=2, restarts=1, parents=3)
    monkeypatch.setattr(records, "run_jobs", run_here)
    monkeypatch.setattr(initial_models, "choose_effort", lambda *_, **__: few)
    monkeypatch.setattr(ablation, "choose_effort", lambda *_, **__: few)
    loop = remove_loop("ubiquitin", read(STRUCTURES / "1ubi.pdb"), "A:46-52")
    monkeypatch.setattr(ablation, "episodes", lambda *_: iter([loop]))
    some = {name: make_variants()[name] for name in (BASE, "no_judge", "no_force_field")}
    monkeypatch.setattr(ablation, "make_variants", lambda: some)
    run(str(tmp_path), data=None, quick=True, limit=None, seed=0)
    metrics = json.loads((tmp_path / "summary.json").read_text())["metrics"]
    assert metrics["loops"] == 1 and metrics[f"{BASE}.ratio"] == 1.0
    rmsd = {name: metrics[f"{name}.median_rmsd"] for name in some}
    assert all(0 < value < 12 for value in rmsd.values()) and len(set(rmsd.values())) > 1
    table, before = (tmp_path / "table.md").read_text(), (tmp_path / "records.jsonl").read_text()
    assert all(name in table for name in some)
    run(str(tmp_path), data=None, quick=True, limit=None, seed=0)
    assert (tmp_path / "records.jsonl").read_text() == before
