"""Hybrids of constant-size memory with a few attention layers, and feed-forward layers with experts.

Lieber et al., Jamba (2024): seven selective layers to one of attention, every second feed-forward a mixture of
experts. StripedHyena (Together, 2023): alternating Hyena and attention. Glossary: ``D`` width, ``X`` experts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geofold.backbone.attention import Attention, FeedForward
from geofold.backbone.hyena import Hyena
from geofold.backbone.selective import Selective


class Experts(nn.Module):
    """Mixture of experts: each step is processed by the `active` experts with the highest router scores.

    All experts are computed and the inactive ones have weight zero, which is faster on a CPU than gathering rows for
    models of this size.
    """

    def __init__(self, channels: int, experts: int = 4, active: int = 2, expand: int = 2) -> None:
        super().__init__()
        self.active = active
        self.route = nn.Linear(channels, experts, bias=False)
        self.up = nn.Parameter(torch.randn(experts, channels, expand * channels) / channels**0.5)
        self.down = nn.Parameter(torch.randn(experts, expand * channels, channels) / (expand * channels) ** 0.5)

    def init_state(self, batch: int, like: Tensor) -> tuple[()]:
        """Empty state, since the layer has no memory."""
        return ()

    def step(self, u: Tensor, state: tuple[()]) -> tuple[Tensor, tuple[()]]:
        """Apply the layer to each step independently."""
        hidden = torch.einsum("...d,xde->...xe", u, self.up)
        outcome = torch.einsum("...xe,xed->...xd", nn.functional.gelu(hidden), self.down)
        return (self.expert_weights(u)[..., None] * outcome).sum(-2), state

    scan = step

    def expert_weights(self, u: Tensor) -> Tensor:
        """Weights (..., X) of the experts: softmax over the active ones, zero for the others."""
        scores = self.route(u)
        threshold = scores.topk(self.active, -1).values[..., -1:]
        return scores.masked_fill(scores < threshold, -torch.inf).softmax(-1)


def jamba(channels: int, periods: int = 1, window: int | None = None) -> list[nn.Module]:
    """Layers of Jamba: one attention layer in eight; feed-forward after each layer, every second with experts."""
    layers: list[nn.Module] = []
    for number in range(8 * periods):
        layers.append(Attention(channels, window=window) if number % 8 == 4 else Selective(channels))
        layers.append(Experts(channels) if number % 2 else FeedForward(channels))
    return layers


def selective_window(channels: int, window: int = 64) -> list[nn.Module]:
    """Two selective layers with windowed attention between them; the state does not grow."""
    return [
        Selective(channels, states=8),
        Attention(channels, window=window),
        FeedForward(channels),
        Selective(channels, states=8),
    ]


def striped_hyena(channels: int, pairs: int = 1, window: int | None = None) -> list[nn.Module]:
    """Layers of StripedHyena: alternating Hyena and attention, each followed by a feed-forward layer."""
    layers: list[nn.Module] = []
    for _ in range(pairs):
        layers += [Hyena(channels), FeedForward(channels), Attention(channels, window=window), FeedForward(channels)]
    return layers
