"""Bring two residues of a peptide together, starting from an extended chain.

python examples/02_constrain_a_peptide.py
"""

from __future__ import annotations

import geofold as gf


def main() -> None:
    """A ten-residue peptide with residues 2 and 9 within 6 A and the ends at least 8 A apart."""
    result = gf.constrain(sequence="GSWTYENGKW", contacts=["A:3-A:9<6.0", "A:1@CA-A:10@CA>8.0"])
    result.summary()
    result.save("peptide.pdb")


if __name__ == "__main__":
    main()
