"""Ablation of the controller with the policy: variants of the agent `geossm`, K = 1 (GeoSSM, section 7).

They concern the metric, its sketch, rank, damping, decay, probes and observations, the horizon, the order of the
retraction and the gate. Each is compared with the base episode by episode, on the tuning split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from geofold.bench.peptide import rollout as rollouts
from geofold.bench.peptide.ablation import BASE, run_variants
from geofold.bench.peptide.agents import euclidean_tr, latent_precondition
from geofold.bench.peptide.agents.agent import Options
from geofold.bench.peptide.agents.geossm import GEOSSM
from geofold.bench.peptide.episodes import Episode
from geofold.bench.peptide.observation_spaces import SPACES, Observer, observing
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate
from geofold.core.pullback import Pullback
from geofold.learn.pretrained import shipped_metric
from geofold.modelling.options import RunOptions
from geofold.modelling.peptide.streaming import DAMPING, controller, plain_gate
from geofold.molecule.peptide.domain import PeptideDomain

RANKS, DAMPINGS, DECAYS = (4, 8, 12), (1e-4, 1e-3, 1e-2), (0.95, 0.98, 0.995)
"""Grid of the GeoSSM paper (Appendix F)."""
NEVER_ENOUGH = 1e-12
"""Gain that is always exceeded, so that all corrections are spent."""
Parts = Callable[[PeptideDomain, int], Controller]


@dataclass(frozen=True)
class Variant:
    """A controller made for a domain and a seed, and optionally another observation space of the domain."""

    name: str
    note: str
    parts: Parts
    observer: Observer | None = None
    ships: bool = False

    def run_episode(self, episode: Episode, seed: int) -> dict[str, Any]:
        """Run an episode; returns success, steps (128 for a failure), milliseconds, made and corrections."""
        setup = rollouts.make_setup(episode, seed)
        if self.observer is not None:
            setup = replace(setup, domain=self.observer(setup.domain))
        rollout = rollouts.run_controller(self.parts(setup.domain, seed), setup, seed, GEOSSM.fallback_controller)
        return {
            "success": rollout.held is not None,
            "steps": rollout.steps,
            "milliseconds": float(rollout.milliseconds.sum()),
            "made": len(rollout.inner),
            "corrections": int(rollout.inner.sum()),
        }


def run(out: str, *, quick: bool, limit: int | None) -> None:
    """Run every variant with the policy on every episode and seed."""
    run_variants(out, make_variants, quick=quick, limit=limit)


def make_variants(seed: int = 0) -> Iterator[Variant]:
    """Yield the base, and variants that differ from it in one part (grid: in rank, damping and decay)."""
    tuned: Options = GEOSSM.tuned_options()
    yield Variant(
        BASE,
        f"policy, exact pullback, lambda {tuned['damping']:g}, decay 0.9, order 2, H = 1, K = 1",
        make_base,
    )
    yield Variant(
        "metric_euclidean",
        "Euclidean metric as tuned",
        _with_options(euclidean_tr.EUCLIDEAN_TR.parts, euclidean_tr.EUCLIDEAN_TR.tuned_options()),
    )
    latent = latent_precondition.LATENT_PRECONDITION
    yield Variant(
        "metric_euclidean_curved",
        "the same, stiff directions in the length of its steps",
        _change_parts(
            _with_options(euclidean_tr.EUCLIDEAN_TR.parts, euclidean_tr.EUCLIDEAN_TR.tuned_options()),
            stiff_directions=True,
        ),
    )
    yield Variant("uncurved", "the decoder alone: without stiff directions", _with_parts(stiff_directions=False))
    yield Variant(
        "metric_latent", "frozen covariance of latents as tuned", _with_options(latent.parts, latent.tuned_options())
    )
    yield Variant("metric_learned", "G_psi, trained on the frozen policy", _with_learned_metric)
    for sketch in ("fisher", "nystrom", "paper"):
        yield Variant(f"sketch_{sketch}", f"{sketch} sketch, r = 8", _with_metric(sketch=sketch))
    yield Variant(
        "sketch_fisher_informed",
        "fisher sketch, r = 8, loss-aware probes",
        _with_metric(sketch="fisher", informed=True),
    )
    yield Variant("frozen", "metric of the first step kept", _with_metric(adapt=False))
    yield Variant(
        "frozen_fisher", "fisher sketch, r = 8, of the first step kept", _with_metric(sketch="fisher", adapt=False)
    )
    yield Variant("h3", "H = 3", _with_parts(horizon=3))
    yield Variant("order_1", "first-order retraction", _with_parts(order=1))
    yield Variant("gate_none", "K = 0: the policy alone", _with_parts(gate=FixedGate(0)))
    yield Variant("gate_3", "K up to 3 until one is taken", _with_parts(gate=plain_gate(), once=True))
    yield Variant("gate_3_all", "K up to 3, all spent", _with_parts(gate=replace(plain_gate(), first=NEVER_ENOUGH)))
    yield Variant("gate_learned", "the gate that ships", _with_learned_gate)
    for space in SPACES:
        names = space.replace("_", ", ")
        yield Variant(f"observed_{space}", f"the metric observes {names}", make_base, observing(space))
    for rank, damping, decay in product(RANKS, (*DAMPINGS, DAMPING), DECAYS):
        yield Variant(
            f"r{rank}_lambda{damping:g}_beta{decay:g}",
            f"fisher sketch, r = {rank}, lambda {damping:g}, beta {decay:g}",
            _with_metric(sketch="fisher", rank=rank, damping=damping, decay=decay),
        )


def make_base(domain: PeptideDomain, seed: int) -> Controller:
    """Make the tuned GeoSSM controller."""
    parts: Any = GEOSSM.parts(domain, seed, GEOSSM.tuned_options())
    base: Controller = parts
    return base


def _with_options(make: Callable[[PeptideDomain, int, Options], Any], options: Options) -> Parts:
    return lambda domain, seed: make(domain, seed, options)


def _with_parts(**parts: Any) -> Parts:
    return _change_parts(make_base, **parts)


def _change_parts(make: Parts, **parts: Any) -> Parts:
    return lambda domain, seed: replace(make(domain, seed), **parts)


def _with_metric(**options: Any) -> Parts:
    """Return the base with other options of its pullback metric."""

    def make(domain: PeptideDomain, seed: int) -> Controller:
        base = make_base(domain, seed)
        metric: Any = base.metric
        assert isinstance(metric, Pullback)
        return replace(base, metric=replace(metric, **options))

    return make


def _with_learned_metric(domain: PeptideDomain, seed: int) -> Controller:
    # G_psi has a fixed latent size; the few peptides with more torsions keep the pullback metric
    base, metric = make_base(domain, seed), shipped_metric()
    fits = 2 * domain.latent_dim == metric.hidden_weight.shape[1]
    return replace(base, metric=metric) if fits else base


def _with_learned_gate(domain: PeptideDomain, seed: int) -> Controller:
    return replace(make_base(domain, seed), gate=controller(RunOptions(seed=seed), domain).gate, once=False)
