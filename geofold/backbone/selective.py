"""Selective state space (Mamba): writing to and decay of the memory depend on the input.

Glossary: ``T`` steps, ``B`` rows, ``D`` width, ``E`` channels inside, ``N`` states of a channel.
States are stored as (B, N, E), since long rows are fast.

Gu and Dao, Mamba (2023), sections 3.2-3.4: a gated block around a causal convolution and
h_t = exp(step_t A) h_(t-1) + step_t B_t u_t, y_t = C_t . h_t, with step, B and C functions of u_t.

A step of a frozen backbone of such blocks is one call of a kernel (`CompiledStream`).
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from geofold.backbone.convolution import ShortConvolution
from geofold.backbone.linear_memory import initial_log_steps
from geofold.backbone.selective_scan import selective_scan
from geofold.kernels.library import call, usable
from geofold.kernels.structures import Stream


class SelectiveState(NamedTuple):
    """The convolution's window and the states of the channels h."""

    window: Tensor
    h: Tensor


class Selective(nn.Module):
    """Mamba block; `expand` is E / D."""

    def __init__(self, channels: int, states: int = 16, expand: int = 2, rank: int | None = None) -> None:
        super().__init__()
        inner, self.rank = expand * channels, rank or math.ceil(channels / 16)
        self.enter = nn.Linear(channels, 2 * inner, bias=False)
        self.convolution = ShortConvolution(inner)
        self.select = nn.Linear(inner, self.rank + 2 * states, bias=False)
        self.pace = nn.Linear(self.rank, inner)
        self.log_a = nn.Parameter(torch.arange(1.0, states + 1).log()[:, None].repeat(1, inner))
        self.skip = nn.Parameter(torch.ones(inner))
        self.leave = nn.Linear(inner, channels, bias=False)
        nn.init.uniform_(self.pace.weight, -(self.rank**-0.5), self.rank**-0.5)
        with torch.no_grad():
            first = initial_log_steps(inner).exp()
            self.pace.bias.copy_(torch.log(torch.expm1(first)))

    def init_state(self, batch: int, like: Tensor) -> SelectiveState:
        """Zeros: no input was read yet."""
        return SelectiveState(self.convolution.init_state(batch, like), like.new_zeros(batch, *self.log_a.shape))

    def step(self, u: Tensor, state: SelectiveState) -> tuple[Tensor, SelectiveState]:
        """Output (B, D) for one input u (B, D), by the recurrence."""
        v, gate = self.enter(u).chunk(2, -1)
        v, window = self.convolution.step(v, state.window)
        v = nn.functional.silu(v)
        pace, b, c = self._select(v)
        decay = (pace[:, None] * -self.log_a.exp()).exp()
        h = torch.addcmul((pace * v)[:, None] * b[..., None], decay, state.h)
        return self._project_out((c[:, None] @ h)[:, 0], v, gate), SelectiveState(window, h)

    def scan(self, us: Tensor, state: SelectiveState) -> tuple[Tensor, SelectiveState]:
        """Return outputs (T, B, D) for inputs us (T, B, D), by a parallel scan."""
        vs, gates = self.enter(us).chunk(2, -1)
        vs, window = self.convolution.scan(vs, state.window)
        vs = nn.functional.silu(vs)
        pace, b, c = self._select(vs)
        ys, h = selective_scan(pace, -self.log_a.exp(), vs, b, c, state.h)
        return self._project_out(ys, vs, gates), SelectiveState(window, h)

    def _select(self, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step (..., E), B and C (..., N) of inputs (..., E)."""
        pace, b, c = self.select(v).split([self.rank, *[len(self.log_a)] * 2], -1)
        return nn.functional.softplus(self.pace(pace)), b, c

    def _project_out(self, y: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        return self.leave((y + self.skip * v) * nn.functional.silu(gate))


class StreamParts(Protocol):
    """Parts of a backbone that its twin needs; see `geofold.backbone.protocol.StreamingBackbone`."""

    features: int
    latent: int
    enter: nn.Linear
    innovation: nn.Linear
    layers: nn.ModuleList
    norms: nn.ModuleList
    last: nn.RMSNorm
    leave: nn.Linear

    def parameters(self) -> Iterator[nn.Parameter]:
        """All weights."""


class CompiledStream:
    """Weights of a frozen backbone in the order in which the kernel reads them. Build with `compile_stream`.

    Parameters
    ----------
    backbone : StreamParts
        Backbone of `Selective` layers.
    """

    def __init__(self, backbone: StreamParts) -> None:
        layers = [layer for layer in backbone.layers if isinstance(layer, Selective)]
        first, self._latent = layers[0], backbone.latent
        self._versions = [(part, part.data_ptr(), part._version) for part in backbone.parameters()]
        weights = torch.cat([part.detach().flatten() for part in _weights(backbone, layers)])
        states, inner = first.log_a.shape
        epsilon = backbone.last.eps if backbone.last.eps is not None else torch.finfo(weights.dtype).eps
        sizes = backbone.features, len(backbone.last.weight), backbone.latent, len(layers), inner, states, first.rank
        self._structure = Stream.of(*sizes, first.convolution.width, epsilon, weights)

    def is_current(self) -> bool:
        """Whether the weights are still those of the backbone."""
        return all(part.data_ptr() == place and part._version == version for part, place, version in self._versions)

    def step(
        self, x: Tensor, innovation: Tensor, states: Iterable[SelectiveState]
    ) -> tuple[Tensor, tuple[SelectiveState, ...]]:
        """Latents (B, d) and new states.

        Parameters
        ----------
        x : (B, F)
            Observations.
        innovation : (B, d)
            Corrections of the last latents.
        states : iterable of SelectiveState
            States of the layers.
        """
        before = [SelectiveState(state.window.contiguous(), state.h.contiguous()) for state in states]
        after = tuple(SelectiveState(*(torch.empty_like(part) for part in state)) for state in before)
        z = x.new_empty(len(x), self._latent)
        inputs = x.contiguous(), innovation.contiguous()
        call("stream_step", self._structure, len(x), *inputs, _addresses(before), _addresses(after), z)
        return z, after


def compile_stream(backbone: StreamParts, previous: CompiledStream | None) -> CompiledStream | None:
    """Twin of a backbone; None if there is none for its type, or its weights may change.

    Parameters
    ----------
    backbone : StreamParts
    previous : CompiledStream or None
        Result of the last call, which is returned if it is still valid.
    """
    if not usable(dtype=torch.float32) or backbone.enter.weight.requires_grad:
        return None
    if previous is not None and previous.is_current():
        return previous
    layers = list(backbone.layers)
    frozen = all(
        part.dtype is torch.float32 and part.device.type == "cpu" and not part.requires_grad
        for part in backbone.parameters()
    )
    alike = {(type(layer), *(tuple(part.shape) for part in layer.parameters())) for layer in layers}
    if not frozen or len(alike) != 1 or not isinstance(layers[0], Selective):
        return None
    return CompiledStream(backbone)


def _addresses(states: Iterable[SelectiveState]) -> ctypes.Array[Any]:
    """Addresses of windows and states of the layers."""
    parts = [part.data_ptr() for state in states for part in state]
    return (ctypes.c_void_p * len(parts))(*parts)


def _weights(backbone: StreamParts, layers: list[Selective]) -> Iterator[Tensor]:
    """All weights in the order of the kernel, matrices transposed."""

    def transposed(part: nn.Linear) -> Tensor:
        return part.weight.mT.contiguous()

    yield from (transposed(backbone.enter), backbone.enter.bias, transposed(backbone.innovation))
    for norm, layer in zip(backbone.norms, layers, strict=True):
        assert isinstance(norm, nn.RMSNorm)
        yield from (norm.weight, transposed(layer.enter), layer.convolution.weight, layer.convolution.bias)
        yield from (transposed(layer.select), transposed(layer.pace), layer.pace.bias)
        yield from (-layer.log_a.exp(), layer.skip, transposed(layer.leave))
    yield from (backbone.last.weight, transposed(backbone.leave), backbone.leave.bias)
