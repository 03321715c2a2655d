"""All backbones by name, built small and ready to be trained."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from geofold.backbone.attention import Attention, FeedForward
from geofold.backbone.hybrid import jamba, selective_window, striped_hyena
from geofold.backbone.hyena import Hyena
from geofold.backbone.lag import LagOperator
from geofold.backbone.lssl import LinearStateSpace
from geofold.backbone.protocol import StreamingBackbone
from geofold.backbone.rnn import MinimalRecurrent
from geofold.backbone.rwkv import Rwkv
from geofold.backbone.s4 import S4
from geofold.backbone.s4d import S4D
from geofold.backbone.s5 import S5
from geofold.backbone.selective import Selective
from geofold.backbone.ssd import ScalarDecay

ATTENTION_WINDOW = 64
"""Steps that windowed attention sees."""

MIXERS: dict[str, Callable[[int], nn.Module]] = {
    "selective": lambda width: Selective(width, states=8),
    "ssd": ScalarDecay,
    "lssl": LinearStateSpace,
    "lssl_legt": lambda width: LinearStateSpace(width, memory="legt"),
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
"""What mixes along time; each is followed by a feed-forward layer, but for the selective ones, which hold their own."""
HYBRIDS: dict[str, Callable[[int], list[nn.Module]]] = {
    "jamba": jamba,
    "striped_hyena": striped_hyena,
    "selective_window": selective_window,
}
WITHOUT_FEED_FORWARD = ("selective", "ssd")
BACKBONE_NAMES = (*MIXERS, *HYBRIDS)
GROWING_STATE = ("transformer", "jamba", "striped_hyena")
"""Those whose state grows with the stream: they hold a full cache."""


def build_backbone(
    name: str, features: int, latent: int, *, width: int = 64, depth: int = 2, seed: int = 0
) -> StreamingBackbone:
    """A backbone with random weights, the same for the same seed.

    Parameters
    ----------
    name : str
        One of `BACKBONE_NAMES`.
    features, latent : int
        What is observed and what is predicted.
    width : int
        A multiple of 8.
    depth : int
        Blocks; a hybrid has its own number.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if name not in BACKBONE_NAMES:
        raise ValueError(f"backbone {name!r}; expected one of {', '.join(BACKBONE_NAMES)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name in HYBRIDS:
            layers = HYBRIDS[name](width)
        else:
            layers = []
            for _ in range(depth):
                layers.append(MIXERS[name](width))
                if name not in WITHOUT_FEED_FORWARD:
                    layers.append(FeedForward(width))
        return StreamingBackbone(name, layers, features, latent, width)
