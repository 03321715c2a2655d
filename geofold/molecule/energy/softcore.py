"""The middle rung of the energy ladder: all heavy atoms with soft cores, in torch.

Between soft sterics, which know only overlaps, and amber14 with solvent, which explodes at the first one:
Lennard-Jones with a soft core, Coulomb with a distance-dependent dielectric, backbone hydrogen bonds and the
threefold terms of side-chain torsions. Parameters are amber14's own, hydrogens united with the heavy atom
that carries them. Energies in kJ/mol, lengths in nm.

Soft core: Beutler et al., Chem. Phys. Lett. 222:529 (1994). Dielectric 4 r (r in Angstrom): Whitlow and Teeter,
J. Am. Chem. Soc. 108:7163 (1986). Hydrogen bonds: the 12-10 form of DREIDING (Mayo, Olafson and Goddard, J. Phys.
Chem. 94:8897, 1990) between N and O, along the direction of the C=O bond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.energy.sterics import PairList, Sterics
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import TorsionTree

COULOMB = 138.935458
"""kJ nm / (mol e^2)."""
DIELECTRIC = 40.0
"""4 per Angstrom, in 1/nm."""
SOFT_CHARGE = 0.15
"""nm: charges closer than this gain little more."""
CUTOFF = 0.65
"""nm; the energy goes to zero smoothly there, where the neighbour list ends."""
BOND_LENGTH, BOND_DEPTH = 0.29, 12.0
CHI_AMPLITUDE = 5.86
"""kJ/mol: amber's term X-CT-CT-X, 1.4 kcal/mol (1 + cos 3 chi), summed over its nine torsions."""


@dataclass(frozen=True)
class SoftCore:
    """Soft-core energy of a moving stretch against itself and its surroundings.

    Attributes
    ----------
    sigma, epsilon, charge : (m' + e,)
        Per atom of a `Sterics` (local heavy atoms, then fixed ones).
    donor, acceptor : (m' + e,) bool
        Backbone N with a hydrogen; backbone O.
    carbonyl : (m' + e,) int
        Row of the C that an O hangs from (itself elsewhere).
    chi : (n,) float
        1 for torsions with a threefold barrier, and `chi_start` (n,) their angle in the input.
    softness : float
        alpha of the soft core; 0 is plain Lennard-Jones.
    """

    sterics: Sterics
    sigma: Tensor
    epsilon: Tensor
    charge: Tensor
    donor: Tensor
    acceptor: Tensor
    carbonyl: Tensor
    chi: Tensor
    chi_start: Tensor
    softness: float = 0.5

    @classmethod
    def of(
        cls, structure: Structure, tree: TorsionTree, sterics: Sterics, model: EnergyModel, *, softness: float = 0.5
    ) -> SoftCore:
        """Parameters of the atoms of a `Sterics`; atoms that amber14 does not know (ligands) get none."""
        united = _united(model)
        like = sterics.radius
        values = np.array([united.get(int(a), (0.3, 0.0, 0.0)) for a in sterics.atoms]).reshape(-1, 3)
        sigma, epsilon, charge = (torch.as_tensor(column, dtype=like.dtype, device=like.device) for column in values.T)
        row = {int(a): k for k, a in enumerate(sterics.atoms)}
        names, residues = structure.name[sterics.atoms], structure.residue_of[sterics.atoms]
        carbonyl = np.arange(len(sterics.atoms))
        for k in np.flatnonzero(names == "O"):
            carbon = structure.atom(int(residues[k]), "C", tree.steering)
            if carbon in row:
                carbonyl[k] = row[carbon]
        proline = np.array([structure.residues[r].resname == "PRO" for r in residues])
        threefold, start = _threefold(structure, tree)
        return cls(
            sterics, sigma, epsilon, charge,
            donor=torch.as_tensor((names == "N") & ~proline, device=like.device),
            acceptor=torch.as_tensor((names == "O") & (carbonyl != np.arange(len(carbonyl))), device=like.device),
            carbonyl=torch.as_tensor(carbonyl, device=like.device),
            chi=torch.as_tensor(threefold, dtype=like.dtype, device=like.device),
            chi_start=torch.as_tensor(start, dtype=like.dtype, device=like.device), softness=softness,
        )  # fmt: skip

    def energy(self, xyz: Tensor, angle: Tensor, pairs: PairList) -> dict[str, Tensor]:
        """Terms (B,) of local coordinates (B, m, 3) whose torsions have turned by `angle` (B, n) in all."""
        _, pairs = self.sterics.overlaps(xyz.detach(), pairs)
        every = torch.cat([xyz[:, self.sterics.local], self.sterics.fixed.expand(len(xyz), -1, -1)], dim=1)
        separation = every[:, pairs.i] - every[:, pairs.j]
        square = separation.square().sum(-1) + 1e-12
        fade = torch.relu(1 - square / CUTOFF**2).square()
        turned = self.chi_start + angle
        return {
            "lennard_jones": (fade * self._lennard_jones(square, pairs)).sum(-1),
            "coulomb": (fade * self._coulomb(square, pairs)).sum(-1),
            "hydrogen_bonds": self._hydrogen_bonds(every, separation, square, pairs).sum(-1),
            "torsions": (self.chi * CHI_AMPLITUDE * (1 + torch.cos(3 * turned))).sum(-1),
        }

    def _lennard_jones(self, square: Tensor, pairs: PairList) -> Tensor:
        sigma = (self.sigma[pairs.i] + self.sigma[pairs.j]) / 2
        depth = (self.epsilon[pairs.i] * self.epsilon[pairs.j]).sqrt()
        inverse = 1 / (self.softness + (square / sigma.square()) ** 3)
        return 4 * depth * (inverse.square() - inverse)

    def _coulomb(self, square: Tensor, pairs: PairList) -> Tensor:
        return COULOMB * self.charge[pairs.i] * self.charge[pairs.j] / (DIELECTRIC * (square + SOFT_CHARGE**2))

    def _hydrogen_bonds(self, every: Tensor, separation: Tensor, square: Tensor, pairs: PairList) -> Tensor:
        """12-10 well between backbone N and O, as far as N lies where the C=O bond points."""
        ahead = self.donor[pairs.i] & self.acceptor[pairs.j]
        chosen = torch.nonzero(ahead | (self.acceptor[pairs.i] & self.donor[pairs.j]))[:, 0]
        towards_donor = torch.where(ahead[chosen], 1.0, -1.0).to(square)[:, None] * separation[:, chosen]
        oxygen = torch.where(ahead[chosen], pairs.j[chosen], pairs.i[chosen])
        bond = torch.nn.functional.normalize(every[:, oxygen] - every[:, self.carbonyl[oxygen]], dim=-1)
        cosine = (towards_donor * bond).sum(-1) / square[:, chosen].sqrt()
        # the floor keeps the wall of the well as soft as the cores are
        ratio = BOND_LENGTH**2 / square[:, chosen].clamp_min((0.8 * BOND_LENGTH) ** 2)
        well = BOND_DEPTH * (5 * ratio**6 - 6 * ratio**5)
        fade = torch.relu(1 - square[:, chosen] / CUTOFF**2).square()
        return fade * torch.relu(cosine).square() * well


def _united(model: EnergyModel) -> dict[int, tuple[float, float, float]]:
    """sigma, epsilon and charge (hydrogens' included) of each heavy atom of the structure that amber14 knows."""
    import openmm
    from openmm import unit

    force: Any = next(f for f in model.system.getForces() if isinstance(f, openmm.NonbondedForce))
    particles = list(model.completed.topology.atoms())
    charge = {p.index: force.getParticleParameters(p.index)[0].value_in_unit(unit.elementary_charge) for p in particles}
    for one, two in model.completed.topology.bonds():
        for hydrogen, heavy in ((one, two), (two, one)):
            if hydrogen.element.symbol == "H" and heavy.element.symbol != "H":
                charge[heavy.index] += force.getParticleParameters(hydrogen.index)[0].value_in_unit(
                    unit.elementary_charge
                )
    found = {}
    for particle in particles:
        source = int(model.completed.source[particle.index])
        if source >= 0 and particle.element.symbol != "H":
            _, sigma, epsilon = force.getParticleParameters(particle.index)
            found[source] = (
                sigma.value_in_unit(unit.nanometer), epsilon.value_in_unit(unit.kilojoule_per_mole),
                charge[particle.index],
            )  # fmt: skip
    return found


FLAT_ENDS = frozenset({("ASN", 2), ("ASP", 2), ("GLN", 3), ("GLU", 3), ("HIS", 2), ("PHE", 2), ("TRP", 2), ("TYR", 2)})
"""Side-chain torsions onto a planar group: no threefold barrier."""


def _threefold(structure: Structure, tree: TorsionTree) -> tuple[np.ndarray, np.ndarray]:
    """Which torsions turn between two tetrahedral carbons, and their angle in the input (radian)."""
    from geofold.geometry import dihedral_of_points

    on, start = np.zeros(len(tree)), np.zeros(len(tree))
    for k, kind in enumerate(tree.kind):
        if not kind.startswith("chi"):
            continue
        name = structure.residues[int(tree.residue[k])].resname
        if (name, int(kind[3:])) in FLAT_ENDS:
            continue
        near, far = int(tree.near[k]), int(tree.far[k])
        before = [a for a in tree.table[near] if a != far and structure.element[a] not in ("H", "D")]
        after = [a for a in tree.table[far] if a != near and structure.element[a] not in ("H", "D")]
        if before and after:
            on[k] = 1.0
            start[k] = float(dihedral_of_points(torch.as_tensor(structure.xyz[[before[0], near, far, after[0]]])))
    return on, start
