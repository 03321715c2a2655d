"""Make ``geofold/data/ramachandran_top8000.npz`` from the Ramachandran tables of cctbx.

Run it once in an environment of its own (``pip install cctbx-base``; geofold itself never needs cctbx)::

    python examples/make_ramachandran_table.py [--out FILE]

The percentile of Top8000 is sampled at the grid points of its own table: 180 x 180 bins of 2 degrees, centred
at odd degrees, phi along the first axis, psi along the second. cctbx prints its tables with six digits, which
float32 holds without loss, so nothing is resampled or rounded any further. The script ends by reading the file
back and comparing every verdict.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

CCTBX_NAMES = {
    "general": "general",
    "ile_val": "isoleucine or valine",
    "pre_pro": "pre-proline",
    "gly": "glycine",
    "trans_pro": "trans-proline",
    "cis_pro": "cis-proline",
}
THRESHOLDS = (0.02, 0.0005, 0.002, 0.001)
GRID_DEGREES = np.arange(-179, 181, 2)
ATTRIBUTION = (
    "Ramachandran percentile contours of the Top8000, Richardson Laboratory, Duke University. "
    "Lovell et al. (2003) Proteins 50:437, doi:10.1002/prot.10286 (method); "
    "Hintze et al. (2016) Proteins 84:1177, doi:10.1002/prot.25039 (Top8000); "
    "Williams et al. (2018) Protein Sci. 27:293, doi:10.1002/pro.3330 (MolProbity). "
    "Source: https://github.com/rlabduke/reference_data, as compiled into cctbx-base. "
    "Changes: stored as float32 in one file, values unchanged to six digits."
)
LICENCE = "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/"
DEFAULT_OUT = Path(__file__).resolve().parent.parent / "geofold" / "data" / "ramachandran_top8000.npz"


def sample_tables() -> np.ndarray:
    """Percentiles (6, 180, 180), float64, in the order of ``CCTBX_NAMES``, indexed [class, phi, psi]."""
    from mmtbx.rotamer.ramachandran_eval import RamachandranEval

    evaluator = RamachandranEval()
    grid = [float(angle) for angle in GRID_DEGREES]
    return np.array(
        [[[evaluator.evaluate(name, (phi, psi)) for psi in grid] for phi in grid] for name in CCTBX_NAMES.values()]
    )


def main(args: Sequence[str] | None = None) -> None:
    """Sample, write, read back and compare."""
    parser = argparse.ArgumentParser(description="Sample the Top8000 Ramachandran percentiles of cctbx into an npz.")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="file to write (default: %(default)s)")
    out: Path = parser.parse_args(args).out

    exact = sample_tables()
    np.savez_compressed(
        out,
        percentile=exact.astype(np.float32),
        classes=np.array(list(CCTBX_NAMES)),
        grid_degrees=GRID_DEGREES.astype(np.int16),
        attribution=np.array(ATTRIBUTION),
        licence=np.array(LICENCE),
    )
    with np.load(out, allow_pickle=False) as data:
        stored = data["percentile"].astype(float)
    for threshold in THRESHOLDS:
        if np.any((stored >= threshold) != (exact >= threshold)):
            raise SystemExit(f"{out}: a grid point changed sides at percentile {threshold}; store more digits")
    error = np.max(np.abs(stored - exact))
    print(f"{out}: {out.stat().st_size} bytes, largest difference {error:.1e}, every verdict kept")


if __name__ == "__main__":
    main()
