"""Protocol of sequence mixers, and the streaming backbone: a stack of mixers with a latent z that can be corrected.

Glossary: ``T`` steps, ``B`` rows, ``F`` observed features, ``D`` width, ``d`` latent.

A correction is an innovation: the difference between the written and the proposed z is an additional input of the next
step. A corrected z thus affects later steps for every type of mixer (caches, convolution windows), it is read back bit
for bit, and a stream without corrections is a plain sequence that can be scanned in parallel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from geofold.backbone.selective import CompiledStream, compile_stream


class Mixer(Protocol):
    """Module that mixes along time. Its state is a nest of tensors whose first dimension is the batch."""

    def init_state(self, batch: int, like: Tensor) -> Any:
        """State before the first step, with the type and device of `like`."""

    def step(self, u: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Output (B, D) for one input (B, D), and the new state."""

    def scan(self, us: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return outputs (T, B, D) for inputs (T, B, D), and the last state: equal to repeated `step`, in parallel."""


class StreamState(NamedTuple):
    """State of a stream: states of the layers, and the current and the proposed latent, (B, d) each."""

    layers: tuple[Any, ...]
    z: Tensor
    proposal: Tensor


class StreamingBackbone(nn.Module):
    """Backbone of pre-normalised residual mixers, from observations to latents.

    Parameters
    ----------
    name : str
        Name in the report.
    layers : sequence of Mixer
    features, latent, width : int
        Sizes F, d and D.
    """

    def __init__(self, name: str, layers: Sequence[nn.Module], features: int, latent: int, width: int) -> None:
        super().__init__()
        self.name, self.latent, self.features = name, latent, features
        self._compiled: CompiledStream | None = None
        self.enter = nn.Linear(features, width)
        self.innovation = nn.Linear(latent, width, bias=False)
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in layers)
        self.last = nn.RMSNorm(width)
        self.leave = nn.Linear(width, latent)

    def init_state(self, batch: int, dim: int | None = None, like: Tensor | None = None) -> StreamState:
        """State before the first step. `dim` is checked if it is given; `like` is not used.

        Raises
        ------
        ValueError
            If `dim` differs from the latent dimension of the backbone.
        """
        if dim is not None and dim != self.latent:
            raise ValueError(f"a latent of {dim} for a backbone of {self.latent}; build one for this domain")
        weight = self.enter.weight
        z = weight.new_zeros(batch, self.latent)
        return StreamState(tuple(layer.init_state(batch, weight) for layer in self._mixers), z, z)

    def step(self, x: Tensor, state: StreamState) -> tuple[Tensor, StreamState]:
        """Proposal z (B, d) after an observation x (B, F), and the new state."""
        self._compiled = compile_stream(self, self._compiled)
        if self._compiled is not None:
            z, memories = self._compiled.step(x.to(self.enter.weight), state.z - state.proposal, state.layers)
            return z, StreamState(memories, z, z)
        u = self._project_in(x) + self.innovation(state.z - state.proposal)
        z, after = self._apply_layers(u, state.layers, "step")
        return z, StreamState(after, z, z)

    def scan(self, xs: Tensor, state: StreamState, innovations: Tensor | None = None) -> tuple[Tensor, StreamState]:
        """Proposals (T, B, d) after observations xs (T, B, F), and the last state.

        `innovations` (T, B, d) are the corrections of the step before each of them, written minus proposed latent; the
        first one is added to that of the state. None: no corrections.
        """
        u = self._project_in(xs)
        if innovations is not None:
            u = u + self.innovation(innovations.to(u))
        u = torch.cat([(u[0] + self.innovation(state.z - state.proposal))[None], u[1:]])
        zs, after = self._apply_layers(u, state.layers, "scan")
        return zs, StreamState(after, zs[-1], zs[-1])

    def read(self, state: StreamState) -> Tensor:
        """Return the current latent (B, d)."""
        return state.z

    def write(self, state: StreamState, z: Tensor) -> StreamState:
        """State with the corrected latent z (B, d)."""
        return state._replace(z=z.to(state.z))

    def _apply_layers(self, u: Tensor, memories: tuple[Any, ...], how: str) -> tuple[Tensor, tuple[Any, ...]]:
        """Apply the layers to inputs u by the method `step` or `scan`, and return latents and new states."""
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
