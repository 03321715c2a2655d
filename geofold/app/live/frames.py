"""Messages to a page: the scene once, and a frame after each step. Lengths are in A, angles in degrees."""

from __future__ import annotations

from typing import Any

import numpy as np

from geofold.app.live.restraints import REGIONS
from geofold.app.live.session import Session
from geofold.app.viewer.frames import pdb_text, read_trajectory
from geofold.app.viewer.plots import contours
from geofold.core.state import StepInfo
from geofold.molecule.energy.ramachandran import classify, percentile
from geofold.molecule.io.write import trajectory_pdb
from geofold.molecule.selection import atom_label
from geofold.molecule.vdw_radii import SEVERE_OVERLAP

RESOLUTION = 0.001
"""Resolution (A) of the coordinates in a frame."""
SHOWN_OVERLAPS = 30
"""Largest number of overlaps in a frame, the worst ones."""
UNDEFINED = 3
"""Digit of a residue without phi or psi, in place of favoured (0), allowed (1) and outlier (2)."""


class Frames:
    """Describes a session to a page.

    Parameters
    ----------
    session : Session
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        structure, segment = session.segment.structure, session.segment
        text = trajectory_pdb(structure, structure.xyz[None], altloc=segment.options.altloc).decode()
        trajectory = read_trajectory(text, frozenset())
        atoms = np.flatnonzero(structure.conformer(segment.options.altloc))[trajectory.rows]
        self._row = {int(atom): row for row, atom in enumerate(atoms)}
        residue = structure.residue_of[atoms]
        inside = (residue >= segment.first) & (residue <= segment.last)
        neighbour = (
            np.isin(residue, [segment.first - 1, segment.last + 1]) if segment.loop is not None else inside & False
        )
        self._moving = np.flatnonzero(inside)
        self._atoms = atoms[self._moving]
        labels = [structure.residues[k] for k in range(segment.first, segment.last + 1)]
        self.scene: dict[str, Any] = {
            "pdb": pdb_text(trajectory, 0),
            "moving": self._moving.tolist(),
            "edge": np.flatnonzero(neighbour).tolist(),
            "names": [atom_label(structure, int(a)) for a in self._atoms],
            "residues": [residue.label for residue in labels],
            "resnames": [residue.resname for residue in labels],
            "contours": list(contours()),
            "regions": list(REGIONS),
            "loop": segment.loop,
            "title": structure.source,
            "resolution": RESOLUTION,
        }

    def frame(self, info: StepInfo | None, milliseconds: list[float]) -> dict[str, Any]:
        """Return the frame of the present state.

        Parameters
        ----------
        info : StepInfo or None
            Diagnostics of the last step, if there was one.
        milliseconds : list of float
            Durations of recent steps.
        """
        session, chain = self._session, self._session.chain
        xyz = session.xyz
        overlaps, clash, strain = self._overlaps()
        phi, psi, verdict, penalty = self._angles()
        return {
            "n": session.number,
            "xyz": np.rint(10 * xyz[self._atoms] / RESOLUTION).astype(int).ravel().tolist(),
            "phi": phi,
            "psi": psi,
            "verdict": verdict,
            "outliers": verdict.count("2"),
            "pairs": overlaps[:SHOWN_OVERLAPS],
            "overlaps": len(overlaps),
            "clash": np.round(clash, 2).tolist(),
            "strain": np.round(strain + penalty, 2).tolist(),
            "depths": np.round(session.recording.corrections_of_residue, 2).tolist(),
            "depth": 0 if info is None else int(info.inner_steps[0]),
            "loss": None if info is None else round(float(info.loss_after[0]), 3),
            "last_ms": None if info is None else round(info.milliseconds, 2),
            "ms": round(float(np.median(milliseconds)), 1) if milliseconds else None,
            "bands": self._bands(xyz),
            "hand": self._hand(xyz),
            "frozen": [chain.segment.structure.residues[k].label for k in sorted(session.restraints.frozen)],
            "held": [f"{self._label(k)} {kind}" for k, kind in sorted(session.restraints.held)],
            "asked": {self._label(k): region for k, region in session.restraints.regions.items()},
            "flipping": bool(session.restraints.flips),
            "marks": list(session.history.marks),
            "undo": session.history.can_undo,
            "redo": session.history.can_redo,
            "paused": session.paused,
            "resting": session.resting,
            "reached": session.reached,
        }

    def _label(self, residue: int) -> str:
        return self._session.segment.structure.residues[residue].label

    def _angles(self) -> tuple[list[int | None], list[int | None], str, np.ndarray]:
        """Phi and psi (None where undefined), verdicts as digits, and Ramachandran penalties of the residues."""
        term, state = self._session.chain.domain.angles, self._session.chain.state
        count = len(self.scene["residues"])
        angles = [np.full(count, np.nan) for _ in range(2)]
        verdict, penalty = np.full(count, UNDEFINED), np.zeros(count)
        rows = term.residue.cpu().numpy()
        for whole, values in zip(angles, term.at(state.conformation.angle), strict=True):
            whole[rows] = values[0].cpu().numpy()
        kind = term.residue_class.cpu().numpy()
        verdict[rows] = classify(percentile(angles[0][rows], angles[1][rows], kind), kind)
        penalty[rows] = term.penalty(state.conformation.angle)[0].cpu().numpy()
        degrees = [
            [None if np.isnan(x) else round((float(np.rad2deg(x)) + 180) % 360 - 180) for x in values]
            for values in angles
        ]
        return degrees[0], degrees[1], "".join(map(str, verdict.tolist())), penalty

    def _overlaps(self) -> tuple[list[list[float]], np.ndarray, np.ndarray]:
        """Severe overlaps as (row, row, A), the worst first; the worst (A) and the cost of each residue."""
        sterics, state = self._session.chain.domain.sterics, self._session.chain.state
        clashes, _ = sterics.clashes(state.conformation.xyz, state.pairs)
        i, j, size, cost = (x.cpu().numpy() for x in (clashes.i, clashes.j, 10 * clashes.overlap, clashes.cost()))
        count = len(self.scene["residues"])
        owner = np.full(len(sterics.atoms), count)
        owner[: len(sterics.local)] = sterics.residue.cpu().numpy()
        worst, share = np.zeros(count + 1), np.zeros(count + 1)
        severe = size >= 10 * SEVERE_OVERLAP
        for atom in (i, j):
            np.maximum.at(worst, owner[atom[severe]], size[severe])
            np.add.at(share, owner[atom], cost)
        listed = [
            [self._row[int(sterics.atoms[a])], self._row[int(sterics.atoms[b])], round(float(d), 2)]
            for a, b, d in zip(i[severe], j[severe], size[severe], strict=True)
            if int(sterics.atoms[a]) in self._row and int(sterics.atoms[b]) in self._row
        ]
        return sorted(listed, key=lambda pair: -pair[2]), worst[:count], share[:count]

    def _bands(self, xyz: np.ndarray) -> list[dict[str, Any]]:
        """Bands with their distances (A)."""
        bands = []
        for contact in self._session.restraints.bands:
            distance = float(np.linalg.norm(xyz[contact.i] - xyz[contact.j]))
            bands.append(
                {
                    "text": contact.text,
                    "atoms": [self._row.get(contact.i), self._row.get(contact.j)],
                    "distance": round(10 * distance, 2),
                    "bound": round(10 * contact.bound, 3),
                    "held": contact.satisfied(distance),
                }
            )
        return bands

    def _hand(self, xyz: np.ndarray) -> dict[str, Any] | None:
        """Return the first atom that is held, where it is pulled to, and how far that is (A)."""
        hand = self._session.hand
        if hand is None:
            return None
        gap = float(np.linalg.norm(xyz[hand.atoms[0]] - np.array(hand.places[0])))
        return {
            "atom": self._row.get(hand.atoms[0]),
            "to": [round(10 * x, 3) for x in hand.places[0]],
            "distance": round(10 * gap, 2),
        }
