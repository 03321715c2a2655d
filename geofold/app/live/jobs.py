"""Work in the background: relaxation by the force field, and the search for other conformations of a loop.

Each job runs in a process of its own, so that neither Python nor torch holds up the stream. A job gets a copy of the
segment and returns the torsions of its models; a session takes them like any other action.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geofold.app.live.restraints import Torsion
from geofold.app.steering.segment import Floats, MovingSegment
from geofold.errors import OptionError
from geofold.modelling.force_field_stage import ENERGY_WEIGHT, run_force_field, with_force_field
from geofold.modelling.peptide.streaming import goal_of
from geofold.modelling.threads import one_thread
from geofold.molecule.io.write import render
from geofold.molecule.loop.batch_states import torsion_increments
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.topology.bond_walk import TorsionTree

FAMILIES = 5
"""Largest number of distinct models of a search."""
SAME = 0.05
"""Largest difference (radian) of backbone torsions from the present conformation that counts as the same."""


@dataclass(frozen=True)
class Model:
    """A conformation that a job offers.

    Attributes
    ----------
    name : str
        Label.
    turned : dict of Torsion to float
        Increments (radian) of its torsions from the conformation that the job was given.
    note : str
        Its energy or cost, as a text.
    """

    name: str
    turned: dict[Torsion, float]
    note: str


def relax(segment: MovingSegment, xyz: Floats, bands: tuple[Contact, ...]) -> list[Model]:
    """Take steps down the force field, within the bands.

    Parameters
    ----------
    segment : MovingSegment
    xyz : (n_atoms, 3)
        Coordinates (nm) to start from.
    bands : tuple of Contact

    Raises
    ------
    ForceFieldError
        If the force field cannot describe the moving residues.
    """
    with one_thread():
        domain = segment.domain(xyz)
        structure = replace(segment.structure, xyz=xyz)
        start = domain.start(xyz)
        local = start.conformation.xyz[0].cpu().numpy()
        options = segment.options
        domain = with_force_field(structure, domain, local, options.seed, options.force_field_value)
        goal = replace(goal_of(bands), energy=ENERGY_WEIGHT)
        assert domain.force_field is not None
        atoms = domain.decoder.kinematics.atoms.cpu().numpy()
        before = float(domain.force_field.of_atoms(start.conformation.xyz, atoms)[0])
        run = deque(run_force_field(segment.controller(domain), domain, start, goal), maxlen=1).pop()[0]
        after = float(domain.force_field.of_atoms(run.domain.conformation.xyz, atoms)[0])
    angle = run.domain.conformation.angle[0].cpu().numpy()
    return [Model("relaxed", _by_torsion(domain.tree, angle), f"{before:.0f} to {after:.0f} kJ/mol")]


def search(segment: MovingSegment, xyz: Floats, bands: tuple[Contact, ...]) -> list[Model]:
    """Search for distinct conformations of the loop, best first; the bands play no part.

    Parameters
    ----------
    segment : MovingSegment
    xyz : (n_atoms, 3)
        Coordinates (nm) to start from.
    bands : tuple of Contact

    Raises
    ------
    OptionError
        For a segment that is not a loop.
    """
    from geofold.app.api import repair

    if segment.loop is None:
        raise OptionError("a search for a whole chain", "a session with a loop", "start one with --loop")
    domain, structure = segment.domain(xyz), replace(segment.structure, xyz=xyz)
    tree = domain.tree
    inside = structure.atoms_within(tree.first, tree.last)
    moved = np.isin(np.arange(len(xyz)), tree.atoms)
    options = segment.options
    result = repair(
        render(segment.structure, xyz, moved),
        segment.loop,
        seed=options.seed,
        altloc=options.altloc,
        energy=False,
        models=FAMILIES,
        name=segment.structure.source,
    )
    turned = [torsion_increments(domain, structure, model.xyz[None, inside])[0] for model in result.models]
    found = [
        (angle, model)
        for angle, model in zip(turned, result.models, strict=True)
        if np.abs(angle[tree.backbone]).max() > SAME
    ]
    if not found:
        raise OptionError("a search that found only the present conformation", "another one", "pull the loop first")
    return [
        Model(f"family {rank}", _by_torsion(tree, angle), f"score {model.report['score']:.2f}")
        for rank, (angle, model) in enumerate(found, 1)
    ]


JOBS: dict[str, Any] = {"relax": relax, "search": search}


def turn_of(model: Model, tree: TorsionTree) -> list[float]:
    """Increments of a model in the order of a tree's torsions."""
    return [model.turned.get((int(k), kind), 0.0) for k, kind in zip(tree.residue, tree.kind, strict=True)]


def _by_torsion(tree: TorsionTree, angle: Floats) -> dict[Torsion, float]:
    return {(int(k), kind): float(x) for k, kind, x in zip(tree.residue, tree.kind, angle, strict=True)}
