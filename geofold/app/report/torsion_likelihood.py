"""Log-likelihood of each residue's torsions under the torsion prior, and unlikely segments."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from geofold.learn.torsion_prior.model import shipped_prior
from geofold.molecule.encoding import encode_residues
from geofold.molecule.sidechains.packing import backbone_torsions
from geofold.molecule.structure import Structure


def likelihood(structure: Structure, spans: list[tuple[int, int]]) -> dict[str, Any] | None:
    """Evaluate the log-likelihood (nat) of (phi, psi) of each residue.

    Parameters
    ----------
    structure : Structure
        The input.
    spans : list of (int, int)
        First and last residue index of each unbroken segment.

    Returns
    -------
    dict or None
        `residues` by label, their `mean_nat`, and the `unlikely` segments: five or more residues whose mean is below
        that of 99.5 % of the segments of known structures. None if no residue has both torsions.
    """
    model, card = shipped_prior()
    torsions = torch.as_tensor(backbone_torsions(structure)[:, :3], dtype=torch.float32)
    value = np.full(len(structure.residues), np.nan)
    window = int(card["window"])
    stretches = []
    for first, last in spans:
        segment = torsions[first : last + 1, None]
        with torch.no_grad():
            each = model.log_likelihood(encode_residues(structure, first, last), segment)[0][:, 0].numpy()
        known = segment[:, 0, :2].isfinite().all(-1).numpy()
        value[first : last + 1][known] = each[known]
        low = [
            k
            for k in range(len(each) - window + 1)
            if known[k : k + window].all() and each[k : k + window].mean() < card["unlikely_nat"]
        ]
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
