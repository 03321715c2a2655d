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
"""nm, SCWRL3's: smaller than Bondi's, as atoms of discrete rotamers must be; other elements take `DEFAULT_RADIUS`."""
DEFAULT_RADIUS = 0.12
REPULSION_SLOPE, SOFT_FRACTION, MAX_REPULSION = 57.273, 0.8254, 10.0
"""Repulsion: zero from the contact distance R, RISE (1 - r / R) below it, MAX_REPULSION below SOFT R."""
DISULFIDE_RANGE, DISULFIDE_GAIN = (0.185, 0.225), 15.0
"""Range of S-S distances of a disulfide (nm), and the energy gained by it."""
ANNEALING_SWEEPS, START_TEMPERATURE, END_TEMPERATURE = 60, 5.0, 0.05


@dataclass
class ResidueRotamers:
    """One residue that is packed: rotamers chi (K, L), atoms (K, m, 3) and energies (K,) with what is fixed."""

    residue: int
    chain: SideChain
    chi: Floats
    xyz: Floats
    energy: Floats

    def keep(self, chosen: NDArray[np.bool_] | Ints) -> None:
        """Only some of the rotamers go on."""
        self.chi, self.xyz, self.energy = self.chi[chosen], self.xyz[chosen], self.energy[chosen]

    @property
    def radius(self) -> Floats:
        """(m,)."""
        return np.array([PACKING_RADIUS.get(element, DEFAULT_RADIUS) for element in self.chain.elements])

    @property
    def sulphur(self) -> int | None:
        """Which atom may bridge."""
        return 0 if self.chain.names == ("SG",) else None


def repulsion(apart: Floats, touching: Floats) -> Floats:
    """Energy of pairs of atoms apart (..., 3) that touch at some distance."""
    ratio = np.sqrt((apart * apart).sum(-1)) / touching
    return np.where(ratio < SOFT_FRACTION, MAX_REPULSION, np.maximum(REPULSION_SLOPE * (1 - ratio), 0.0))


def interactions(sites: list[ResidueRotamers]) -> Pairs:
    """Energies (K_i, K_j) of the pairs of residues, i < j, that can touch at all."""
    if len(sites) < 2:
        return {}
    middle = np.array([site.xyz.mean((0, 1)) for site in sites])
    extent = np.array([np.linalg.norm(s.xyz - c, axis=-1).max() for s, c in zip(sites, middle, strict=True)])
    close = cKDTree(middle).query_pairs(2 * extent.max() + 0.35, output_type="ndarray")
    apart = np.linalg.norm(middle[close[:, 0]] - middle[close[:, 1]], axis=-1)
    close = close[apart < extent[close].sum(1) + 0.35]
    found: Pairs = {}
    for i, j in close.tolist():
        energy = _pair_energy(sites[i], sites[j])
        if energy.any():
            found[i, j] = energy
    return found


def _pair_energy(one: ResidueRotamers, other: ResidueRotamers) -> Floats:
    """Energy (K, K') of two residues' rotamers."""
    a, b = one.xyz.reshape(-1, 3), other.xyz.reshape(-1, 3)
    shape = (*one.xyz.shape[:2], *other.xyz.shape[:2])
    square = (a * a).sum(-1)[:, None] + (b * b).sum(-1) - 2 * a @ b.T
    touching = one.radius[:, None, None] + other.radius
    ratio = np.sqrt(np.maximum(square, 0.0)).reshape(shape) / touching
    energy = np.where(ratio < SOFT_FRACTION, MAX_REPULSION, np.maximum(REPULSION_SLOPE * (1 - ratio), 0.0)).sum((1, 3))
    if one.sulphur is not None and other.sulphur is not None:
        distance = np.sqrt(np.maximum(square, 0.0)).reshape(shape)[:, 0, :, 0]
        energy[(DISULFIDE_RANGE[0] < distance) & (distance < DISULFIDE_RANGE[1])] = -DISULFIDE_GAIN
    return np.asarray(energy)


def eliminate(sites: list[ResidueRotamers], pairs: Pairs) -> None:
    """Goldstein's criterion until nothing more goes: r is out if some s is better whatever the others do."""
    around: list[list[int]] = [[] for _ in sites]
    for i, j in pairs:
        around[i].append(j)
        around[j].append(i)
    waiting = set(range(len(sites)))
    while waiting:
        i = waiting.pop()
        site = sites[i]
        if len(site.energy) < 2:
            continue
        gain = site.energy[:, None] - site.energy
        for j in around[i]:
            table = pairs[i, j] if i < j else pairs[j, i].T
            gain = gain + (table[:, None] - table).min(-1)
        alive: NDArray[np.bool_] = ~np.any(gain > 1e-9, axis=1)
        if alive.all():
            continue
        site.keep(alive)
        for j in around[i]:
            pairs[min(i, j), max(i, j)] = pairs[i, j][alive] if i < j else pairs[j, i][:, alive]
            waiting.add(j)
        waiting.add(i)


def anneal(sites: list[ResidueRotamers], pairs: Pairs, seed: int) -> tuple[list[int], float]:
    """Residues with a choice left, redrawn one by one from their Boltzmann weights while it cools; then the best."""
    noise = np.random.default_rng(seed)
    picks = [int(site.energy.argmin()) for site in sites]
    around: list[list[tuple[int, Floats]]] = [[] for _ in sites]
    for (i, j), table in pairs.items():
        around[i].append((j, table))
        around[j].append((i, table.T))
    free = [i for i, site in enumerate(sites) if len(site.energy) > 1]

    def field(i: int) -> Floats:
        energy = sites[i].energy.copy()
        for j, table in around[i]:
            energy += table[:, picks[j]]
        return energy

    for temperature in np.geomspace(START_TEMPERATURE, END_TEMPERATURE, ANNEALING_SWEEPS if free else 0):
        for i in free:
            energy = field(i)
            weight = np.exp((energy.min() - energy) / temperature)
            picks[i] = int(np.searchsorted(np.cumsum(weight), noise.random() * weight.sum()))
    moved = True
    while moved:
        moved = False
        for i in free:
            energy = field(i)
            best = int(energy.argmin())
            if energy[best] < energy[picks[i]] - 1e-9:
                picks[i], moved = best, True
    total = sum(float(site.energy[p]) for site, p in zip(sites, picks, strict=True))
    return picks, total + sum(float(table[picks[i], picks[j]]) for (i, j), table in pairs.items())
