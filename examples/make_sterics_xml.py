"""Make ``forcefields/geofold_sterics.xml`` from amber14's atom types and ``geofold/molecule/vdw_radii.py``.

::

    python examples/make_sterics_xml.py [--out FILE]

The XML is an add-on for OpenMM's ``amber14/protein.ff14SB.xml``: geofold's own clash term between heavy atoms, so
that OpenMM can see (and minimise) the very overlaps that geofold counts. No number is typed here but the force
constant: types and elements are read from amber14, radii and allowances from ``radii.py``.
"""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from geofold.molecule.vdw_radii import EXCLUDED_BONDS, POLAR, POLAR_ALLOWANCE, radius_of

FORCE_CONSTANT = 1.0e5
"""kJ/mol/nm^2. A severe overlap of 0.04 nm costs 160 kJ/mol, far above any torsion barrier."""

DEFAULT_OUT = Path(__file__).resolve().parent.parent / "forcefields" / "geofold_sterics.xml"
COMMENT = f"""
  Clash term of geofold for amber14/protein.ff14SB.xml; made by examples/make_sterics_xml.py, do not edit by hand.
  Units nm and kJ/mol. Radii: Bondi (1964) J. Phys. Chem. 68:441. A pair of N, O or S may approach by
  {POLAR_ALLOWANCE} nm more. Hydrogens have radius 0 and take no part. See README.md beside this file.
"""


def amber_types() -> list[tuple[str, str]]:
    """Name and element of every atom type of OpenMM's ``amber14/protein.ff14SB.xml``, in its order."""
    import openmm.app

    path = Path(openmm.app.__file__).parent / "data" / "amber14" / "protein.ff14SB.xml"
    return [(node.attrib["name"], node.attrib["element"]) for node in ET.parse(path).getroot().iterfind(".//Type")]


def energy_expression() -> str:
    """Pair energy; the product of the radii is zero as soon as one of the two is a hydrogen."""
    return (
        "geofold_k*step(radius1*radius2-1e-6)*step(overlap)*overlap^2; "
        f"overlap=radius1+radius2-{POLAR_ALLOWANCE}*polar1*polar2-r"
    )


def build_xml() -> str:
    """The whole XML file as text."""
    root = ET.Element("ForceField")
    root.append(ET.Comment(COMMENT))
    force = ET.SubElement(
        root, "CustomNonbondedForce", {"energy": energy_expression(), "bondCutoff": str(EXCLUDED_BONDS)}
    )
    ET.SubElement(force, "GlobalParameter", {"name": "geofold_k", "defaultValue": repr(FORCE_CONSTANT)})
    for name in ("radius", "polar"):
        ET.SubElement(force, "PerParticleParameter", {"name": name})
    for name, element in amber_types():
        polar = int(element.upper() in POLAR)
        ET.SubElement(force, "Atom", {"type": name, "radius": repr(radius_of(element)), "polar": str(polar)})
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def main(args: Sequence[str] | None = None) -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Write geofold's clash term as an OpenMM force field file.")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="file to write (default: %(default)s)")
    out: Path = parser.parse_args(args).out
    out.write_text(build_xml(), encoding="utf-8")
    print(f"{out}: {len(amber_types())} atom types")


if __name__ == "__main__":
    main()
