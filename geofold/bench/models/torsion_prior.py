"""The torsion prior: likelihood on the test split, and statistics of sampled chains compared with natural ones."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from geofold.bench.common.data import require_data
from geofold.bench.common.records import Records, table_of, write_summary
from geofold.learn.data.chains import AMINO_ACIDS, Chains, read_chains
from geofold.learn.torsion_prior.model import TorsionPrior, shipped_prior
from geofold.learn.torsion_prior.training import WINDOW_SIZE, negative_log_likelihoods
from geofold.molecule.energy import ramachandran
from geofold.molecule.residues import three_letter_names

Floats = NDArray[np.float64]
BINS, PSEUDOCOUNT = 72, 0.5
SAMPLED_CHAINS, QUICK_SAMPLED_CHAINS = 256, 16
REGIONS = {"helix": ((-110.0, -30.0), (-80.0, 0.0)), "strand": ((-180.0, -60.0), (90.0, 180.0))}
"""Ranges of phi and psi (degrees) of helical and extended residues, which define runs by torsions alone."""
MAX_PLOTTED_RUN = 24
STATISTICS = (
    "favoured",
    "cis_before_proline",
    "cis_elsewhere",
    "helix_run",
    "strand_run",
    "helix_share",
    "strand_share",
)
"""Statistics of chains, in the order of the table."""


def run(out: str, *, data: str | None, quick: bool, seed: int) -> None:
    """Measure the shipped prior.

    Parameters
    ----------
    out : str
        Folder of table, plot and summary.
    data : str or None
        Folder of `backbones.npz`.
    quick : bool
        Use 64 windows and sixteen sampled chains.
    seed : int
        Seed of the samples.

    Raises
    ------
    OptionError
        If there is no data.
    """
    data = require_data(data, "part prior", "backbones.npz")
    began = time.time()
    records = Records(out)
    chains = read_chains(Path(data) / "backbones.npz")
    model, card = shipped_prior()
    windows = chains.windows("test", WINDOW_SIZE)[: 64 if quick else None]
    index = windows + np.arange(WINDOW_SIZE)[:, None]
    torsions = chains.torsions[index].astype(float)
    results = [_evaluate_windows(model, chains, index[:, k : k + 32]) for k in range(0, index.shape[1], 32)]
    weight = np.array([count for *_, count in results], dtype=float)
    nll, cis_nll = (float(np.average([row[k] for row in results], weights=weight)) for k in (0, 1))
    kinds = _ramachandran_classes(chains)
    histogram = _histogram_nll(chains, kinds, index)
    rng = np.random.default_rng(seed)
    rows = rng.choice(
        index.shape[1], min(QUICK_SAMPLED_CHAINS if quick else SAMPLED_CHAINS, index.shape[1]), replace=False
    )
    letters = torch.as_tensor(chains.residue[index[:, rows]]).long()
    sampled = torch.stack(list(model.stream_sample(letters, rng))).double().numpy()
    nature, samples = torsions[:, rows], sampled
    metrics = {
        "prior.nll": nll,
        "histogram.nll": histogram,
        "prior.below_histogram": histogram - nll,
        "prior.cis_nll": cis_nll,
        "prior.residues": float(weight.sum()),
        "prior.parameters": float(card["parameters"]),
    }
    for name, angles in (("nature", nature), ("samples", samples)):
        metrics |= {f"{name}.{key}": value for key, value in _describe_torsions(angles, letters.numpy()).items()}
    draw(nature, samples, records.folder / "runs.png")
    table = _tables(metrics)
    write_summary(records.folder, metrics, quick=quick, began=began, table=table, note="prior")


def _tables(metrics: dict[str, float]) -> str:
    """Tables of the likelihoods, and of the statistics of natural and sampled chains."""
    head = [
        ["Ramachandran histogram of the residue's class", f"{metrics['histogram.nll']:.3f}"],
        ["torsion prior", f"{metrics['prior.nll']:.3f}"],
    ]
    body = [
        [source, *(f"{metrics[f'{source}.{name}']:.4f}" for name in STATISTICS)] for source in ("nature", "samples")
    ]
    return table_of(["", "nat a residue, test split"], head) + "\n" + table_of(["", *STATISTICS], body)


@torch.no_grad()
def _evaluate_windows(model: TorsionPrior, chains: Chains, index: NDArray[np.int64]) -> tuple[float, float, int]:
    letters, torsions = torch.as_tensor(chains.residue[index]).long(), torch.as_tensor(chains.torsions[index])
    torsion, cis_nll = negative_log_likelihoods(model, letters, torsions)
    return float(torsion), float(cis_nll), int(torsions[..., :2].isfinite().all(-1).sum())


def _ramachandran_classes(chains: Chains) -> NDArray[np.int64]:
    """Ramachandran class (R,) of every residue."""
    following = np.append(chains.residue[1:], 0)
    last = chains.start + chains.length - 1
    glycine, proline, isoleucine, valine = (AMINO_ACIDS.index(letter) for letter in "GPIV")
    before_proline = following == proline
    before_proline[last] = False
    cis = np.abs(chains.torsions[:, 2]) < np.pi / 2
    shares = np.where(before_proline, 2, np.where(np.isin(chains.residue, (isoleucine, valine)), 1, 0))
    shares = np.where(chains.residue == proline, np.where(cis, 5, 4), shares)
    return np.where(chains.residue == glycine, 3, shares)


def _histogram_nll(chains: Chains, kinds: NDArray[np.int64], index: NDArray[np.int64]) -> float:
    """Negative log-likelihood (nat a residue) of the classes' histograms over the training split."""
    cell = np.floor((chains.torsions[:, :2].astype(float) + np.pi) / (2 * np.pi) * BINS)
    is_known: NDArray[np.bool_] = np.all(np.isfinite(cell), axis=1)
    split = np.repeat(chains.split, chains.length)
    tested = np.zeros(len(is_known), dtype=bool)
    tested[index] = True
    total = 0.0
    for kind in range(6):
        learnt, asked = is_known & (split == 0) & (kinds == kind), is_known & tested & (kinds == kind)
        counts = np.full((BINS, BINS), PSEUDOCOUNT)
        np.add.at(counts, tuple(cell[learnt].astype(int).clip(0, BINS - 1).T), 1)
        density = np.log(counts / counts.sum() * (BINS / (2 * np.pi)) ** 2)
        total -= density[tuple(cell[asked].astype(int).clip(0, BINS - 1).T)].sum()
    return float(total / (is_known & tested).sum())


def _describe_torsions(angles: Floats, letters: NDArray[np.int64]) -> dict[str, float]:
    """Fractions and run lengths of chains (T, B, 3), without the ends, which lack angles in natural chains."""
    phi, psi, omega = angles[1:-1, :, 0], angles[1:-1, :, 1], angles[1:-1, :, 2]
    is_known = np.isfinite(phi) & np.isfinite(psi) & np.isfinite(omega)
    cis = np.abs(omega) < np.pi / 2
    letters_here, following = letters[1:-1], letters[2:]
    names = three_letter_names(AMINO_ACIDS)
    kind = np.array(
        [
            [ramachandran.ramachandran_class(names[a], names[b], w) for a, b, w in zip(*row, strict=True)]
            for row in zip(letters_here, following, omega, strict=True)
        ]
    )
    verdict = ramachandran.classify(
        ramachandran.percentile(phi[is_known], psi[is_known], kind[is_known]), kind[is_known]
    )
    proline = letters_here == AMINO_ACIDS.index("P")
    shares = {
        "favoured": float((verdict == ramachandran.FAVOURED).mean()),
        "cis_before_proline": float(cis[is_known & proline].mean()),
        "cis_elsewhere": float(cis[is_known & ~proline].mean()),
    }
    for name in REGIONS:
        runs = run_lengths(angles, name)
        shares[f"{name}_run"] = float(runs.mean()) if len(runs) else 0.0
        shares[f"{name}_share"] = float(runs.sum() / is_known.sum())
    return shares


def run_lengths(angles: Floats, region: str) -> NDArray[np.int64]:
    """Lengths of all runs of residues in a region of `REGIONS`."""
    bounds = REGIONS[region]
    degrees = np.degrees(angles[1:-1, :, :2])
    is_inside = np.all(
        [(low <= degrees[..., k]) & (degrees[..., k] <= high) for k, (low, high) in enumerate(bounds)], 0
    )
    padded = np.zeros((len(is_inside) + 2, is_inside.shape[1]), dtype=int)
    padded[1:-1] = is_inside
    edge = np.diff(padded, axis=0).T
    return np.concatenate([np.flatnonzero(row == -1) - np.flatnonzero(row == 1) for row in edge])


def draw(nature: Floats, samples: Floats, path: Path) -> None:
    """Draw run lengths and Ramachandran maps of natural and sampled chains."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(9, 8), layout="constrained")
    bins = np.arange(1, MAX_PLOTTED_RUN + 2)
    for axis, region in zip(axes[0], REGIONS, strict=True):
        for angles, colour, name in ((nature, "0.6", "nature"), (samples, "#0072b2", "samples")):
            share = np.bincount(
                np.minimum(run_lengths(angles, region), MAX_PLOTTED_RUN), minlength=MAX_PLOTTED_RUN + 1
            )[1:]
            axis.semilogy(bins[:-1], share / share.sum(), color=colour, marker=".", label=name)
        axis.set(xlabel=f"residues of a {region} run ({MAX_PLOTTED_RUN}: or more)", ylabel="share of runs")
        axis.legend()
    for axis, angles, name in zip(axes[1], (nature, samples), ("nature", "samples"), strict=True):
        flat = np.degrees(angles[1:-1].reshape(-1, 3))
        flat = flat[np.isfinite(flat).all(1)]
        axis.hist2d(flat[:, 0], flat[:, 1], bins=90, range=[[-180, 180]] * 2, norm="log", cmap="Greys")
        axis.set(xlabel="phi", ylabel="psi", title=name, aspect="equal")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
