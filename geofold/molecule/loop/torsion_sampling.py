"""Torsions of residues that are not there, drawn from the torsion prior.

Glossary: ``B`` draws, ``n`` residues to build, ``T`` residues that are read: what stands before, the new ones, what
stands after.
"""

from __future__ import annotations

import numpy as np
import torch

from geofold.geometry import dihedral
from geofold.learn.data.chains import AMINO_ACIDS
from geofold.learn.torsion_prior.model import TorsionPrior, encode_previous
from geofold.learn.von_mises import sample
from geofold.molecule.energy.prior_term import CONTEXT, letters_of
from geofold.molecule.loop.build_plan import Build
from geofold.molecule.selection import BACKBONE
from geofold.molecule.sidechains.packing import backbone_torsions
from geofold.molecule.structure import Structure


@torch.no_grad()
def drawn_torsions(
    structure: Structure, build: Build, prior: TorsionPrior, count: int, noise: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Torsions of the new residues and of the one after them, each given those before.

    Peptide bonds are trans, prolines' too, but where the plan says cis.

    Returns
    -------
    torsions : (B, n + 1, 2)
        phi and psi in radian.
    odds : float
        Log-odds of the bonds that are cis being so, the mean of the draws.
    """
    begin, end = build.before, build.after
    while begin > max(build.before - CONTEXT, 0) and structure.bonded(begin - 1, begin):
        begin -= 1
    most = min(build.after + CONTEXT, len(structure.residues) - 1)
    while end < most and structure.bonded(end, end + 1):
        end += 1
    own = torch.tensor([[AMINO_ACIDS.index(letter)] for letter in build.sequence])
    letters = torch.cat([letters_of(structure, begin, build.before), own, letters_of(structure, build.after, end)])
    told = prior.context(letters)
    torsions = backbone_torsions(structure)[begin : build.before + 1, :3]
    # without a residue behind it, what the O of the last one says of its psi
    n, ca, c, o = (structure.xyz[structure.atom(build.before, name, structure.steering_mask)] for name in BACKBONE)
    # `geometry.wrap` of the angle plus pi would add pi twice, which rounds differently
    torsions[-1, 1] = (float(dihedral(n, ca, c, o)) + 2 * np.pi) % (2 * np.pi) - np.pi
    known = torch.as_tensor(torsions).to(told)[:, None]
    state, before = prior.stream.init_state(count), torch.full((count, 3), torch.nan).to(told)
    found, odds = [], 0.0
    for place, here in enumerate(told[: len(known) + len(own) + 1]):
        z, state = prior.stream.step(torch.cat([here.expand(count, -1), encode_previous(before)], -1), state)
        if place < len(known):
            before = known[place].expand(count, -1)
            continue
        said, turned = prior.read(z), place - len(known) in build.cis
        angles = sample(said.cis if turned else said.trans, noise)
        odds += float(said.odds.mean()) if turned else 0.0
        found.append(angles.double().cpu().numpy())
        before = torch.cat([angles, torch.full_like(angles[:, :1], 0.0 if turned else torch.pi)], -1)
    return np.stack(found, 1), odds
