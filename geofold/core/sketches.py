"""Random sketches of the pullback metric F = J'WJ, for comparison with the exact metric.

Glossary: ``B`` rows, ``d`` latent, ``r`` probes, ``k`` observations; J = dg/dz (k, d), W diagonal (k).

=========  ==================================================  ==========================================
sketch     sample                                              average
=========  ==================================================  ==========================================
paper      u = J'W J q, random q (GeoSSM, Eq. 2)               U <- beta U + sqrt(1 - beta^2) U_new
fisher     u = J'W^(1/2) e / sqrt(r), random e, E[uu'] = F     as for paper
nystrom    Y (Q'Y)^-1 Y' with Y = J'W J Q                      M <- beta^2 M + (1 - beta^2) M_new
=========  ==================================================  ==========================================

Eq. 2 of GeoSSM has no factor 1/r, so E[UU'] = r F^2; `paper` reproduces it literally. Each new column has an
independent random sign, because columns with a fixed sign would add up coherently in the average.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from geofold.core.linearise import Linearisation

RANDOM_SKETCHES = ("fisher", "nystrom", "paper")


@dataclass(frozen=True)
class Sketch:
    """Sampler of one kind of sketch.

    Attributes
    ----------
    kind : 'fisher', 'nystrom' or 'paper'
    rank : int
        Number of probes r.
    informed : bool
        Place the first probe along the gradient and the last along the previous accepted step (a "loss-aware" sketch);
        otherwise all probes are random. Informed probes are not isotropic: a `fisher` sketch overestimates lengths
        along the gradient, and steps become too short.
    """

    kind: str
    rank: int
    informed: bool

    def sample(self, at: Linearisation, previous: Tensor, seed: int) -> Tensor:
        """Draw one sample of the sketch.

        Parameters
        ----------
        at : Linearisation
        previous : (B, d)
            Last accepted step.
        seed : int
            Seed of the probes.

        Returns
        -------
        (B, d, d) or (B, d, r)
            Sketch of F for `nystrom`, otherwise columns.
        """
        noise = torch.Generator().manual_seed(seed)
        if self.kind == "fisher":
            return self._fisher(noise, at, previous)
        probes = self._signs(noise, at.gradient.shape[-1], at.gradient).repeat(1, len(at.gradient), 1)
        if self.informed:
            directions = (at.gradient, previous)
            self._inform(noise, probes, math.sqrt(probes.shape[-1]), directions, directions)
        images = at.expansion.pull(at.apply_weight(at.expansion.push(probes)))
        if self.kind == "paper":
            return images.permute(1, 2, 0).double()
        return _nystrom(probes.permute(1, 2, 0).double(), images.permute(1, 2, 0).double())

    def _fisher(self, noise: torch.Generator, at: Linearisation, previous: Tensor) -> Tensor:
        """Columns J'W^(1/2) e / sqrt(r), (B, d, r), stiff directions included."""
        root = at.weight.sqrt()
        cotangents = self._signs(noise, root.shape[-1], root) * root
        if at.stiff_directions is not None:
            signs = self._signs(noise, len(at.stiff_directions), root).expand(-1, len(root), -1)
            cotangents = cotangents + torch.einsum("rbc,cbk->rbk", signs, at.stiff_directions)
        if self.informed:
            length = math.sqrt(root.shape[-1])
            # A probe e along W^(-1/2) grad_y l, scaled to the length of the random ones, is pulled back as W^(1/2) e.
            observed = root > 0
            gradient = at.observation_gradient * observed
            whitened = gradient / torch.where(observed, root, 1.0)
            step = root * at.push(previous)
            self._inform(noise, cotangents, length, (whitened, step), (gradient, root * step))
        return at.expansion.pull(cotangents).permute(1, 2, 0).double() / math.sqrt(self.rank)

    def _inform(
        self,
        noise: torch.Generator,
        probes: Tensor,
        length: float,
        directions: tuple[Tensor, Tensor],
        replacements: tuple[Tensor, Tensor],
    ) -> None:
        """Replace the first and the last random probe (r, B, k) in place, in rows whose direction is not zero.

        Parameters
        ----------
        noise : torch.Generator
            Source of a random sign for each informed probe.
        probes : (r, B, k)
        length : float
            Length to which the directions are scaled.
        directions : two of (B, k)
            Directions of the informed probes.
        replacements : two of (B, k)
            Values that are written, scaled like `directions`.
        """
        ends = [0, self.rank - 1][: self.rank]
        norm = torch.stack(directions).norm(dim=-1, keepdim=True)[: len(ends)]
        sign = self._signs(noise, 1, probes)[ends]
        informed = torch.stack(replacements)[: len(ends)] * (sign * length / torch.where(norm > 0, norm, 1.0))
        probes[ends] = torch.where(norm > 0, informed, probes[ends])

    def _signs(self, noise: torch.Generator, width: int, like: Tensor) -> Tensor:
        """Random signs (r, 1, width), the same for all rows, so that a row does not depend on the other rows."""
        bits = torch.randint(0, 2, (self.rank, 1, width), generator=noise, dtype=torch.int8)
        return bits.to(device=like.device, dtype=like.dtype) * 2 - 1


def _nystrom(probes: Tensor, images: Tensor) -> Tensor:
    """Y (Q'Y)^+ Y' (B, d, d) for Q and Y = FQ (B, d, r): exact on the span of the probes, and never above F."""
    core = probes.mT @ images
    size, basis = torch.linalg.eigh((core + core.mT) / 2)
    # Directions outside the span of F or the probes hold rounding errors only.
    floor = size[:, -1:].clamp_min(1e-300) * 1e-12
    half = (images @ basis) * torch.where(size > floor, size.clamp_min(1e-300).rsqrt(), 0.0)[:, None]
    return half @ half.mT
