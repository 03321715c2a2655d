"""Properties that a session may not change: peptide bonds, chirality, and the closure of a loop."""

from __future__ import annotations

import numpy as np

from geofold.app.live.session import Session
from geofold.geometry import dihedral


class Geometry:
    """Backbone of a session at its start.

    Parameters
    ----------
    session : Session
    """

    def __init__(self, session: Session) -> None:
        structure, tree, segment = session.segment.structure, session.chain.domain.tree, session.segment

        def rows(*atoms: tuple[int, str]) -> list[int] | None:
            found = [structure.atom(k, name, tree.conformer) for k, name in atoms]
            return None if None in found else [int(a) for a in found if a is not None]

        last = segment.last + (1 if tree.closed else 0)
        residues = range(segment.first, segment.last + 1)
        bonds = range(segment.first - (1 if tree.closed else 0), last)
        peptides = [rows((k, "CA"), (k, "C"), (k + 1, "N"), (k + 1, "CA")) for k in bonds]
        centres = [rows((k, "CA"), (k, "N"), (k, "C"), (k, "CB")) for k in residues]
        self._peptides = np.array([row for row in peptides if row])
        self._centres = np.array([row for row in centres if row])
        self._start = self._measure(session.xyz)

    def _measure(self, xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return which peptides are cis, the signs of the CA atoms, and the C-N and CA-N distances (A)."""
        ca, c, n, next_ca = np.moveaxis(xyz[self._peptides], 1, 0)
        cis = np.cos(dihedral(ca, c, n, next_ca)) > 0
        centre, one, two, beta = np.moveaxis(xyz[self._centres], 1, 0)
        signs = np.sign((np.cross(one - centre, two - centre) * (beta - centre)).sum(-1))
        gaps = 10 * np.concatenate([np.linalg.norm(c - n, axis=-1), np.linalg.norm(ca - n, axis=-1)])
        return cis, signs, gaps

    def errors(self, session: Session) -> dict[str, float]:
        """Return cis bonds made, chiralities changed, and the largest change of a distance across a bond (A)."""
        cis, signs, gaps = self._measure(session.xyz)
        return {
            "cis_made": float((cis & ~self._start[0]).sum()),
            "chirality_changed": float((signs != self._start[1]).sum()),
            "closure_error_angstrom": float(np.abs(gaps - self._start[2]).max()),
        }
