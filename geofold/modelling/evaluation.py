"""Terms of the cost of refined models (`geofold.modelling.scoring`), evaluated on their coordinates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from geofold.learn.judge.pretrained import shipped_judge
from geofold.learn.judge.scoring import embed_surroundings
from geofold.learn.loop_score.features import LoopEnvironment
from geofold.learn.loop_score.model import shipped_score
from geofold.modelling.energy_source import EnergySource
from geofold.modelling.outcome import LOOP_SEARCH, LoopModel, StreamOutcome
from geofold.modelling.scoring import REFINED, Scores, finite_energies
from geofold.molecule.energy.loop_score_input import backbone_coordinates, make_loop_environment
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.selection import backbone_atoms
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import TorsionTree


def evaluate_geometry(structure: Structure, domain: LoopDomain, outcomes: Sequence[StreamOutcome]) -> Scores:
    """Scores (M,) of refined ends without their energies: potential, clashes, outliers, and how they were found."""
    ends = np.array([outcome.frames[-1] for outcome in outcomes])
    xyz = torch.as_tensor(ends).to(domain.decoder.weight)
    overlap, _ = domain.sterics.overlaps(xyz, domain.sterics.pairs(xyz))
    return Scores.of(
        **terms_of_local(structure, domain, ends),
        clash=domain.sterics.cost(overlap).sum(-1).cpu().numpy(),
        unclean=np.array([0.0 if outcome.status == "done" else 1.0 for outcome in outcomes]),
        searched=np.array([1.0 if outcome.predictor == LOOP_SEARCH else 0.0 for outcome in outcomes]),
    )


def rank_models(
    structure: Structure,
    outcomes: Sequence[StreamOutcome],
    scores: Scores,
    energies: EnergySource | None,
) -> list[LoopModel]:
    """Models of a loop, lowest cost first.

    Parameters
    ----------
    structure : Structure
        Structure that the outcomes belong to.
    outcomes : sequence of StreamOutcome, (M,)
    scores : Scores, (M,)
        Of their ends, without energies.
    energies : EnergySource or None
        None: energies are not evaluated.
    """
    if energies is not None:
        energy = [energies.energy(outcome.apply(structure.xyz)) for outcome in outcomes]
        scores = replace(scores, energy=np.array(energy))
    terms = scores.contributions(REFINED)
    known: list[float | None] = [None] * len(outcomes)
    if np.isfinite(scores.energy).any():  # infinite energies say nothing unless they can be compared
        known = [float(energy) for energy in finite_energies(scores.energy)]
    return sort_models(
        LoopModel(outcome, {name: float(value[k]) for name, value in terms.items()}, known[k])
        for k, outcome in enumerate(outcomes)
    )


def evaluate_model(
    structure: Structure,
    domain: LoopDomain,
    outcome: StreamOutcome,
    energies: EnergySource | None,
) -> LoopModel:
    """Model of one refined end; see `evaluate_geometry` and `rank_models`.

    Parameters
    ----------
    structure : Structure
        Structure that the outcome belongs to.
    domain : LoopDomain
        Domain of the loop.
    outcome : StreamOutcome
        Result of a refinement.
    energies : EnergySource or None
        None: its energy is not evaluated.
    """
    scores = evaluate_geometry(structure, domain, [outcome])
    return rank_models(structure, [outcome], scores, energies)[0]


def sort_models(models: Iterable[LoopModel]) -> list[LoopModel]:
    """Models, lowest cost first."""
    return sorted(models, key=lambda model: model.cost)


def terms_of_local(structure: Structure, domain: LoopDomain, local: np.ndarray) -> dict[str, np.ndarray]:
    """Learned terms (zero at a chain end) and density (K,) of coordinates (K, m, 3) of the domain's atoms."""
    terms = {"potential": np.zeros(len(local)), "judge": np.zeros(len(local)), "density": np.zeros(len(local))}
    if domain.density is not None:
        terms["density"] = domain.density.cost(torch.as_tensor(local).to(domain.decoder.weight)).cpu().numpy()
    if not domain.tree.closed:
        return terms
    xyz = np.repeat(structure.xyz[None], len(local), 0)
    xyz[:, domain.decoder.kinematics.atoms.cpu().numpy()] = local
    return terms | learned_terms(structure, domain.tree, xyz)


def learned_terms(structure: Structure, tree: TorsionTree, xyz: np.ndarray) -> dict[str, np.ndarray]:
    """Learned terms (K,) of the cost of a loop between two residues, by name, in coordinates (K, n_atoms, 3)."""
    around, rows = _loop_input(structure, tree, xyz)
    with torch.no_grad():
        judge = embed_surroundings(shipped_judge()[0], around).energy(rows)
    return {
        "potential": np.asarray(shipped_score()[0].scores(rows, around).numpy()),
        "judge": np.asarray(judge.double().numpy()),
    }


def potential_of(structure: Structure, tree: TorsionTree, xyz: np.ndarray) -> np.ndarray:
    """Learned potential (K,) of a loop between two residues in coordinates (K, n_atoms, 3)."""
    around, rows = _loop_input(structure, tree, xyz)
    return np.asarray(shipped_score()[0].scores(rows, around).numpy())


def _loop_input(structure: Structure, tree: TorsionTree, xyz: np.ndarray) -> tuple[LoopEnvironment, torch.Tensor]:
    """Return the environment of a loop and its backbones (K, L, 4, 3) in A, for coordinates (K, n_atoms, 3) in nm."""
    span = tree.first, tree.last, tree.conformer
    return make_loop_environment(structure, *span), backbone_coordinates(structure, *span, xyz)


def backbone_of_end(structure: Structure, model: LoopModel) -> np.ndarray:
    """N, CA, C and O (n, 4, 3) of a model's end (nm); NaN for a missing oxygen."""
    tree, xyz = model.outcome.tree, model.outcome.apply(structure.xyz)
    atoms = backbone_atoms(structure, tree.first, tree.last, tree.conformer)
    points = [np.full(3, np.nan) if atom is None else xyz[atom] for atom in atoms]
    return np.array(points).reshape(-1, 4, 3)
