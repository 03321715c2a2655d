"""Registry of all backbones by name, with constructors for small models."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from geofold.backbone.attention import Attention, FeedForward
from geofold.backbone.hippo import legt
from geofold.backbone.hybrid import jamba, selective_window, striped_hyena
from geofold.backbone.hyena import Hyena
from geofold.backbone.lag import LagOperator
from geofold.backbone.lssl import LinearStateSpace
from geofold.backbone.protocol import StreamingBackbone
from geofold.backbone.rnn import MinimalRecurrent
from geofold.backbone.rwkv import Rwkv, RwkvChannelMixing
from geofold.backbone.s4 import S4
from geofold.backbone.s4d import S4D
from geofold.backbone.s5 import S5
from geofold.backbone.selective import Selective
from geofold.backbone.ssd import ScalarDecay
from geofold.core.draws import DrawsFrom

ATTENTION_WINDOW = 64
"""Number of steps to which windowed attention attends."""

MIXERS: dict[str, Callable[[int], nn.Module]] = {
    "selective": lambda width: Selective(width, states=8),
    "ssd": ScalarDecay,
    "lssl": LinearStateSpace,
    "lssl_legt": lambda width: LinearStateSpace(width, memory=legt),
    "s4": S4,
    "s4d": S4D,
    "s5": S5,
    "lag": LagOperator,
    "lag_hyperbolic": lambda width: LagOperator(width, warp="hyperbolic"),
    "rwkv": Rwkv,
    "hyena": Hyena,
    "rnn": MinimalRecurrent,
    "transformer": Attention,
    "transformer_window": lambda width: Attention(width, window=ATTENTION_WINDOW),
}
"""Constructors of mixers; each is followed by a feed-forward layer."""
FEED_FORWARD: dict[str, Callable[[int], nn.Module] | None] = {
    "selective": None,
    "ssd": None,
    "rwkv": RwkvChannelMixing,
}
"""Feed-forward layers other than `FeedForward`; None: the mixer contains one."""
HYBRIDS: dict[str, Callable[[int], list[nn.Module]]] = {
    "jamba": jamba,
    "striped_hyena": striped_hyena,
    "selective_window": selective_window,
}
BACKBONE_NAMES = (*MIXERS, *HYBRIDS)
GROWING_STATE = ("transformer", "jamba", "striped_hyena")
"""Backbones with a full cache, whose state grows with the stream."""


def build_backbone(
    name: str, features: int, latent: int, *, width: int = 64, depth: int = 2, seed: int = 0
) -> StreamingBackbone:
    """Build a backbone with reproducible random weights.

    Parameters
    ----------
    name : str
        One of `BACKBONE_NAMES`.
    features, latent : int
        Number of observed features F and latent dimension d.
    width : int
        Width D, a multiple of 8.
    depth : int
        Number of blocks; hybrids have a fixed number.
    seed : int
        Seed of the weights.

    Returns
    -------
    StreamingBackbone

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if name not in BACKBONE_NAMES:
        raise ValueError(f"backbone {name!r}; expected one of {', '.join(BACKBONE_NAMES)}")
    with DrawsFrom(seed):
        if name in HYBRIDS:
            layers = HYBRIDS[name](width)
        else:
            layers = []
            for _ in range(depth):
                layers.append(MIXERS[name](width))
                if (feed_forward := FEED_FORWARD.get(name, FeedForward)) is not None:
                    layers.append(feed_forward(width))
        return StreamingBackbone(name, layers, features, latent, width)
