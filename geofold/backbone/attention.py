"""Streaming causal attention with a cache of all or of the last keys and values (the Transformer baseline).

Glossary: ``T`` steps, ``S`` cached steps, ``B`` rows, ``D`` width, ``H`` heads, ``P`` channels of a head.

Positions enter by rotation of queries and keys (Su et al., RoFormer, 2021), so that only distances matter and a window
can slide without end.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

ROTATION_BASE = 10_000.0
"""Base of the rotation frequencies, as in RoFormer."""


class Cache(NamedTuple):
    """Rotated keys and values (B, S, H, P), and number of steps read so far (B,)."""

    keys: Tensor
    values: Tensor
    n_steps: Tensor


class Attention(nn.Module):
    """Causal multi-head attention.

    Parameters
    ----------
    window : int or None
        Number of steps that are attended to, the present one included; None: all.
    """

    def __init__(self, channels: int, heads: int = 4, window: int | None = None) -> None:
        super().__init__()
        if channels % (2 * heads):
            raise ValueError(f"width {channels} for {heads} heads; expected a multiple of {2 * heads}")
        self.heads, self.window = heads, window
        self.enter = nn.Linear(channels, 3 * channels, bias=False)
        self.leave = nn.Linear(channels, channels, bias=False)
        rate = ROTATION_BASE ** -torch.linspace(0, 1, channels // heads // 2 + 1)[:-1]
        self.register_buffer("rate", rate, persistent=False)

    def init_state(self, batch: int, like: Tensor) -> Cache:
        """Empty cache."""
        empty = like.new_zeros(batch, 0, self.heads, 2 * len(self.get_buffer("rate")))
        return Cache(empty, empty, torch.zeros(batch, dtype=torch.long, device=like.device))

    def step(self, u: Tensor, state: Cache) -> tuple[Tensor, Cache]:
        """Output (B, D) for one input u (B, D), by a query over the cache."""
        ys, state = self.scan(u[None], state)
        return ys[0], state

    def scan(self, us: Tensor, state: Cache) -> tuple[Tensor, Cache]:
        """Return outputs (T, B, D) for inputs us (T, B, D), with a causal mask."""
        length, old = len(us), state.keys.shape[1]
        q, k, v = self.enter(us).transpose(0, 1).unflatten(-1, (3, self.heads, -1)).unbind(2)
        position = state.n_steps[:, None] + torch.arange(length, device=us.device)
        q, k = self._rotate(q, position), self._rotate(k, position)
        keys, values = torch.cat([state.keys, k], 1), torch.cat([state.values, v], 1)
        mask = None
        whole = old == 0 and self.window is None  # the usual causal case, for which no mask has to be read
        if length > 1 and not whole:
            # The newest query belongs to the last key.
            age = torch.arange(length, device=us.device)[:, None] + old - torch.arange(old + length, device=us.device)
            mask = (age >= 0) & (age < (self.window or old + length))
        q, k, v = (part.transpose(1, 2) for part in (q, keys, values))
        ys = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=whole).transpose(1, 2)
        if self.window is not None:
            keep = min(old + length, self.window - 1)
            keys, values = keys[:, old + length - keep :], values[:, old + length - keep :]
        return self.leave(ys.flatten(2).transpose(0, 1)), Cache(keys, values, state.n_steps + length)

    def _rotate(self, part: Tensor, position: Tensor) -> Tensor:
        """Rotate queries or keys (B, T, H, P) by their positions (B, T)."""
        rate = self.get_buffer("rate")
        angle = (position[..., None].to(rate) * rate)[:, :, None]
        first, second = part.chunk(2, -1)
        return torch.cat([first * angle.cos() - second * angle.sin(), first * angle.sin() + second * angle.cos()], -1)


class FeedForward(nn.Module):
    """Feed-forward network with the interface of a mixer."""

    def __init__(self, channels: int, expand: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(channels, expand * channels), nn.GELU(), nn.Linear(expand * channels, channels)
        )

    def init_state(self, batch: int, like: Tensor) -> tuple[()]:
        """Empty state, since the layer has no memory."""
        return ()

    def step(self, u: Tensor, state: tuple[()]) -> tuple[Tensor, tuple[()]]:
        """Apply the layer to each step independently."""
        return self.layers(u), state

    scan = step
