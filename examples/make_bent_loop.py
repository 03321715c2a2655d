"""Make structures/1ubi_bent.pdb: ubiquitin with residues 45-56 bent closed by random torsion moves.

python examples/make_bent_loop.py [OUT.pdb]
"""

from __future__ import annotations

import sys

import numpy as np

from geofold import resources
from geofold.files import write_all
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.loop.perturbation import perturb_loop
from geofold.molecule.selection import find_range


def main(args: list[str]) -> None:
    """Write the bent structure; the same bytes every time."""
    native = read(resources.find("structures", "1ubi.pdb"))
    bent = perturb_loop(native, *find_range(native, "A:45-56"), seed=1, target=3.0)
    moved = np.abs(bent - native.xyz).max(1) > 0
    write_all({args[0] if args else "structures/1ubi_bent.pdb": render(native, bent, moved)})


if __name__ == "__main__":
    main(sys.argv[1:])
