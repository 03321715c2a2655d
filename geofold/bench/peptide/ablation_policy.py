"""What each part is worth where the policy leads: GeoSSM's ablations (section 7) about the agent `geossm`, K = 1.

Metric source, sketch, frozen U, horizon, the grid of rank, damping and decay, order of the retraction, gate budget,
loss-aware probes, and what the metric observes. On the tuning split, against the base episode by episode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from geofold.bench.peptide import rollout as peptide_play
from geofold.bench.peptide.ablation import BASE
from geofold.bench.peptide.agents import euclidean_tr, latent_precondition
from geofold.bench.peptide.agents.agent import Choice
from geofold.bench.peptide.agents.geossm import GEOSSM
from geofold.bench.peptide.episodes import Episode
from geofold.bench.peptide.observation_spaces import SPACES, Seen, through
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate
from geofold.core.pullback import Pullback
from geofold.learn.pretrained import shipped_metric
from geofold.modelling.options import RunOptions
from geofold.modelling.peptide.streaming import DAMPING, controller, plain_gate
from geofold.molecule.peptide.domain import PeptideDomain

RANKS, DAMPINGS, DECAYS = (4, 8, 12), (1e-4, 1e-3, 1e-2), (0.95, 0.98, 0.995)
"""The paper's grid (Appendix F)."""
FULL = 1e-12
Parts = Callable[[PeptideDomain, int], Controller]


@dataclass(frozen=True)
class Variant:
    """Parts for a domain under a seed, and through which observations they look at it."""

    name: str
    note: str
    parts: Parts
    seen: Seen | None = None
    ships: bool = False

    def numbers(self, episode: Episode, seed: int) -> dict[str, Any]:
        """What they reach in an episode."""
        stage = peptide_play.staged(episode, seed)
        if self.seen is not None:
            stage = replace(stage, domain=self.seen(stage.domain))
        played = peptide_play.walked(self.parts(stage.domain, seed), stage, seed, GEOSSM.thorough)
        return {
            "success": played.held is not None, "steps": played.steps, "milliseconds": float(played.milliseconds.sum()),
            "made": len(played.inner), "corrections": int(played.inner.sum()),
        }  # fmt: skip


def variants(seed: int = 0) -> Iterator[Variant]:
    """The base, and what differs from it in one part (in the grid: in the metric's three numbers)."""
    usual: Choice = GEOSSM.chosen()
    yield Variant(BASE, f"policy, exact pullback, lambda {usual['damping']:g}, decay 0.9, order 2, H = 1, K = 1", base)
    yield Variant("metric_euclidean", "Euclidean metric as tuned", _of(euclidean_tr.EUCLIDEAN_TR.parts,
                  euclidean_tr.EUCLIDEAN_TR.chosen()))  # fmt: skip
    latent = latent_precondition.LATENT_PRECONDITION
    yield Variant("metric_euclidean_curved", "the same, stiff directions in the length of its steps", _changed_from(
                  _of(euclidean_tr.EUCLIDEAN_TR.parts, euclidean_tr.EUCLIDEAN_TR.chosen()), curved=True))  # fmt: skip
    yield Variant("uncurved", "the decoder alone: stiff directions are not looked at", _changed(curved=False))
    yield Variant("metric_latent", "frozen covariance of latents as tuned", _of(latent.parts, latent.chosen()))
    yield Variant("metric_learned", "G_psi, trained on the frozen policy", _learned)
    for sketch in ("fisher", "nystrom", "paper"):
        yield Variant(f"sketch_{sketch}", f"{sketch} sketch, r = 8", _metric(sketch=sketch))
    yield Variant("sketch_fisher_informed", "fisher sketch, r = 8, loss-aware probes", _metric(sketch="fisher",
                  informed=True))  # fmt: skip
    yield Variant("frozen", "metric of the first step kept", _metric(adapt=False))
    yield Variant(
        "frozen_fisher", "fisher sketch, r = 8, of the first step kept", _metric(sketch="fisher", adapt=False)
    )
    yield Variant("h3", "H = 3", _changed(horizon=3))
    yield Variant("order_1", "first-order retraction", _changed(order=1))
    yield Variant("gate_none", "K = 0: the policy alone", _changed(gate=FixedGate(0)))
    yield Variant("gate_3", "K up to 3 until one is taken", _changed(gate=plain_gate(), once=True))
    yield Variant("gate_3_all", "K up to 3, all spent", _changed(gate=replace(plain_gate(), first=FULL)))
    yield Variant("gate_learned", "the gate that ships", _gated)
    for space in SPACES:
        names = space.replace("_", ", ")
        yield Variant(f"observed_{space}", f"the metric observes {names}", base, through(space))
    for rank, damping, decay in product(RANKS, (*DAMPINGS, DAMPING), DECAYS):
        yield Variant(
            f"r{rank}_lambda{damping:g}_beta{decay:g}",
            f"fisher sketch, r = {rank}, lambda {damping:g}, beta {decay:g}",
            _metric(sketch="fisher", rank=rank, damping=damping, decay=decay),
        )  # fmt: skip


def base(domain: PeptideDomain, seed: int) -> Controller:
    """GeoSSM as tuned."""
    parts: Any = GEOSSM.parts(domain, seed, GEOSSM.chosen())
    made: Controller = parts
    return made


def _of(made: Callable[[PeptideDomain, int, Choice], Any], options: Choice) -> Parts:
    return lambda domain, seed: made(domain, seed, options)


def _changed(**parts: Any) -> Parts:
    return _changed_from(base, **parts)


def _changed_from(made: Parts, **parts: Any) -> Parts:
    return lambda domain, seed: replace(made(domain, seed), **parts)


def _metric(**options: Any) -> Parts:
    """The base's pullback with other options."""

    def made(domain: PeptideDomain, seed: int) -> Controller:
        usual = base(domain, seed)
        metric: Any = usual.metric
        assert isinstance(metric, Pullback)
        return replace(usual, metric=replace(metric, **options))

    return made


def _learned(domain: PeptideDomain, seed: int) -> Controller:
    # G_psi knows latents of one length; the few peptides with more torsions keep the pullback
    usual, metric = base(domain, seed), shipped_metric()
    fits = 2 * domain.latent_dim == metric.hidden_weight.shape[1]
    return replace(usual, metric=metric) if fits else usual


def _gated(domain: PeptideDomain, seed: int) -> Controller:
    return replace(base(domain, seed), gate=controller(RunOptions(seed=seed), domain).gate, once=False)
