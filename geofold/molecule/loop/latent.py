"""The loop model's own latent: its decoder as the decoder of a `LatentDomain`, and the model as the predictor of z.

At each step z is decoded to the increments of phi and psi in a window around the cursor, and to the CA distances from
the cursor. Torsions outside the window continue to what was decoded for them when they were last in it, corrections
included. A corrected z is written back twice: it enters the model's state as the innovation of its latent, and the
change of the decoded increments enters the features of the next step.

Glossary: ``B`` rows, ``W = 5`` residues of the window, ``h`` phi and psi of the loop, ``d = 64`` latent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from geofold.core.heads import gaussian_information, von_mises_concentration, von_mises_information
from geofold.geometry import wrap
from geofold.learn.latent_domain import Heads, LatentDomain
from geofold.learn.loop_denoiser.features import HALF_WINDOW
from geofold.learn.loop_denoiser.inference import distance_partners, model_input, update_belief, window_values
from geofold.learn.loop_denoiser.model import DISTANCE_OFFSETS, LATENT, WINDOW, LoopModel
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.predictor import LoopFeatures, select_torsions
from geofold.molecule.loop.state import LoopState

INCREMENTS = 2 * WINDOW
"""Heads that are increments of torsions; the others are distances."""


@dataclass(frozen=True)
class LoopLatentDecoder:
    """Decoder of the loop model over the loop domain; its context is the belief about the torsions, (B, h).

    Attributes
    ----------
    model : LoopModel
    features : LoopFeatures
        Features of the loop, which name its torsions and the residues around it.
    width : int
        Dimension n of the latent of the loop domain.
    """

    model: LoopModel
    features: LoopFeatures
    width: int

    @property
    def latent_dim(self) -> int:
        """Dimension of z."""
        return LATENT

    @property
    def head_count(self) -> int:
        """Number of increments and distances."""
        return INCREMENTS + len(DISTANCE_OFFSETS)

    def start(self, inner: LoopState) -> Tensor:
        """Belief before the first step: the present torsions."""
        return select_torsions(self.features.torsion_index, inner.conformation.angle)

    def heads(self, z: Tensor, inner: LoopState) -> Heads:
        """Mean increments (radian) and distances (A) with their Fisher information; zero where there is no residue."""
        decoded = self.model.decode(z.to(next(self.model.decoder.parameters())))
        mean, resultant = decoded.increments.circular_mean()
        free = self._window(inner.cursor) >= 0
        _, known = distance_partners(self.features.backbone.present[0], inner.cursor)
        with torch.no_grad():
            angles = von_mises_information(von_mises_concentration(resultant)).flatten(1) * free
            distances = gaussian_information(-2 * decoded.spread) * known
        means = torch.cat([mean.flatten(1) * free, decoded.distance * known], -1)
        return Heads(means.to(z), torch.cat([angles, distances], -1).to(z))

    def base(self, inner: LoopState, context: Tensor) -> Tensor:
        """Increments (B, n) of the torsions outside the window, to what they are believed to be."""
        angle = inner.conformation.angle
        missing = wrap(context - select_torsions(self.features.torsion_index, angle))
        free, window = self.features.torsion_index >= 0, self._window(inner.cursor)
        increments = angle.new_zeros(len(angle), self.width)
        increments[:, self.features.torsion_index[free]] = missing[:, free]
        increments[:, window[window >= 0]] = 0.0
        return increments

    def place(self, mean: Tensor, inner: LoopState) -> Tensor:
        """Increments (..., B, n) of the torsions in the window."""
        window = self._window(inner.cursor)
        free = window >= 0
        moves = mean.new_zeros(*mean.shape[:-1], self.width)
        return moves.index_copy(-1, window[free], mean[..., :INCREMENTS][..., free])

    def gather(self, u: Tensor, inner: LoopState) -> Tensor:
        """Entries (..., B, heads) of the torsions in the window; zero for distances."""
        window = self._window(inner.cursor)
        entries = u[..., window.clamp_min(0)] * (window >= 0)
        return torch.nn.functional.pad(entries, (0, self.head_count - INCREMENTS))

    def advance(self, mean: Tensor, inner: LoopState, context: Tensor) -> Tensor:
        """Belief after a step: in the window, what was decoded at it."""
        angle = select_torsions(self.features.torsion_index, inner.conformation.angle)
        return update_belief(context, angle, mean[:, :INCREMENTS].unflatten(-1, (WINDOW, 2)), inner.cursor)

    def _window(self, cursor: int) -> Tensor:
        """Torsions (2 W,) of the tree in the window; -1 for fixed ones and beyond the loop."""
        padded = torch.nn.functional.pad(self.features.torsion_index, (2 * HALF_WINDOW, 2 * HALF_WINDOW), value=-1)
        return padded[2 * cursor : 2 * cursor + INCREMENTS]


def latent_domain(domain: LoopDomain, model: LoopModel) -> LatentDomain:
    """Loop that a model moves by its own latent; the domain has the features of the loop model."""
    assert domain.features is not None
    return LatentDomain(domain, LoopLatentDecoder(model, domain.features, domain.latent_dim))


class LatentMemory(NamedTuple):
    """State of the predictor.

    Attributes
    ----------
    stream
        State of the backbone, which holds the written and the proposed z.
    cursor : int
        Residue of the last step; -1 before the first.
    steps : int
        Steps made.
    """

    stream: Any
    cursor: int
    steps: int


@dataclass(frozen=True)
class LoopLatentPredictor:
    """The loop model as the predictor of its own latent.

    Parameters
    ----------
    model : LoopModel
    length : int
        Residues of the loop.
    write_back : bool
        Whether the model receives the corrected z; without it, it continues as if its own had been carried out.
    name : str
        Name in reports.
    """

    model: LoopModel
    length: int
    write_back: bool = True
    name: str = "loop-denoiser"

    def init_state(self, batch: int, dim: int, like: Tensor) -> LatentMemory:
        """State before the first step."""
        return LatentMemory(self.model.stream.init_state(batch, dim), -1, 0)

    @torch.no_grad()
    def step(self, x: Tensor, state: LatentMemory) -> tuple[Tensor, LatentMemory]:
        """Proposal z (B, d) for an observation (see `LoopFeatures.observe`)."""
        z, stream = self.model.stream.step(self.features(x, state), state.stream)
        return z.to(x), LatentMemory(stream, int(x[0, -1]), state.steps + 1)

    def read(self, state: LatentMemory) -> Tensor:
        """Return the current latent (B, d)."""
        return self.model.stream.read(state.stream)

    def write(self, state: LatentMemory, z: Tensor) -> LatentMemory:
        """Store the corrected latent, which changes the next step."""
        return state._replace(stream=self.model.stream.write(state.stream, z)) if self.write_back else state

    def features(self, x: Tensor, state: LatentMemory) -> Tensor:
        """Features (B, F) that the model reads: those observed, the time, and the correction of the last step."""
        return model_input(self.model, x, state.steps // self.length, self._innovation(state, int(x[0, -1])))

    def _innovation(self, state: LatentMemory, cursor: int) -> Tensor:
        """Change of the last decoded increments by the correction, (B, W, 2), in the window around the cursor."""
        written, proposed = state.stream.z, state.stream.proposal
        change = written.new_zeros(len(written), 2 * self.length)
        if state.cursor >= 0 and not torch.equal(written, proposed):
            mean = [self.model.decode(z).increments.circular_mean()[0] for z in (written, proposed)]
            change = update_belief(change, change, wrap(mean[0] - mean[1]), state.cursor)
        return window_values(change, cursor)
