"""Starts of a loop that is not there: drawn, closed, the best streamed clash-free without side chains, then packed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from geofold.app.options import TORSION_CAP, RunOptions
from geofold.app.repair_loop import streamed
from geofold.errors import BuildError
from geofold.learn.chains import dihedral
from geofold.learn.prior_training import shipped_prior
from geofold.molecule.build_plan import Build
from geofold.molecule.insertion import NewResidue, with_residues
from geofold.molecule.loop import LoopDomain
from geofold.molecule.loop_bridge import Bridge
from geofold.molecule.loop_draws import drawn_torsions
from geofold.molecule.loop_rows import state_of_rows
from geofold.molecule.packing import pack, placed
from geofold.molecule.ramachandran import OUTLIER, class_of, score, verdict
from geofold.molecule.structure import Floats, Structure

Progress = Callable[[int, int, float], None]
DRAWS = 512
TRIED = 3
"""Conformations that are streamed without side chains, for each that gets to stream with them."""
APART = 0.05
"""nm: so far they are from each other (RMSD of the backbone) as long as there are enough of them."""
HOPELESS = 1000.0
"""Cost of a start that makes an outlier of the residue after the loop: no stream mends it, any other comes first."""
TURN_COST = 2.0
"""Per square radian (mean) that closing turned the torsions away from what was drawn."""


@dataclass(frozen=True, eq=False)
class Started:
    """Where a loop begins.

    Attributes
    ----------
    build : Build
    structure : Structure
        With the new residues in the best of the conformations.
    rows : (R, m, 3)
        Conformations of their atoms in the order of the structure, best first, nm.
    closed : int
        How many of the draws closed.
    """

    build: Build
    structure: Structure
    rows: Floats
    closed: int

    @property
    def span(self) -> tuple[int, int]:
        """First and last of the new residues in `structure`."""
        return self.build.before + 1, self.build.before + len(self.build.names)


def started(structure: Structure, build: Build, options: RunOptions, progress: Progress | None = None) -> Started:
    """Conformations of a loop, as many as there are streams.

    Raises
    ------
    BuildError
        If its residues cannot reach from one anchor to the other.
    """
    bridge = Bridge.of(structure, build, options.altloc)
    apart, most = bridge.reach
    given = f"{build.label}: {10 * apart:.1f} A from C to N across the gap for {len(build.names)} residues"
    if apart > most:
        raise BuildError(given, f"at most {10 * most:.1f} A", "give more residues, or other anchors")
    drawn = drawn_torsions(structure, build, shipped_prior()[0], DRAWS, np.random.default_rng(options.seed))
    wanted = bridge.increments(drawn)
    delta, closed = bridge.close(wanted)
    if not bool(closed.any()):
        raise BuildError(f"{given}: none of {DRAWS} draws closes it", "residues that can turn to meet both anchors",
                         "take a neighbour on each side along, which is built anew")  # fmt: skip
    turned = (delta - wanted)[closed].square().mean(-1)
    rows, bare = _without_side_chains(structure, build, bridge, delta[closed], turned, options, progress)
    return _with_side_chains(structure, build, rows, bare, int(closed.sum()), options)


def _without_side_chains(
    structure: Structure, build: Build, bridge: Bridge, delta: torch.Tensor, turned: torch.Tensor,
    options: RunOptions, progress: Progress | None,
) -> tuple[Floats, Structure]:  # fmt: skip
    """The best backbones with their CB (R, m, 3), streamed free of clashes, and a structure that has one of them.

    `turned` (B,): mean square of what closing changed, in square radian.
    """
    names, rows = bridge.places(delta)
    bare = with_residues(structure, build.before, build.removed, _residues(build, names, rows[0]))
    first, last = build.before + 1, build.before + len(names)
    domain = LoopDomain.of(bare, first, last, cap=TORSION_CAP, altloc=options.altloc, device=options.device)
    with torch.no_grad():
        worth = domain.worth(state_of_rows(domain, bare, rows)).cpu() + TURN_COST * turned.cpu()
    cost = worth.numpy() + HOPELESS * _spoiled(bare, last, rows, options.altloc)
    rows = rows[unlike(rows, cost, TRIED * options.streams)]
    state = state_of_rows(domain, bare, rows)
    if int(state.fold.space.freedom[0]) <= 0:
        return rows, bare
    state = streamed(domain, state, replace(options, rounds=1), progress, kept=len(rows))[0].domain
    own = np.flatnonzero((bare.residue_of >= first) & (bare.residue_of <= last))
    xyz = np.repeat(bare.xyz[None], len(rows), 0)
    xyz[:, domain.fold.kin.atoms.cpu().numpy()] = state.fold.xyz.cpu().numpy()
    return xyz[:, own], bare


def _with_side_chains(
    structure: Structure, build: Build, rows: Floats, bare: Structure, closed: int, options: RunOptions
) -> Started:
    """Backbones packed, the best of them kept."""
    first, last = build.before + 1, build.before + len(build.names)
    full = [_packed(bare, first, last, row, options) for row in rows]
    # as a file holds them, so that every row starts at what would be written
    every = np.array([np.concatenate([residue.xyz for residue in own]) for own in full]).round(4)
    ends = np.cumsum([len(residue.atoms) for residue in full[0]])[:-1]

    def whole(row: Floats) -> Structure:
        new = [replace(residue, xyz=xyz) for residue, xyz in zip(full[0], np.split(row, ends), strict=True)]
        return with_residues(structure, build.before, build.removed, new)

    domain = LoopDomain.of(whole(every[0]), first, last, altloc=options.altloc, device=options.device)
    with torch.no_grad():
        worth = domain.worth(state_of_rows(domain, whole(every[0]), every)).cpu().numpy()
    best = every[unlike(every, worth + HOPELESS * _spoiled(bare, last, rows, options.altloc), options.streams)]
    return Started(build, whole(best[0]), best, closed)


def _residues(build: Build, names: list[tuple[str, ...]], row: Floats) -> list[NewResidue]:
    """New residues of their backbones (m, 3)."""
    ends = np.cumsum([len(own) for own in names])[:-1]
    return [
        NewResidue(name, number, own, tuple(atom[0] for atom in own), places)
        for name, number, own, places in zip(build.names, build.numbers, names, np.split(row, ends), strict=True)
    ]  # fmt: skip


def _spoiled(structure: Structure, last: int, rows: Floats, altloc: str | None) -> np.ndarray:
    """Whether the residue after the loop would be a Ramachandran outlier, (B,) bool."""
    steering = structure.steering(altloc)
    n, ca, c = (structure.xyz[structure.atom(last + 1, name, steering)] for name in ("N", "CA", "C"))
    size = len(structure.residues)
    if last + 2 >= size or not structure.bonded(last + 1, last + 2):
        return np.zeros(len(rows), dtype=bool)
    following = structure.xyz[structure.atom(last + 2, "N", steering)]
    atoms = np.flatnonzero((structure.residue_of == last) & (structure.name == "C"))
    carbon = rows[:, atoms[0] - int(structure.residues[last].atoms[-1]) - 1]
    phi, psi = dihedral(carbon, n, ca, c), dihedral(n, ca, c, following)
    kind = class_of(structure.residues[last + 1].resname, structure.residues[last + 2].resname, np.pi)
    return np.asarray(verdict(score(phi, psi, kind), kind) == OUTLIER)


def unlike(rows: Floats, cost: np.ndarray, count: int, *, fill: bool = True) -> list[int]:
    """The cheapest rows (B, m, 3), each at least APART from those before it (RMSD).

    `fill`: others follow where these are too few.
    """
    order = np.argsort(cost, kind="stable").tolist()
    chosen: list[int] = []
    for k in order:
        if len(chosen) < count and all(np.sqrt(((rows[k] - rows[j]) ** 2).sum(-1).mean()) > APART for j in chosen):
            chosen.append(k)
    return (chosen + [k for k in order if fill and k not in chosen])[:count]


def _packed(structure: Structure, first: int, last: int, row: Floats, options: RunOptions) -> list[NewResidue]:
    """New residues with side chains packed onto a backbone."""
    own = np.flatnonzero((structure.residue_of >= first) & (structure.residue_of <= last))
    xyz = structure.xyz.copy()
    xyz[own] = row
    here = replace(structure, xyz=xyz)
    _, added, _ = placed(here, pack(here, list(range(first, last + 1)), seed=options.seed))
    found = []
    for k in range(first, last + 1):
        residue, more = structure.residues[k], [atom for atom in added if atom.residue == k]
        names = (*structure.name[residue.atoms].tolist(), *(atom.name for atom in more))
        elements = (*structure.element[residue.atoms].tolist(), *(atom.element for atom in more))
        places = np.concatenate([xyz[residue.atoms], *[atom.xyz[None] for atom in more]])
        found.append(NewResidue(residue.resname, (residue.resnum, residue.icode), names, elements, places))
    return found
