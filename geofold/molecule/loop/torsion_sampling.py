"""Torsions of missing residues, sampled from the torsion prior.

Glossary: ``B`` samples, ``n`` residues to build.
"""

from __future__ import annotations

import numpy as np
import torch

from geofold.geometry import dihedral
from geofold.learn.data.chains import AMINO_ACIDS
from geofold.learn.torsion_prior.model import TorsionPrior, encode_previous
from geofold.learn.von_mises import sample
from geofold.molecule.encoding import encode_residues
from geofold.molecule.loop.build_plan import BuildPlan
from geofold.molecule.residues import BACKBONE
from geofold.molecule.sidechains.packing import backbone_torsions
from geofold.molecule.structure import Structure

CONTEXT = 16
"""Number of residues on either side of the loop that the prior reads."""


@torch.no_grad()
def sample_torsions(
    structure: Structure, build: BuildPlan, prior: TorsionPrior, count: int, noise: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Sample torsions of the new residues and of the residue after them, each conditioned on the preceding ones.

    At the C end of a chain no residue follows; before its N end none precedes. Peptide bonds are trans, including those
    of proline, except for the cis bonds of the plan.

    Parameters
    ----------
    structure : Structure
        Structure with the gap.
    build : BuildPlan
        Plan of the loop.
    prior : TorsionPrior
        Trained prior.
    count : int
        Number of samples B.
    noise : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    torsions : (B, n + 1, 2) float
        Phi and psi in radian; (B, n, 2) at the C end of a chain.
    odds : float
        Summed log-odds of the cis bonds being cis, averaged over the samples.
    """
    new_letters = torch.tensor([[AMINO_ACIDS.index(letter)] for letter in build.sequence])
    parts, before = [new_letters], np.empty((0, 3))
    if build.side != "before":
        begin = build.before
        while begin > max(build.before - CONTEXT, 0) and structure.bonded(begin - 1, begin):
            begin -= 1
        parts.insert(0, encode_residues(structure, begin, build.before))
        before = _torsions_before(structure, begin, build.before)
    if build.side != "after":
        end, last_context = build.after, min(build.after + CONTEXT, len(structure.residues) - 1)
        while end < last_context and structure.bonded(end, end + 1):
            end += 1
        parts.append(encode_residues(structure, build.after, end))
    context = prior.context(torch.cat(parts))
    known = torch.as_tensor(before).to(context)[:, None]
    wanted = len(new_letters) + (build.side != "after")
    state, previous = prior.stream.init_state(count), torch.full((count, 3), torch.nan).to(context)
    samples, odds = [], 0.0
    for position, letter_context in enumerate(context[: len(known) + wanted]):
        z, state = prior.stream.step(
            torch.cat([letter_context.expand(count, -1), encode_previous(previous)], -1), state
        )
        if position < len(known):
            previous = known[position].expand(count, -1)
            continue
        density, is_cis = prior.read(z), position - len(known) in build.cis
        angles = sample(density.cis if is_cis else density.trans, noise)
        odds += float(density.odds.mean()) if is_cis else 0.0
        samples.append(angles.double().cpu().numpy())
        previous = torch.cat([angles, torch.full_like(angles[:, :1], 0.0 if is_cis else torch.pi)], -1)
    return np.stack(samples, 1), odds


def _torsions_before(structure: Structure, first: int, last: int) -> np.ndarray:
    """Phi, psi and omega (n, 3) of residues `first` to `last`, after which the chain is broken."""
    torsions = backbone_torsions(structure)[first : last + 1, :3]
    # the last residue has no successor, so its psi is inferred from its O
    n, ca, c, o = (structure.xyz[structure.atom(last, name, structure.conformer_mask)] for name in BACKBONE)
    # `geometry.wrap` of the angle plus pi would add pi twice, which rounds differently
    torsions[-1, 1] = (float(dihedral(n, ca, c, o)) + 2 * np.pi) % (2 * np.pi) - np.pi
    return torsions
