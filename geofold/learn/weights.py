"""Weights of trained models (safetensors), each with a card (JSON): what the model is and how it was made.

The card holds the SHA-256 of the weights, so that a truncated or replaced file is noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from geofold.errors import InputFileError
from geofold.files import write_atomically

M = TypeVar("M", bound=nn.Module)


def save_weights(path: str | Path, weights: Mapping[str, Tensor], card: dict[str, Any]) -> None:
    """Write weights and, under the same name with the suffix .json, their card with the hash of the weights."""
    path = Path(path)
    write_atomically(path, lambda name: save_file({k: v.contiguous() for k, v in weights.items()}, name))
    text = json.dumps(card | {"sha256": data_hash(path)}, indent=2) + "\n"
    write_atomically(path.with_suffix(".json"), lambda name: Path(name).write_text(text, encoding="utf-8"))


def load_card(path: str | Path) -> dict[str, Any]:
    """Read the card of a weights file and check the hash of the weights.

    Raises
    ------
    InputFileError
        If the file or its card is missing, or the hash is not the one in the card.
    """
    path = Path(path)
    try:
        card: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        digest = data_hash(path)
        if not isinstance(card, dict):
            raise ValueError("its card is not a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise InputFileError(
            f"{path} cannot be read ({error})",
            "weights with their card in the same folder",
            "train again, or install geofold again",
        ) from None
    if card.get("sha256") != digest:
        raise InputFileError(
            f"{path} does not match its card (truncated or changed)",
            f"sha256 {card.get('sha256')}",
            "train again, or install geofold again",
        )
    return card


def load_weights(path: str | Path, model: nn.Module) -> None:
    """Load weights into a model, in place.

    Raises
    ------
    InputFileError
        If the file is not a weights file, or holds those of another model.
    """
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).split("\n")[0]
        raise InputFileError(
            f"{path} holds no weights of this model ({reason})",
            f"those of {type(model).__name__}",
            "train again with the same options",
        ) from None


def load_frozen(path: str | Path, build: Callable[[dict[str, Any]], M]) -> tuple[M, dict[str, Any]]:
    """Build a model from its card and load its weights, without gradients.

    Parameters
    ----------
    path : str or Path
        The weights file.
    build : callable
        Makes the untrained model from the card.

    Returns
    -------
    model, dict
        The model in evaluation mode, and its card.

    Raises
    ------
    InputFileError
        If the file is missing, truncated, changed, or holds something else.
    """
    card = load_card(path)
    try:
        model = build(card)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputFileError(
            f"{path} holds another model than is wanted ({reason})", "weights of that model", "check the path"
        ) from None
    load_weights(path, model)
    return model.eval().requires_grad_(False), card


def data_hash(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
