"""The torsion prior against nature: likelihood on the test split, and what chains that it draws look like."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from geofold.bench.common.records import Records, table_of, write_summary
from geofold.errors import OptionError
from geofold.learn.data.chains import AMINO_ACIDS, Chains, read_chains
from geofold.learn.torsion_prior.model import TorsionPrior, shipped_prior
from geofold.learn.torsion_prior.training import WINDOW_SIZE, negative_log_likelihoods
from geofold.molecule.energy import ramachandran
from geofold.molecule.sidechains.rotamer_library import names_of

Floats = NDArray[np.float64]
BINS, PSEUDOCOUNT = 72, 0.5
DRAWN, QUICK_DRAWN = 256, 16
REGIONS = {"helix": ((-110.0, -30.0), (-80.0, 0.0)), "strand": ((-180.0, -60.0), (90.0, 180.0))}
"""phi and psi (degrees) of residues that count as helical or extended, for runs without coordinates."""
LONGEST = 24


def run(out: str, *, data: str | None, quick: bool, seed: int) -> None:
    """Measure the prior that ships.

    Raises
    ------
    OptionError
        Without data.
    """
    if data is None:
        raise OptionError("part prior without --data", "the folder of backbones.npz", "add --data FOLDER")
    began = time.time()
    records = Records(out)
    chains = read_chains(Path(data) / "backbones.npz")
    model, card = shipped_prior()
    windows = chains.windows("test", WINDOW_SIZE)[: 64 if quick else None]
    place = windows + np.arange(WINDOW_SIZE)[:, None]
    torsions = chains.torsions[place].astype(float)
    said = [_judged(model, chains, place[:, k : k + 32]) for k in range(0, place.shape[1], 32)]
    weight = np.array([count for *_, count in said], dtype=float)
    nll, turn = (float(np.average([row[k] for row in said], weights=weight)) for k in (0, 1))
    kinds = _kinds(chains)
    histogram = _histogram_nll(chains, kinds, place)
    noise = np.random.default_rng(seed)
    rows = noise.choice(place.shape[1], min(QUICK_DRAWN if quick else DRAWN, place.shape[1]), replace=False)
    letters = torch.as_tensor(chains.residue[place[:, rows]]).long()
    drawn = torch.stack(list(model.stream_sample(letters, noise))).double().numpy()
    nature, samples = torsions[:, rows], drawn
    metrics = {
        "prior.nll": nll, "histogram.nll": histogram, "prior.below_histogram": histogram - nll, "prior.cis_nll": turn,
        "prior.residues": float(weight.sum()), "prior.parameters": float(card["parameters"]),
    }  # fmt: skip
    for name, angles in (("nature", nature), ("samples", samples)):
        metrics |= {f"{name}.{key}": value for key, value in _looks(angles, letters.numpy()).items()}
    draw(nature, samples, records.folder / "runs.png")
    names = (
        "favoured",
        "cis_before_proline",
        "cis_elsewhere",
        "helix_run",
        "strand_run",
        "helix_share",
        "strand_share",
    )
    body = [[who, *(f"{metrics[f'{who}.{name}']:.4f}" for name in names)] for who in ("nature", "samples")]
    table = table_of(["", *names], body)
    head = table_of(
        ["", "nat a residue, test split"],
        [["Ramachandran histogram of the residue's class", f"{histogram:.3f}"], ["torsion prior", f"{nll:.3f}"]],
    )
    write_summary(records.folder, metrics, quick=quick, began=began, table=head + "\n" + table, note="prior")


@torch.no_grad()
def _judged(model: TorsionPrior, chains: Chains, place: NDArray[np.int64]) -> tuple[float, float, int]:
    letters, torsions = torch.as_tensor(chains.residue[place]).long(), torch.as_tensor(chains.torsions[place])
    torsion, turn = negative_log_likelihoods(model, letters, torsions)
    return float(torsion), float(turn), int(torsions[..., :2].isfinite().all(-1).sum())


def _kinds(chains: Chains) -> NDArray[np.int64]:
    """Ramachandran class (R,) of every residue."""
    following = np.append(chains.residue[1:], 0)
    last = chains.start + chains.length - 1
    glycine, proline, isoleucine, valine = (AMINO_ACIDS.index(letter) for letter in "GPIV")
    before_proline = following == proline
    before_proline[last] = False
    cis = np.abs(chains.torsions[:, 2]) < np.pi / 2
    found = np.where(before_proline, 2, np.where(np.isin(chains.residue, (isoleucine, valine)), 1, 0))
    found = np.where(chains.residue == proline, np.where(cis, 5, 4), found)
    return np.where(chains.residue == glycine, 3, found)


def _histogram_nll(chains: Chains, kinds: NDArray[np.int64], place: NDArray[np.int64]) -> float:
    """Negative log-likelihood (nat a residue) of the classes' histograms over the training split."""
    cell = np.floor((chains.torsions[:, :2].astype(float) + np.pi) / (2 * np.pi) * BINS)
    known: NDArray[np.bool_] = np.all(np.isfinite(cell), axis=1)
    split = np.repeat(chains.split, chains.length)
    tested = np.zeros(len(known), dtype=bool)
    tested[place] = True
    total = 0.0
    for kind in range(6):
        learnt, asked = known & (split == 0) & (kinds == kind), known & tested & (kinds == kind)
        counts = np.full((BINS, BINS), PSEUDOCOUNT)
        np.add.at(counts, tuple(cell[learnt].astype(int).clip(0, BINS - 1).T), 1)
        density = np.log(counts / counts.sum() * (BINS / (2 * np.pi)) ** 2)
        total -= density[tuple(cell[asked].astype(int).clip(0, BINS - 1).T)].sum()
    return float(total / (known & tested).sum())


def _looks(angles: Floats, letters: NDArray[np.int64]) -> dict[str, float]:
    """Shares and runs of chains (T, B, 3); the ends, which have not all angles in nature, are left out."""
    phi, psi, omega = angles[1:-1, :, 0], angles[1:-1, :, 1], angles[1:-1, :, 2]
    known = np.isfinite(phi) & np.isfinite(psi) & np.isfinite(omega)
    cis = np.abs(omega) < np.pi / 2
    here, following = letters[1:-1], letters[2:]
    names = names_of(AMINO_ACIDS)
    kind = np.array([
        [ramachandran.class_of(names[a], names[b], w) for a, b, w in zip(*row, strict=True)]
        for row in zip(here, following, omega, strict=True)
    ])  # fmt: skip
    verdict = ramachandran.verdict(ramachandran.score(phi[known], psi[known], kind[known]), kind[known])
    proline = here == AMINO_ACIDS.index("P")
    found = {
        "favoured": float((verdict == ramachandran.FAVOURED).mean()),
        "cis_before_proline": float(cis[known & proline].mean()), "cis_elsewhere": float(cis[known & ~proline].mean()),
    }  # fmt: skip
    for name in REGIONS:
        runs = runs_of(angles, name)
        found[f"{name}_run"] = float(runs.mean()) if len(runs) else 0.0
        found[f"{name}_share"] = float(runs.sum() / known.sum())
    return found


def runs_of(angles: Floats, region: str) -> NDArray[np.int64]:
    """Lengths of all runs of residues in a region of the map."""
    bounds = REGIONS[region]
    degrees = np.degrees(angles[1:-1, :, :2])
    inside = np.all([(low <= degrees[..., k]) & (degrees[..., k] <= high) for k, (low, high) in enumerate(bounds)], 0)
    padded = np.zeros((len(inside) + 2, inside.shape[1]), dtype=int)
    padded[1:-1] = inside
    edge = np.diff(padded, axis=0).T
    return np.concatenate([np.flatnonzero(row == -1) - np.flatnonzero(row == 1) for row in edge])


def draw(nature: Floats, samples: Floats, path: Path) -> None:
    """Run lengths and Ramachandran maps of nature and of samples."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(9, 8), layout="constrained")
    bins = np.arange(1, LONGEST + 2)
    for axis, region in zip(axes[0], REGIONS, strict=True):
        for angles, colour, name in ((nature, "0.6", "nature"), (samples, "#0072b2", "samples")):
            share = np.bincount(np.minimum(runs_of(angles, region), LONGEST), minlength=LONGEST + 1)[1:]
            axis.semilogy(bins[:-1], share / share.sum(), color=colour, marker=".", label=name)
        axis.set(xlabel=f"residues of a {region} run ({LONGEST}: or more)", ylabel="share of runs")
        axis.legend()
    for axis, angles, name in zip(axes[1], (nature, samples), ("nature", "samples"), strict=True):
        flat = np.degrees(angles[1:-1].reshape(-1, 3))
        flat = flat[np.isfinite(flat).all(1)]
        axis.hist2d(flat[:, 0], flat[:, 1], bins=90, range=[[-180, 180]] * 2, norm="log", cmap="Greys")
        axis.set(xlabel="phi", ylabel="psi", title=name, aspect="equal")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
