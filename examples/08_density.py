"""A missing loop built into a density map, and without it.

python examples/08_density.py [--resolution 2.0 4.0] [--noise 1.0] [--range A:45-56]

The maps are made here: structure factors of ubiquitin, with the loop, up to the resolution, with noise whose standard
deviation is a share of that of the map. Then the loop is removed from the structure, and built again.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import gemmi
import numpy as np

import geofold as gf
from geofold.molecule.io.edit import without_atoms
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.selection import backbone_atoms, find_range
from geofold.resources import find

MARGIN = 20.0
"""Empty space (A) around the molecule in the map's cell."""
SMALLEST_B = 10.0
"""Smallest B-factor (A^2) of an atom in the map."""


def make_map(source: Path, output: Path, resolution: float, noise: float, seed: int = 0) -> None:
    """Write a map of a structure, with noise, in a cell of its own.

    Parameters
    ----------
    source, output : Path
    resolution : float
        Highest resolution of the structure factors (A).
    noise : float
        Standard deviation of the noise, as a share of that of the map.
    seed : int
    """
    model = gemmi.read_structure(str(source))
    model.remove_waters()
    model.spacegroup_hm = "P 1"
    points = np.array([atom.pos.tolist() for chain in model[0] for residue in chain for atom in residue])
    corner = points.min(0) - MARGIN
    for chain in model[0]:
        for residue in chain:
            for atom in residue:
                atom.pos = gemmi.Position(*(np.array(atom.pos.tolist()) - corner))
                atom.b_iso = max(atom.b_iso, SMALLEST_B)  # a point atom has no density on a grid
    model.cell = gemmi.UnitCell(*(np.ptp(points, axis=0) + 2 * MARGIN), 90, 90, 90)
    calculator = gemmi.DensityCalculatorX()
    calculator.d_min = resolution / 2
    calculator.set_grid_cell_and_spacegroup(model)
    calculator.put_model_density_on_grid(model[0])
    factors = gemmi.transform_map_to_f_phi(calculator.grid, half_l=True).prepare_asu_data(dmin=resolution)
    ccp4 = gemmi.Ccp4Map()
    ccp4.grid = factors.transform_f_phi_to_map(sample_rate=3.0)
    values = np.array(ccp4.grid, copy=False)
    values += np.random.default_rng(seed).normal(0, noise * values.std(), values.shape).astype(values.dtype)
    ccp4.update_ccp4_header()
    for word, value in zip((50, 51, 52), corner, strict=True):
        ccp4.set_header_float(word, float(value))
    ccp4.write_ccp4_map(str(output))


def without_loop(source: Path, span: str) -> bytes:
    """The structure without the atoms of a loop."""
    structure = read(source)
    first, last = find_range(structure, span)
    part = without_atoms(structure, structure.atoms_within(first, last))
    return render(part, part.xyz, np.zeros(len(part), dtype=bool))


def rmsd(result: gf.Result, source: Path, span: str) -> float:
    """Backbone RMSD (A) of a loop from the structure that it was taken from."""
    native = read(source)
    points = []
    for structure, xyz in ((native, native.xyz), (result.structure, result.xyz)):
        first, last = find_range(structure, span)
        points.append(xyz[np.array(backbone_atoms(structure, first, last, structure.conformer_mask))])
    return float(10 * np.sqrt(np.square(points[0] - points[1]).sum(-1).mean()))


def main(source: Path, span: str, resolutions: list[float], noise: float) -> list[tuple[str, float, float | None]]:
    """Build the loop without a map and with one of each resolution.

    Returns
    -------
    list of (str, float, float or None)
        Map, RMSD from the native (A), and the mean correlation of the loop's residues with the map.
    """
    gap = without_loop(source, span)
    result = gf.repair(gap, build=span)
    rows: list[tuple[str, float, float | None]] = [("no map", rmsd(result, source, span), None)]
    with tempfile.TemporaryDirectory() as folder:
        for resolution in resolutions:
            path = Path(folder) / f"{resolution:g}.ccp4"
            make_map(source, path, resolution, noise)
            result = gf.repair(gap, build=span, map=path, resolution=resolution)
            rows.append((f"{resolution:g} A", rmsd(result, source, span), result.report["density"]["correlation"]))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, default=find("structures", "1ubi.pdb"))
    parser.add_argument("--range", default="A:45-56")
    parser.add_argument("--resolution", type=float, nargs="+", default=[2.0, 4.0])
    parser.add_argument("--noise", type=float, default=1.0)
    options = parser.parse_args()
    for name, distance, correlation in main(options.file, options.range, options.resolution, options.noise):
        print(f"{name:<8}{distance:6.2f} A" + ("" if correlation is None else f"  correlation {correlation:.2f}"))
