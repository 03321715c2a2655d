"""Streaming attention: causal, with a cache of all keys and values or of the last ones (the Transformer baseline).

Glossary: ``T`` steps, ``S`` cached steps, ``B`` rows, ``D`` width, ``H`` heads, ``P`` channels of a head.

Places enter by rotation of queries and keys (Su et al., RoFormer, 2021), so only distances count and a window can
slide for ever.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

ROTATION_BASE = 10_000.0


class Cache(NamedTuple):
    """Keys, already rotated, and values (B, S, H, P), and how many steps were seen (B,)."""

    keys: Tensor
    values: Tensor
    seen: Tensor


class Attention(nn.Module):
    """Causal multi-head attention.

    Parameters
    ----------
    window : int or None
        How many steps are attended to, the present one included; None: all.
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
        """An empty cache."""
        empty = like.new_zeros(batch, 0, self.heads, 2 * len(self.get_buffer("rate")))
        return Cache(empty, empty, torch.zeros(batch, dtype=torch.long, device=like.device))

    def step(self, u: Tensor, state: Cache) -> tuple[Tensor, Cache]:
        """One more query over the cache."""
        ys, state = self.scan(u[None], state)
        return ys[0], state

    def scan(self, us: Tensor, state: Cache) -> tuple[Tensor, Cache]:
        """All queries at once, under a causal mask."""
        length, old = len(us), state.keys.shape[1]
        q, k, v = self.enter(us).transpose(0, 1).unflatten(-1, (3, self.heads, -1)).unbind(2)
        place = state.seen[:, None] + torch.arange(length, device=us.device)
        q, k = self._rotate(q, place), self._rotate(k, place)
        keys, values = torch.cat([state.keys, k], 1), torch.cat([state.values, v], 1)
        mask = None
        if length > 1:
            # the newest query stands at the last key
            age = torch.arange(length, device=us.device)[:, None] + old - torch.arange(old + length, device=us.device)
            mask = (age >= 0) & (age < (self.window or old + length))
        q, k, v = (part.transpose(1, 2) for part in (q, keys, values))
        ys = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
        if self.window is not None:
            keep = min(old + length, self.window - 1)
            keys, values = keys[:, old + length - keep :], values[:, old + length - keep :]
        return self.leave(ys.flatten(2).transpose(0, 1)), Cache(keys, values, state.seen + length)

    def _rotate(self, part: Tensor, place: Tensor) -> Tensor:
        """Queries or keys (B, T, H, P) turned by their places (B, T)."""
        rate = self.get_buffer("rate")
        angle = (place[..., None].to(rate) * rate)[:, :, None]
        one, other = part.chunk(2, -1)
        return torch.cat([one * angle.cos() - other * angle.sin(), one * angle.sin() + other * angle.cos()], -1)


class FeedForward(nn.Module):
    """Two layers without time, so that they can stand among mixers."""

    def __init__(self, channels: int, expand: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(channels, expand * channels), nn.GELU(), nn.Linear(expand * channels, channels)
        )

    def init_state(self, batch: int, like: Tensor) -> tuple[()]:
        """Nothing to remember."""
        return ()

    def step(self, u: Tensor, state: tuple[()]) -> tuple[Tensor, tuple[()]]:
        """Each step by itself."""
        return self.layers(u), state

    scan = step
