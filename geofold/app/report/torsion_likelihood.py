"""How likely the torsion prior finds each residue of a structure, and which stretches stand out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from geofold.learn.torsion_prior.model import shipped_prior
from geofold.molecule.energy.prior_term import letters_of
from geofold.molecule.sidechains.packing import backbone_torsions
from geofold.molecule.structure import Structure


def likelihood(structure: Structure, spans: list[tuple[int, int]]) -> dict[str, Any] | None:
    """Log-likelihood (nat) of (phi, psi) of each residue of unbroken stretches, and of what stands out.

    Returns
    -------
    dict or None
        `residues` by label, their `mean_nat`, and the `unlikely` stretches: five residues or more whose mean is lower
        than in all but one of two hundred stretches of nature. None where no residue has both torsions.
    """
    model, card = shipped_prior()
    torsions = torch.as_tensor(backbone_torsions(structure)[:, :3], dtype=torch.float32)
    value = np.full(len(structure.residues), np.nan)
    window = int(card["window"])
    stretches = []
    for first, last in spans:
        own = torsions[first : last + 1, None]
        with torch.no_grad():
            each = model.log_likelihood(letters_of(structure, first, last), own)[0][:, 0].numpy()
        known = own[:, 0, :2].isfinite().all(-1).numpy()
        value[first : last + 1][known] = each[known]
        low = [k for k in range(len(each) - window + 1)
               if known[k : k + window].all() and each[k : k + window].mean() < card["unlikely_nat"]]  # fmt: skip
        marked = np.zeros(len(each) + 1, dtype=bool)
        for k in low:
            marked[k : k + window] = True
        edge = np.flatnonzero(np.diff(np.concatenate([[False], marked]).astype(int)))
        stretches += [(first + int(a), first + int(b) - 1) for a, b in edge.reshape(-1, 2)]
    known = np.flatnonzero(np.isfinite(value))
    if not len(known):
        return None
    residues = structure.residues
    return {
        "mean_nat": round(float(value[known].mean()), 3),
        "unlikely": [
            {
                "residues": f"{residues[a].label}-{residues[b].resnum}{residues[b].icode}",
                "mean_nat": round(float(np.nanmean(value[a : b + 1])), 2),
            }
            for a, b in stretches
        ],
        "residues": {residues[k].label: round(float(value[k]), 2) for k in known.tolist()},
    }
