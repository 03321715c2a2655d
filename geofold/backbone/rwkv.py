"""RWKV: time mixing, an average of values weighted by keys that decay with age, and channel mixing.

Glossary: ``T`` steps, ``B`` rows, ``D`` channels, ``E`` hidden channels.

Peng et al., RWKV (EMNLP findings 2023), equations 11-18:
wkv_t = (sum_(i<t) e^(-(t-1-i) w + k_i) v_i + e^(u + k_t) v_t) / (the same without v).
Sums have a common exponent, so that nothing overflows. Both kinds of mixing read the present input blended with the
last one (token shift); channel mixing is the feed-forward layer, o_t = sigmoid(W_r x_r) W_v max(W_k x_k, 0)^2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from geofold.backbone.scan import Elements, associative_scan

CHUNK_STEPS = 256
"""Number of steps in a chunk of the scan."""


class RwkvState(NamedTuple):
    """Last input, and numerator, denominator and their common exponent, (B, D) each."""

    last: Tensor
    above: Tensor
    below: Tensor
    exponent: Tensor


class Rwkv(nn.Module):
    """RWKV-4 time mixing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        share = torch.linspace(0.0, 1.0, channels)
        self.mix = nn.Parameter(torch.stack([share, share, 0.5 * share]))
        self.log_decay = nn.Parameter(torch.linspace(-5.0, 1.0, channels))
        self.bonus = nn.Parameter(0.5 * torch.randn(channels))
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels, bias=False)
        self.receptance = nn.Linear(channels, channels, bias=False)
        self.leave = nn.Linear(channels, channels, bias=False)

    def init_state(self, batch: int, like: Tensor) -> RwkvState:
        """Empty sums, with a large negative exponent instead of -inf, so that differences are not NaN."""
        zero = like.new_zeros(batch, len(self.bonus))
        return RwkvState(zero, zero, zero, torch.full_like(zero, -1e30))

    def step(self, u: Tensor, state: RwkvState) -> tuple[Tensor, RwkvState]:
        """Output (B, D) for one input u (B, D), by the recurrence."""
        k, v, r = self._mix(u, state.last)
        y = self._read_out(k, v, (state.exponent, state.above, state.below))
        w = self.log_decay.exp()
        exponent, above, below = _add_scaled((state.exponent - w, state.above, state.below), (k, v, torch.ones_like(v)))
        return self.leave(r * y), RwkvState(u, above, below, exponent)

    def scan(self, us: Tensor, state: RwkvState) -> tuple[Tensor, RwkvState]:
        """Return outputs (T, B, D) for inputs us (T, B, D), by a parallel scan of sums in chunks."""
        k, v, r = self._mix(us, torch.cat([state.last[None], us[:-1]]))
        w = self.log_decay.exp()
        sums, ys = (state.exponent, state.above, state.below), []
        for at in range(0, len(us), CHUNK_STEPS):
            kc, vc = k[at : at + CHUNK_STEPS], v[at : at + CHUNK_STEPS]
            age = torch.arange(1, len(kc) + 1, device=us.device, dtype=kc.dtype)[:, None, None]
            decay = torch.zeros_like(kc) - w
            _, *local = associative_scan(_add_aged, (decay, kc, vc, torch.ones_like(vc)))
            start = (sums[0] - age * w, sums[1].expand_as(kc), sums[2].expand_as(kc))
            sums_at = _add_scaled(start, (local[0], local[1], local[2]))
            before = tuple(torch.cat([s[None], e[:-1]]) for s, e in zip(sums, sums_at, strict=True))
            ys.append(self._read_out(kc, vc, before))
            sums = tuple(e[-1] for e in sums_at)  # type: ignore[assignment]
        return self.leave(r * torch.cat(ys)), RwkvState(us[-1], sums[1], sums[2], sums[0])

    def _mix(self, u: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Keys, values and receptances of inputs mixed with the preceding inputs."""
        k, v, r = (last + share * (u - last) for share in self.mix)
        return self.key(k), self.value(v), torch.sigmoid(self.receptance(r))

    def _read_out(self, k: Tensor, v: Tensor, before: Elements) -> Tensor:
        """Return the wkv of inputs given the sums before them."""
        _, above, below = _add_scaled(before, (k + self.bonus, v, torch.ones_like(v)))
        return above / below


class RwkvChannelMixing(nn.Module):
    """RWKV-4 channel mixing: a feed-forward layer with squared rectifier and a gate, which also sees the last input.

    Parameters
    ----------
    channels : int
        D.
    expand : int
        E / D. RWKV has 4; 2 is that of the other feed-forward layers here.
    """

    def __init__(self, channels: int, expand: int = 2) -> None:
        super().__init__()
        share = torch.linspace(0.0, 1.0, channels)
        self.mix = nn.Parameter(torch.stack([share, share]))
        self.key = nn.Linear(channels, expand * channels, bias=False)
        self.receptance = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(expand * channels, channels, bias=False)

    def init_state(self, batch: int, like: Tensor) -> Tensor:
        """Zeros (B, D): there is no last input yet."""
        return like.new_zeros(batch, self.mix.shape[1])

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Output (B, D) for one input u (B, D) and the last input; the new state is u."""
        return self._feed(u, state), u

    def scan(self, us: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs (T, B, D) for inputs us (T, B, D), and the last input."""
        return self._feed(us, torch.cat([state[None], us[:-1]])), us[-1]

    def _feed(self, u: Tensor, last: Tensor) -> Tensor:
        k, r = (last + share * (u - last) for share in self.mix)
        return torch.sigmoid(self.receptance(r)) * self.value(torch.relu(self.key(k)).square())


def _add_scaled(first: Elements, second: Elements) -> Elements:
    """Sum of two scaled pairs (exponent, numerator, denominator)."""
    top = torch.maximum(first[0], second[0])
    p, q = torch.exp(first[0] - top), torch.exp(second[0] - top)
    return top, p * first[1] + q * second[1], p * first[2] + q * second[2]


def _add_aged(earlier: Elements, later: Elements) -> Elements:
    """Sum over two consecutive intervals; the earlier one decays by the (logarithmic) decay of the later."""
    return earlier[0] + later[0], *_add_scaled((earlier[1] + later[0], *earlier[2:]), later[1:])
