"""The ablation with the policy on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geofold.bench.peptide import ablation
from geofold.bench.peptide import ablation_policy as ablation_led
from geofold.bench.peptide import rollout as peptide_play
from geofold.bench.peptide.ablation import BASE
from geofold.bench.peptide.ablation_policy import DAMPINGS, DECAYS, RANKS, make_variants
from geofold.bench.peptide.episodes import TUNING_SEED, episodes


def test_names_are_unique_and_the_papers_grid_is_complete() -> None:
    names = [v.name for v in make_variants()]
    assert len(set(names)) == len(names)
    make_grid = {f"r{r}_lambda{lam:g}_beta{beta:g}" for r in RANKS for lam in DAMPINGS for beta in DECAYS}
    assert make_grid <= set(names) and len(make_grid) == 27


def test_no_two_variants_are_built_alike() -> None:
    setup = peptide_play.make_setup(episodes(1, seed=TUNING_SEED)[0], 0)
    signatures = []
    for variant in make_variants():
        parts = variant.parts(setup.domain, 0)
        signatures.append(
            (
                repr(parts.metric)[:400],
                repr(parts.gate),
                parts.horizon,
                parts.order,
                parts.once,
                parts.stiff_directions,
                repr(parts.trust_region),
                variant.observer is None or variant.name,
            )
        )
    assert len(set(signatures)) == len(signatures)


@pytest.mark.parametrize("name", ["observed_torsions", "gate_none"])
def test_variants_are_compared_on_the_same_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    few = [v for v in make_variants() if v.name in (BASE, name)]
    monkeypatch.setattr(ablation_led, "make_variants", lambda seed=0: iter(few))
    monkeypatch.setattr(ablation, "SEEDS", 1)
    monkeypatch.setattr(peptide_play, "MAX_STEPS", 12)
    ablation_led.run(str(tmp_path), quick=True, limit=2)
    rows = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert len(rows) == 4 and all(row["made"] > 0 for row in rows)
    assert all(row["corrections"] == 0 for row in rows if row["agent"] == "gate_none")
    metrics = json.loads((tmp_path / "summary.json").read_text())["metrics"]
    steps = {agent: [r["steps"] for r in rows if r["agent"] == agent] for agent in (BASE, name)}
    assert metrics[f"{name}.steps_more"] == sum(steps[name]) / 2 - sum(steps[BASE]) / 2
