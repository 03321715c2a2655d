"""Weights of trained models, each with a card that says what they are and how they were made."""

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
    """Weights (safetensors) and beside them their card (JSON), which names their hash."""
    path = Path(path)
    write_atomically(path, lambda name: save_file({k: v.contiguous() for k, v in weights.items()}, name))
    text = json.dumps(card | {"sha256": _digest(path)}, indent=2) + "\n"
    write_atomically(path.with_suffix(".json"), lambda name: Path(name).write_text(text, encoding="utf-8"))


def load_card(path: str | Path) -> dict[str, Any]:
    """Card of a weights file, its hash checked.

    Raises
    ------
    InputFileError
        If the file or its card is missing, or the file is not the one that the card speaks of.
    """
    path = Path(path)
    try:
        card: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        digest = _digest(path)
        if not isinstance(card, dict):
            raise ValueError("its card is no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise InputFileError(f"{path} cannot be read ({error})", "weights with their card beside them",
                             "train again, or install geofold again") from None  # fmt: skip
    if card.get("sha256") != digest:
        raise InputFileError(
            f"{path} is not the file that its card speaks of (truncated or changed)",
            f"sha256 {card.get('sha256')}", "train again, or install geofold again",
        )  # fmt: skip
    return card


def load_weights(path: str | Path, model: nn.Module) -> None:
    """Put weights into a model.

    Raises
    ------
    InputFileError
        If the file is no such weights, or those of another model.
    """
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = str(error).split("\n")[0]
        raise InputFileError(f"{path} holds no weights of this model ({reason})", f"those of {type(model).__name__}",
                             "train again with the same options") from None  # fmt: skip


def load_frozen(path: str | Path, build: Callable[[dict[str, Any]], M]) -> tuple[M, dict[str, Any]]:
    """Model of a weights file, and its card.

    Parameters
    ----------
    build
        Makes the model, untrained, from the card.

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
        raise InputFileError(f"{path} holds another model than is wanted ({reason})", "weights of that model",
                             "check the path") from None  # fmt: skip
    load_weights(path, model)
    return model.eval().requires_grad_(False), card


def data_hash(path: str | Path) -> str:
    """sha256 of a data file."""
    return _digest(Path(path))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
