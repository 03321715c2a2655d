"""Search for the best combination of rotamers by dead-end elimination.

Glossary: ``K`` rotamers of a residue, ``m`` side-chain atoms beyond CB. Energies and radii are SCWRL3's (Canutescu,
Shelenkov and Dunbrack, Protein Sci. 12:2001, 2003); dead ends go by Goldstein's criterion (Biophys. J. 66:1335, 1994).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geofold.molecule.sidechains.rotamer_library import SideChain

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Pairs = dict[tuple[int, int], Floats]

PACKING_RADIUS = {"C": 0.16, "N": 0.13, "O": 0.13, "S": 0.17, "SE": 0.18}
"""Radii (nm) of SCWRL3, smaller than Bondi's, since discrete rotamers cannot avoid small overlaps."""
DEFAULT_RADIUS = 0.12
"""Radius (nm) of other elements."""
REPULSION_SLOPE, SOFT_FRACTION, MAX_REPULSION = 57.273, 0.8254, 10.0
"""Repulsion at distance r: 0 beyond the contact distance R, slope (1 - r / R) below it, the maximum below 0.8254 R."""
DISULFIDE_RANGE, DISULFIDE_GAIN = (0.185, 0.225), 15.0
"""Range of S-S distances of a disulfide (nm), and the energy gained by it."""
ANNEALING_SWEEPS, START_TEMPERATURE, END_TEMPERATURE = 60, 5.0, 0.05
"""Sweeps of simulated annealing and its temperatures, in units of the energy."""


@dataclass
class ResidueRotamers:
    """Rotamers of one residue that is packed.

    Attributes
    ----------
    residue : int
        Index of the residue.
    chain : SideChain
        Template of its side chain.
    chi : (K, L)
        Torsions, radian.
    xyz : (K, m, 3)
        Side-chain atoms beyond CB, nm.
    energy : (K,)
        Energy of each rotamer, including the fixed atoms.
    """

    residue: int
    chain: SideChain
    chi: Floats
    xyz: Floats
    energy: Floats

    def keep(self, chosen: NDArray[np.bool_] | Ints) -> None:
        """Keep some of the rotamers only, given by a mask or by indices."""
        self.chi, self.xyz, self.energy = self.chi[chosen], self.xyz[chosen], self.energy[chosen]

    @property
    def radius(self) -> Floats:
        """Radii of the atoms beyond CB (m,), nm."""
        return np.array([PACKING_RADIUS.get(element, DEFAULT_RADIUS) for element in self.chain.elements])

    @property
    def sulphur(self) -> int | None:
        """Index of the atom that can form a disulfide; None except in cysteine."""
        return 0 if self.chain.names == ("SG",) else None


def repulsion(separation: Floats, contact: Floats) -> Floats:
    """Compute the repulsion (...) of pairs of atoms from their separation (..., 3) and contact distance (...), nm."""
    ratio = np.sqrt((separation * separation).sum(-1)) / contact
    return np.where(ratio < SOFT_FRACTION, MAX_REPULSION, np.maximum(REPULSION_SLOPE * (1 - ratio), 0.0))


def interactions(sites: list[ResidueRotamers]) -> Pairs:
    """Compute the energies (K_i, K_j) of the pairs of residues, i < j, that interact."""
    if len(sites) < 2:
        return {}
    centre = np.array([site.xyz.mean((0, 1)) for site in sites])
    extent = np.array([np.linalg.norm(s.xyz - c, axis=-1).max() for s, c in zip(sites, centre, strict=True)])
    close = cKDTree(centre).query_pairs(2 * extent.max() + 0.35, output_type="ndarray")
    distance = np.linalg.norm(centre[close[:, 0]] - centre[close[:, 1]], axis=-1)
    close = close[distance < extent[close].sum(1) + 0.35]
    pairs: Pairs = {}
    for i, j in close.tolist():
        energy = _pair_energy(sites[i], sites[j])
        if energy.any():
            pairs[i, j] = energy
    return pairs


def _pair_energy(first: ResidueRotamers, second: ResidueRotamers) -> Floats:
    """Compute the energy (K, K') between the rotamers of two residues."""
    a, b = first.xyz.reshape(-1, 3), second.xyz.reshape(-1, 3)
    shape = (*first.xyz.shape[:2], *second.xyz.shape[:2])
    square = (a * a).sum(-1)[:, None] + (b * b).sum(-1) - 2 * a @ b.T
    contact = first.radius[:, None, None] + second.radius
    ratio = np.sqrt(np.maximum(square, 0.0)).reshape(shape) / contact
    energy = np.where(ratio < SOFT_FRACTION, MAX_REPULSION, np.maximum(REPULSION_SLOPE * (1 - ratio), 0.0)).sum((1, 3))
    if first.sulphur is not None and second.sulphur is not None:
        distance = np.sqrt(np.maximum(square, 0.0)).reshape(shape)[:, 0, :, 0]
        energy[(DISULFIDE_RANGE[0] < distance) & (distance < DISULFIDE_RANGE[1])] = -DISULFIDE_GAIN
    return np.asarray(energy)


def eliminate(sites: list[ResidueRotamers], pairs: Pairs) -> None:
    """Remove rotamers by Goldstein's criterion until none can be removed, in place.

    Rotamer r is removed if another rotamer s of the residue has a lower energy for every choice of the others.
    """
    partners: list[list[int]] = [[] for _ in sites]
    for i, j in pairs:
        partners[i].append(j)
        partners[j].append(i)
    pending = set(range(len(sites)))
    while pending:
        i = pending.pop()
        site = sites[i]
        if len(site.energy) < 2:
            continue
        gain = site.energy[:, None] - site.energy
        for j in partners[i]:
            table = pairs[i, j] if i < j else pairs[j, i].T
            gain = gain + (table[:, None] - table).min(-1)
        viable: NDArray[np.bool_] = ~np.any(gain > 1e-9, axis=1)
        if viable.all():
            continue
        site.keep(viable)
        for j in partners[i]:
            pairs[min(i, j), max(i, j)] = pairs[i, j][viable] if i < j else pairs[j, i][:, viable]
            pending.add(j)
        pending.add(i)


def anneal(sites: list[ResidueRotamers], pairs: Pairs, seed: int) -> tuple[list[int], float]:
    """Minimise the energy over the remaining rotamers by simulated annealing and a final descent.

    While the temperature falls, each residue is sampled in turn from the Boltzmann distribution of its rotamers.

    Parameters
    ----------
    sites : list of ResidueRotamers
        Residues and their remaining rotamers.
    pairs : dict of (int, int) to (K_i, K_j)
        Energies of pairs of residues.
    seed : int
        Seed of the random numbers.

    Returns
    -------
    list of int, float
        Chosen rotamer of each residue, and the energy.
    """
    noise = np.random.default_rng(seed)
    picks = [int(site.energy.argmin()) for site in sites]
    partners: list[list[tuple[int, Floats]]] = [[] for _ in sites]
    for (i, j), table in pairs.items():
        partners[i].append((j, table))
        partners[j].append((i, table.T))
    free = [i for i, site in enumerate(sites) if len(site.energy) > 1]

    def local_energy(i: int) -> Floats:
        energy = sites[i].energy.copy()
        for j, table in partners[i]:
            energy += table[:, picks[j]]
        return energy

    for temperature in np.geomspace(START_TEMPERATURE, END_TEMPERATURE, ANNEALING_SWEEPS if free else 0):
        for i in free:
            energy = local_energy(i)
            weight = np.exp((energy.min() - energy) / temperature)
            picks[i] = int(np.searchsorted(np.cumsum(weight), noise.random() * weight.sum()))
    moved = True
    while moved:
        moved = False
        for i in free:
            energy = local_energy(i)
            best = int(energy.argmin())
            if energy[best] < energy[picks[i]] - 1e-9:
                picks[i], moved = best, True
    total = sum(float(site.energy[p]) for site, p in zip(sites, picks, strict=True))
    return picks, total + sum(float(table[picks[i], picks[j]]) for (i, j), table in pairs.items())
