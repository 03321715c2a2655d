"""Weights of the judge: saved with a card, and read back."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from geofold import resources
from geofold.learn.judge.encoder import InverseFolding
from geofold.learn.weights import load_frozen, save_weights

WEIGHTS = "loop_judge.safetensors"


def save_network(folder: str | Path, network: InverseFolding, card: dict[str, Any]) -> Path:
    """Write the weights (safetensors) and their card (JSON) into a folder; returns the path of the weights."""
    path = Path(folder) / WEIGHTS
    state = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    about = {"model": "inverse folding of loops", "options": network.options}
    save_weights(path, state, about | {"parameters": sum(p.numel() for p in network.parameters())} | card)
    return path


@cache
def shipped_judge() -> tuple[InverseFolding, dict[str, Any]]:
    """Load the judge that ships with the package, and its card."""
    return load_network(resources.find(WEIGHTS))


def load_network(path: str | Path, device: str = "cpu") -> tuple[InverseFolding, dict[str, Any]]:
    """Network of a weights file, frozen, and its card.

    Parameters
    ----------
    path : str or Path
        Weights; their card is in the same folder.
    device : str
        Device of the network.

    Raises
    ------
    InputFileError
        If the file is missing, truncated, changed, or holds something else.
    """
    network, card = load_frozen(path, lambda card: InverseFolding(**card.get("options", {})))
    return network.to(device), card
