"""Table of the metrics of a set of coordinates.

A row of `METRICS` is all that a metric needs: it is then in the sections "before" and "after" of the report, in the
tables of the viewer, in the printed summary and `geofold check`, in the results of a batch, and in the audit if it
promises not to grow. Lengths are in A and angles in degrees, with the unit in the key; energies are in kJ/mol.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold.app.report.energies import ENERGY, energies, infinite
from geofold.app.report.measure import CIS, Backbone, backbone, overlaps
from geofold.molecule.energy import ramachandran
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.selection import atom_label
from geofold.molecule.structure import Mask, Structure
from geofold.molecule.topology.torsion_tree import TorsionTree

Floats = NDArray[np.float64]
LISTED_OVERLAPS, SHOWN_OVERLAPS = 10, 3
"""Numbers of the worst overlaps that are named in a report, and in the text of `geofold check`."""
Section = dict[str, Any]
"""Measurements of one set of coordinates, as the report has them."""


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Coordinates that are measured, with what several metrics need.

    Attributes
    ----------
    structure : Structure
        The structure that the coordinates belong to.
    trees : list of TorsionTree
        Torsion tree of each moving segment, to which the metrics refer.
    xyz : (n_atoms, 3)
        Coordinates (nm).
    energy_model : EnergyModel or None
        Energy model of the coordinates; None: no energy.
    altloc : str or None
        Conformer to measure if the backbone has several.
    """

    structure: Structure
    trees: list[TorsionTree]
    xyz: Floats
    energy_model: EnergyModel | None
    altloc: str | None = None

    @cached_property
    def moving(self) -> Mask:
        """Residues of the moving segments, (n_residues,) bool."""
        moving = np.zeros(len(self.structure.residues), dtype=bool)
        for tree in self.trees:
            moving[tree.first : tree.last + 1] = True
        return moving

    @cached_property
    def backbone(self) -> Backbone:
        """Backbone dihedrals with their Ramachandran verdicts."""
        return backbone(self.structure, self.xyz, self.altloc)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A row of the table.

    Parameters
    ----------
    name : str
        Name of its columns in tables, with the unit.
    label : str
        Name in printed text.
    short : str
        Name in the records of benchmarks.
    evaluate : callable
        Entries of the report for coordinates; empty if it is not known.
    value : callable
        Number in a section of the report; None if it is not there.
    unit : callable, optional
        Unit in printed text, for a section.
    text : callable, optional
        Text of the number in the summary, for a section.
    details : callable, optional
        Text in `geofold check`, for a section; the number if not given.
    may_not_grow : str
        Name of the check of the audit by which it may not grow; none if empty.
    """

    name: str
    label: str
    short: str
    evaluate: Callable[[Coordinates], Section]
    value: Callable[[Section], float | None]
    unit: Callable[[Section], str] = lambda section: ""
    text: Callable[[Section], str] | None = None
    details: Callable[[Section], str] | None = None
    may_not_grow: str = ""

    def summarise(self, section: Section) -> str:
        """Return the text of its number in a section; "-" if it is not there."""
        if self.text is not None:
            return self.text(section)
        value = self.value(section)
        return "-" if value is None else str(value)

    def describe(self, section: Section) -> str:
        """Return its text in `geofold check`."""
        return self.summarise(section) if self.details is None else self.details(section)


def measure(
    structure: Structure, trees: list[TorsionTree], xyz: Floats, energy: EnergyModel | None, altloc: str | None = None
) -> Section:
    """Measure coordinates by all metrics.

    Parameters
    ----------
    structure : Structure
        The structure that the coordinates belong to.
    trees : list of TorsionTree
        Torsion tree of each moving segment, to which the metrics refer.
    xyz : (n_atoms, 3)
        Coordinates (nm).
    energy : EnergyModel or None
        Energy model of the coordinates; None: no energy.
    altloc : str, optional
        Conformer to measure if the backbone has several.

    Returns
    -------
    dict
        A section of the report.
    """
    coordinates, section = Coordinates(structure, trees, xyz, energy, altloc), Section()
    for metric in METRICS:
        section |= metric.evaluate(coordinates)
    return section


def _energy(coordinates: Coordinates) -> Section:
    model = coordinates.energy_model
    return {} if model is None else energies(model, coordinates.xyz, coordinates.moving)


def _energy_text(section: Section) -> str:
    if ENERGY in section:
        return f"{section[ENERGY]:.0f}"
    return "infinite" if infinite(section) else "-"


def _overlaps(coordinates: Coordinates) -> Section:
    clashes = [c for tree in coordinates.trees for c in overlaps(coordinates.structure, tree, coordinates.xyz)]
    unique = {(min(i, j), max(i, j)): size for i, j, size in clashes}
    pairs = sorted(unique, key=lambda pair: (-unique[pair], pair))
    return {
        "severe_overlaps": len(unique),
        "worst_overlap_angstrom": round(10 * max(unique.values(), default=0.0), 3),
        "overlapping_atoms": [
            " - ".join(atom_label(coordinates.structure, atom) for atom in pair) for pair in pairs[:LISTED_OVERLAPS]
        ],
    }


def _overlap_details(section: Section) -> str:
    pairs = section["overlapping_atoms"]
    where = f"; {', '.join(pairs[:SHOWN_OVERLAPS])}{', ...' * (len(pairs) > SHOWN_OVERLAPS)}" if pairs else ""
    return f"{section['severe_overlaps']} (worst {section['worst_overlap_angstrom']} A{where})"


def _ramachandran(coordinates: Coordinates) -> Section:
    verdict, moving = coordinates.backbone.verdict, coordinates.moving
    outliers = np.flatnonzero(moving & (verdict == ramachandran.OUTLIER))
    counts = {
        "favoured": int((verdict[moving] == ramachandran.FAVOURED).sum()),
        "allowed": int((verdict[moving] == ramachandran.ALLOWED).sum()),
        "outliers": len(outliers),
        "outlier_residues": [coordinates.structure.residues[k].label for k in outliers],
    }
    return {"ramachandran": counts}


def _ramachandran_details(section: Section) -> str:
    counts = section["ramachandran"]
    residues = f" ({', '.join(counts['outlier_residues'])})" if counts["outliers"] else ""
    return f"{counts['outliers']}{residues}, {counts['allowed']} allowed, {counts['favoured']} favoured"


def _cis(coordinates: Coordinates) -> Section:
    omega = coordinates.backbone.omega[coordinates.moving]
    return {"cis_peptide_bonds": int((np.abs(omega) < CIS).sum())}


METRICS = (
    Metric(
        name="severe_overlaps",
        label="severe overlaps",
        short="overlaps",
        evaluate=_overlaps,
        value=lambda section: section.get("severe_overlaps"),
        details=_overlap_details,
        may_not_grow="severe_overlaps_added",
    ),
    Metric(
        name="ramachandran_outliers",
        label="Ramachandran outliers",
        short="outliers",
        evaluate=_ramachandran,
        value=lambda section: section.get("ramachandran", {}).get("outliers"),
        details=_ramachandran_details,
        may_not_grow="ramachandran_outliers_added",
    ),
    Metric(
        name="cis_peptide_bonds",
        label="cis peptide bonds",
        short="cis",
        evaluate=_cis,
        value=lambda section: section.get("cis_peptide_bonds"),
        may_not_grow="cis_peptide_bonds_made",
    ),
    Metric(
        name=ENERGY,
        label="energy",
        short="energy",
        evaluate=_energy,
        value=lambda section: section.get(ENERGY),
        unit=lambda section: f"kJ/mol ({section['force_field']})",
        text=_energy_text,
        details=lambda section: str(section[ENERGY]),
        may_not_grow="energy_change_kj_mol",
    ),
)


def short_values(section: Section) -> dict[str, Any]:
    """Values of all metrics of a section of a report, by their short names."""
    return {metric.short: metric.value(section) for metric in METRICS}
