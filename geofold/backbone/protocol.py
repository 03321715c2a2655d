"""What a streaming backbone is: a stack of mixers that reads a latent z out and takes a corrected one back.

Glossary: ``T`` steps, ``B`` rows, ``F`` features observed, ``D`` width, ``d`` latent.

A correction is an innovation: the difference between the z that was written and the z that was proposed enters the
next step as an input of its own. So a corrected z changes what comes next whatever the mixers hold (caches,
convolution windows), z is read back to the last bit, and a stream without corrections is a plain sequence that can be
scanned in parallel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn


class Mixer(Protocol):
    """A layer that mixes along time; a module. Its state is a nest of tensors whose first dimension is the batch."""

    def init_state(self, batch: int, like: Tensor) -> Any:
        """State before the first step, of the type and device of `like`."""

    def step(self, u: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Output (B, D) for one input (B, D), and the new state."""

    def scan(self, us: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Outputs (T, B, D) for inputs (T, B, D), and the state after the last: `step` after `step`, at once."""


class StreamState(NamedTuple):
    """Where a stream is: states of the layers, the latent as it stands and as it was proposed, (B, d)."""

    layers: tuple[Any, ...]
    z: Tensor
    proposal: Tensor


class StreamingBackbone(nn.Module):
    """Observations in, latents out, layer after layer (pre-normalised residual mixers).

    Parameters
    ----------
    name : str
        For the report.
    layers : sequence of Mixer
    features, latent, width : int
        F, d and D.
    """

    def __init__(self, name: str, layers: Sequence[nn.Module], features: int, latent: int, width: int) -> None:
        super().__init__()
        self.name, self.latent, self.features = name, latent, features
        self.enter = nn.Linear(features, width)
        self.innovation = nn.Linear(latent, width, bias=False)
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in layers)
        self.last = nn.RMSNorm(width)
        self.leave = nn.Linear(width, latent)

    def init_state(self, batch: int, dim: int | None = None, like: Tensor | None = None) -> StreamState:
        """State before the first step; `dim`, where given, has to be the latent's.

        Raises
        ------
        ValueError
            If `dim` is another.
        """
        if dim is not None and dim != self.latent:
            raise ValueError(f"a latent of {dim} for a backbone of {self.latent}; build one for this domain")
        weight = self.enter.weight
        z = weight.new_zeros(batch, self.latent)
        return StreamState(tuple(layer.init_state(batch, weight) for layer in self._mixers), z, z)

    def step(self, x: Tensor, state: StreamState) -> tuple[Tensor, StreamState]:
        """Proposal z (B, d) after an observation x (B, F)."""
        u = self._project_in(x) + self.innovation(state.z - state.proposal)
        z, after = self._apply_layers(u, state.layers, "step")
        return z, StreamState(after, z, z)

    def scan(self, xs: Tensor, state: StreamState) -> tuple[Tensor, StreamState]:
        """Proposals (T, B, d) after observations (T, B, F), none of them corrected."""
        u = self._project_in(xs)
        u = torch.cat([(u[0] + self.innovation(state.z - state.proposal))[None], u[1:]])
        zs, after = self._apply_layers(u, state.layers, "scan")
        return zs, StreamState(after, zs[-1], zs[-1])

    def read(self, state: StreamState) -> Tensor:
        """The latent (B, d) as it stands."""
        return state.z

    def write(self, state: StreamState, z: Tensor) -> StreamState:
        """State with a corrected latent."""
        return state._replace(z=z.to(state.z))

    def _apply_layers(self, u: Tensor, memories: tuple[Any, ...], how: str) -> tuple[Tensor, tuple[Any, ...]]:
        """Latents out of what entered, by each mixer's `step` or `scan`, and the states after it."""
        after = []
        for norm, layer, memory in zip(self.norms, self._mixers, memories, strict=True):
            y, memory = getattr(layer, how)(norm(u), memory)
            u = u + y
            after.append(memory)
        return self.leave(self.last(u)), tuple(after)

    @property
    def _mixers(self) -> Sequence[Any]:
        return list(self.layers)

    def _project_in(self, x: Tensor) -> Tensor:
        return self.enter(x.to(self.enter.weight))
