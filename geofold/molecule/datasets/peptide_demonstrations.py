"""Demonstrations for the peptide policy: where an offline optimiser takes a peptide, given unlimited time.

Torsions are annealed in many rows at once towards the contact, under soft sterics that harden, the Ramachandran
penalty, and a penalty on the largest turn: a stream with capped steps arrives the sooner, the less its most-turned
torsion turns. Among the rows that end clean with the contact kept, those that take the fewest steps are considered, and
the force field (amber14 + OBC2) chooses one.

Bounded L-BFGS (`geofold.molecule.peptide.lbfgs`) instead gave ends 5.3 capped steps away (annealing: 6.5) in a tenth of
the time that are easier to imitate (validation loss -1.34 nat after 600 batches, at best -1.02), but a worse policy:
14.5 steps to a contact on 32 tuning episodes, 9.5 with annealing. It stops where the contact is just made, and whatever
falls short of that must be corrected.

Glossary: ``B`` rows, ``n`` torsions, ``m`` local atoms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geofold.learn.peptide_policy.features import FEATURE_COUNT, MEMORY_SIZE, POSE_SIZE
from geofold.learn.peptide_policy.training import Demonstration
from geofold.molecule.energy.amber import AMBER14, ForceField
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.kinematics.forward import frames, transform_atoms
from geofold.molecule.peptide.annealing import AnnealingSchedule, anneal
from geofold.molecule.peptide.contacts import MIN_CONTACT_SEPARATION, parse_contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.features import PeptideFeatures
from geofold.molecule.peptide.predictor import CAP, TIME_SCALE
from geofold.molecule.peptide.state import PeptideGoal, PeptideState
from geofold.molecule.residues import AMINO_ACID_LETTERS
from geofold.molecule.structure import Structure

CONTACT_WEIGHT = 20.0
ANNEALING = AnnealingSchedule(rows=16, iterations=200, start_deviation=0.15, turn_weight=0.6)
FINALISTS = 4
"""Rows with the fewest steps among which the force field chooses."""
LENGTHS = (8, 12)
"""Shortest and longest random peptide."""
GOALS = 2
"""Contacts solved one after the other, the second from the end of the first."""
BOUND = 6.0
"""Upper bound (A) of a contact."""
DEMONSTRATION_STEPS = 12
MAX_NOISE = math.radians(4.0)
"""Largest standard deviation (radian) of the noise in the steps of a demonstration."""


@dataclass(frozen=True)
class SolvedContact:
    """A contact of a peptide and torsions that make it.

    Attributes
    ----------
    sequence, contact : str
        One-letter sequence, and the contact as text.
    start, end : (n,)
        Increments (radian) of the torsions of the extended peptide, at the start and with the contact made.
    """

    sequence: str
    contact: str
    start: NDArray[np.float64]
    end: NDArray[np.float64]


def solve_contacts(number: int, *, seed: int = 0) -> list[SolvedContact]:
    """Solve random contacts of a random peptide one after the other, until one is not reached."""
    noise = np.random.default_rng([seed, number])
    sequence = draw_sequence(noise)
    structure, domain = build_peptide(sequence)
    angle, contacts = np.zeros(len(domain.tree)), []
    for part in range(GOALS):
        contact = draw_contact(len(sequence), noise)
        end = solve_contact(structure, domain, contact, angle, seed=number * GOALS + part)
        if end is None:
            break
        contacts.append(SolvedContact(sequence, contact, angle, end))
        angle = end
    return contacts


def draw_sequence(noise: np.random.Generator) -> str:
    """Draw a sequence of 8-12 residues."""
    return "".join(noise.choice(list(AMINO_ACID_LETTERS), int(noise.integers(LENGTHS[0], LENGTHS[1] + 1))))


def draw_contact(length: int, noise: np.random.Generator) -> str:
    """Draw a contact between residues that are far enough apart in sequence."""
    while True:
        i, j = sorted(int(k) for k in noise.integers(1, length + 1, 2))
        if j - i >= MIN_CONTACT_SEPARATION:
            return f"A:{i}-A:{j}<{BOUND}"


@lru_cache(8)
def build_peptide(sequence: str) -> tuple[Structure, PeptideDomain]:
    """Build an extended peptide and its domain."""
    structure = peptide(sequence)
    return structure, PeptideDomain.of(structure, 0, len(structure.residues) - 1)


def state_at(domain: PeptideDomain, xyz: np.ndarray, angle: Tensor) -> PeptideState:
    """State (B) of a peptide whose torsions are turned.

    Parameters
    ----------
    domain : PeptideDomain
        The domain.
    xyz : (n_atoms, 3)
        Coordinates of the structure (nm).
    angle : (B, n)
        Increments from these (radian).
    """
    start = domain.start(xyz, len(angle)).conformation.xyz
    moved = transform_atoms(domain.decoder.kinematics, frames(domain.decoder.kinematics, start, angle), start)
    return PeptideState(domain.decoder.at(moved, angle, domain.mobility()), domain.sterics.pairs(moved))


def solve_contact(
    structure: Structure,
    domain: PeptideDomain,
    contact: str,
    angle: NDArray[np.float64],
    *,
    seed: int,
    force_field: ForceField = AMBER14,
) -> NDArray[np.float64] | None:
    """Find torsions that make a contact without overlaps or outliers.

    Parameters
    ----------
    structure, domain : Structure, PeptideDomain
        The extended peptide.
    contact : str
        The contact as text.
    angle : (n,)
        Increments (radian) to start from.
    seed : int
        Seed of the annealing.
    force_field : ForceField
        Chooses among equally short solutions.

    Returns
    -------
    (n,) or None
        Increments; None if no row gets there.
    """
    goal = PeptideGoal((parse_contact(structure, contact),), contact=CONTACT_WEIGHT)
    start = torch.as_tensor(angle)
    turn = anneal(domain, state_at(domain, structure.xyz, start[None]), goal, ANNEALING, seed=seed)
    state = state_at(domain, structure.xyz, start + turn)
    clean = domain.sterics.count_severe(state.conformation.xyz, state.pairs) == 0
    clean &= torch.tensor(domain.angles.count_outliers(state.conformation.angle)) == 0
    clean &= domain.distances(state.conformation.xyz, goal.contacts)[:, 0] <= goal.contacts[0].bound
    if not bool(clean.any()):
        return None
    steps = (turn[:, torch.as_tensor(domain.tree.backbone)].abs().amax(-1) / CAP).ceil()
    steps[~clean] = torch.inf
    finalists = torch.nonzero(steps == steps.min())[:FINALISTS, 0].tolist()
    best = finalists[0]
    if len(finalists) > 1:
        model = EnergyModel.of(structure, domain.tree.conformer, seed=seed, force_field=force_field)
        atoms = domain.decoder.kinematics.atoms.numpy()

        def energy(row: int) -> float:
            xyz = structure.xyz.copy()
            xyz[atoms] = state.conformation.xyz[row].numpy()
            return model.energy(xyz)

        best = min(finalists, key=energy)
    return np.asarray((start + turn[best]).numpy())


def make_demonstration(contact: SolvedContact, *, seed: int) -> Demonstration:
    """Make a noisy path from the start of a solved contact towards its end, with the features of the policy."""
    structure, domain = build_peptide(contact.sequence)
    extractor = PeptideFeatures.of(structure, domain.decoder)
    assert extractor is not None
    noise = np.random.default_rng(seed)
    backbone, deviation = domain.tree.backbone, noise.random() * MAX_NOISE
    path = [np.asarray(contact.start)]
    while len(path) < DEMONSTRATION_STEPS:
        remaining = contact.end - path[-1]
        largest = np.abs(remaining[backbone]).max(initial=1e-9)
        move = np.where(backbone, remaining * min(1.0, CAP / largest), remaining.clip(-CAP, CAP))
        path.append(path[-1] + move + deviation * noise.standard_normal(len(remaining)) * backbone)
    angle = torch.as_tensor(np.array(path))
    state = state_at(domain, structure.xyz, angle)
    goal = PeptideGoal((parse_contact(structure, contact.contact),))
    observation = extractor.observe(domain, state, goal)[:, :-2].unflatten(1, (-1, FEATURE_COUNT + POSE_SIZE))
    features, pose = observation.split((FEATURE_COUNT, POSE_SIZE), -1)
    features[..., -MEMORY_SIZE:-1] = extractor.per_residue(torch.diff(angle, dim=0, prepend=angle[:1]))
    features[..., -1] = (torch.arange(DEMONSTRATION_STEPS) / TIME_SCALE)[:, None]
    missing = torch.where(
        extractor.torsion_index < 0, torch.nan, extractor.per_residue(torch.as_tensor(contact.end) - angle)
    )
    return Demonstration(features.float(), pose.float(), missing.float())


def contacts_to_arrays(contacts: list[SolvedContact]) -> dict[str, NDArray[np.generic]]:
    """Arrays of a file of solved contacts."""
    return {
        "sequence": np.array([c.sequence for c in contacts]),
        "contact": np.array([c.contact for c in contacts]),
        "size": np.array([len(c.start) for c in contacts], dtype=np.int64),
        "start": np.concatenate([c.start for c in contacts] or [np.zeros(0)]),
        "end": np.concatenate([c.end for c in contacts] or [np.zeros(0)]),
    }


def contacts_from_arrays(arrays: Mapping[str, Any]) -> Iterator[SolvedContact]:
    """Solved contacts from the arrays of a file."""
    edge = np.concatenate([[0], np.cumsum(arrays["size"])]).astype(int)
    for k, (sequence, contact) in enumerate(zip(arrays["sequence"], arrays["contact"], strict=True)):
        part = slice(edge[k], edge[k + 1])
        start, end = (np.asarray(arrays[name][part], dtype=np.float64) for name in ("start", "end"))
        yield SolvedContact(str(sequence), str(contact), start, end)
