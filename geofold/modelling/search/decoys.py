"""Decoys of a native loop, on which learned potentials are trained and tested."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from geofold import geometry
from geofold.errors import BuildError
from geofold.learn.loop_score.decoys import CROSSOVER, EVOLVED, GUIDED, PERTURBED, SAMPLED, SEARCH_END, Decoys
from geofold.learn.loop_score.model import LoopScore
from geofold.modelling.search.candidates import LoopCandidates
from geofold.modelling.search.effort import Effort
from geofold.modelling.search.evolutionary import breed, breed_judged, search_loop
from geofold.molecule.loop.build_plan import rebuild_plan
from geofold.molecule.selection import backbone_atoms
from geofold.molecule.sidechains.packing import backbone_torsions
from geofold.molecule.structure import Floats, Structure

DRAWS, DRAWN_KEPT, NEAREST_KEPT = 480, 96, 24
"""Conformations drawn, how many of the closed ones are kept, and how many of these are the nearest to the native."""
PERTURBATION_SIZES, PERTURBATIONS = (1.5, 3.0, 6.0, 12.0, 24.0), 12
"""Standard deviations (degrees) of perturbed natives' torsions, and how many natives are perturbed by each."""
PARENTS, OFFSPRING = (8, 12), 96
"""Parents of offspring near the native (nearest drawn conformations, perturbed natives), and their number."""
HARD_EFFORT = Effort(draws=DRAWS, crosses=96, generations=4, parents=12)
OFFSPRING_POOL, GUIDED_OFFSPRING, GUIDED_NATIVES = 64, 12, 4
"""Numbers of the best recombined candidates, and of those and of perturbed natives that are guided."""
SEARCH_EFFORT = Effort(draws=512, crosses=160, guided=16, restarts=2)


def decoys_of(native: Structure, first: int, last: int, score: LoopScore | None, *, seed: int) -> Decoys:
    """Decoys of a loop of a native: drawn conformations, perturbed natives, and offspring of both.

    Parameters
    ----------
    native : Structure
    first, last : int
        Residues of the loop, inclusive.
    score : LoopScore or None
        Earlier potential; if given, decoys that it ranks best after breeding, guided and minimised, are added.
    seed : int

    Raises
    ------
    BuildError
        If no draw closes.
    """
    noise = np.random.default_rng(seed)
    loop = LoopCandidates.of(native, rebuild_plan(native, first, last), seed=seed)
    drawn = loop.draw(DRAWS, noise)[1:]  # the first is that of the structure, which was selected for closing
    perturbed = _perturb_native(loop, native, first, last, noise)
    if not len(drawn) or not len(perturbed):
        raise BuildError(
            f"none of {DRAWS} draws closes {loop.build.label}", "a loop that can be closed", "leave it out"
        )
    order = np.argsort(_rmsd(loop, native, first, last, drawn), kind="stable")
    rest = noise.permutation(order[NEAREST_KEPT:])[: DRAWN_KEPT - NEAREST_KEPT]
    kept = np.concatenate([order[:NEAREST_KEPT], rest])
    near = np.concatenate([drawn[order[: PARENTS[0]]], perturbed[:: max(1, len(perturbed) // PARENTS[1])]])
    parts = [(SAMPLED, drawn[kept]), (PERTURBED, perturbed), (CROSSOVER, loop.cross(near, OFFSPRING, noise))]
    if score is not None:
        pool = breed(loop, drawn, HARD_EFFORT, score, noise)
        best = breed_judged(loop, pool, HARD_EFFORT, score, noise).distinct(OFFSPRING_POOL).rows
        natives = perturbed[:: max(1, len(perturbed) // GUIDED_NATIVES)]
        guided, _ = loop.guide(np.concatenate([best[:GUIDED_OFFSPRING], natives]))
        minimised, _ = loop.minimise(guided, score)
        parts += [(EVOLVED, best), (GUIDED, np.concatenate([guided, minimised]))]
    return _decoys(loop, native, first, last, parts)


def search_decoys(native: Structure, first: int, last: int, score: LoopScore, *, seed: int) -> Decoys:
    """Guided candidates of a search for a loop of a native.

    Parameters
    ----------
    native : Structure
    first, last : int
        Residues of the loop, inclusive.
    score : LoopScore
        Potential that leads the search.
    seed : int

    Raises
    ------
    BuildError
        If no draw closes.
    """
    loop = LoopCandidates.of(native, rebuild_plan(native, first, last), seed=seed)
    rows = search_loop(loop, SEARCH_EFFORT, seed=seed, score=score).rows
    return _decoys(loop, native, first, last, [(SEARCH_END, rows)])


def _perturb_native(
    loop: LoopCandidates, native: Structure, first: int, last: int, noise: np.random.Generator
) -> Floats:
    """Fit the native with ideal geometry, and add Gaussian noise of several sizes to its torsions."""
    torsions = backbone_torsions(native)[None, first : last + 2, :2]
    fitted = loop.fit(torsions, _native_backbone(native, first, last)[None])
    if len(fitted):
        torsions = loop.torsions(fitted)
    sizes = np.radians(np.repeat(PERTURBATION_SIZES, PERTURBATIONS))[:, None, None]
    perturbed = loop.close(torsions + sizes * noise.standard_normal((len(sizes), *torsions.shape[1:])))
    return np.concatenate([fitted, perturbed])


def _native_backbone(native: Structure, first: int, last: int) -> Floats:
    """N, CA, C and O (L, 4, 3) of a loop of a native (nm)."""
    return native.xyz[np.array(backbone_atoms(native, first, last, native.conformer_mask))].reshape(-1, 4, 3)


def _rmsd(loop: LoopCandidates, native: Structure, first: int, last: int, rows: Floats) -> Floats:
    """Backbone RMSD (K,) in A of conformations (K, m, 3) from the native."""
    return 10 * geometry.rmsd(loop.backbone(rows), _native_backbone(native, first, last), (1, 2))


def _decoys(
    loop: LoopCandidates, native: Structure, first: int, last: int, parts: Sequence[tuple[int, Floats]]
) -> Decoys:
    kind = np.repeat([kind for kind, _ in parts], [len(rows) for _, rows in parts])
    rows = np.concatenate([rows for _, rows in parts])
    rmsd = _rmsd(loop, native, first, last, rows)
    return Decoys(
        torch.as_tensor(10 * loop.backbone(rows), dtype=torch.float32),
        torch.as_tensor(rmsd, dtype=torch.float32),
        torch.as_tensor(kind),
        loop.environment,
    )
