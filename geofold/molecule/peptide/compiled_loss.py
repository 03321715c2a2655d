"""The loss of a peptide by kernels in C: twin of the plain functions of `PeptideDomain`.

Glossary: ``B`` rows, ``c`` contacts, ``n`` torsions, ``m`` local atoms, ``k = n + 3 m`` observations.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from geofold.kernels.library import call
from geofold.kernels.structures import Contacts
from geofold.molecule.energy.compiled_terms import add_clashes, add_ramachandran
from geofold.molecule.energy.ramachandran_term import RamachandranTerm
from geofold.molecule.energy.sterics import PairList, Sterics

STIFF = 2
"""Status of the kernel of stiff directions if there is one."""
NAMES = ("contacts", "sterics", "ramachandran")


class PeptideTerms(NamedTuple):
    """Weighted terms of the loss.

    Attributes
    ----------
    total : (B,)
    terms : dict of str to (B,)
    violation : (B,) or None
        Largest violation of a contact, nm; None without contacts.
    gradient : (B, k)
    """

    total: Tensor
    terms: dict[str, Tensor]
    violation: Tensor | None
    gradient: Tensor


def evaluate_terms(
    sterics: Sterics,
    angles: RamachandranTerm,
    mean: Tensor,
    angle: Tensor,
    pairs: PairList,
    contacts: Contacts | None,
    weights: tuple[float, float, float],
) -> PeptideTerms:
    """Evaluate the loss with its gradient.

    Parameters
    ----------
    sterics, angles
        Terms of the domain.
    mean : (B, k)
        Observations.
    angle : (B, n)
        Total increments before the step, radian.
    pairs : PairList
        Valid at these coordinates.
    contacts : Contacts or None
    weights : tuple of float
        Weights of contacts, sterics and Ramachandran penalty.
    """
    (rows, n), (contact, overlap, ramachandran) = angle.shape, weights
    xyz, gradient = mean[:, n:].unflatten(1, (-1, 3)), torch.zeros_like(mean)
    by_atom, cost = gradient[:, n:], mean.new_zeros(3, rows)
    parts = cost.unbind()
    add_ramachandran(angles, angle, mean, ramachandran, gradient, parts[2])
    add_clashes(sterics, xyz, pairs, mean.new_full((rows,), overlap), by_atom, parts[1])
    violation = None
    if contacts is not None:
        violation = torch.empty_like(parts[0])
        call(
            "contacts", contacts, rows, xyz, xyz.stride(0), contact, parts[0], violation, by_atom, by_atom.stride(0)
        )  # fmt: skip
    return PeptideTerms(cost.sum(0), dict(zip(NAMES, parts, strict=True)), violation, gradient)


def stiff_directions(contacts: Contacts, mean: Tensor, torsions: int, weight: float) -> Tensor | None:
    """Directions along which contacts are stiff, see `geofold.molecule.peptide.contact_tensors`.

    Parameters
    ----------
    contacts : Contacts
    mean : (B, k)
        Observations.
    torsions : int
        Number n of torsions.
    weight : float
        Weight of the contacts in the loss.

    Returns
    -------
    (c, B, k) or None
        None if no contact is stiff.
    """
    rows, width = mean.shape
    out = mean.new_zeros(contacts.count, rows, width)
    xyz = mean[:, torsions:]
    status = call("stiff_contacts", contacts, rows, xyz, width, weight, width, torsions, out)
    return out if status == STIFF else None
