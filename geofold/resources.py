"""Where the package's own files lie: inside the wheel, or beside the package in a checkout.

``forcefields/`` and ``structures/`` are top-level folders of the repository. The wheel carries them as
``geofold/data/...``; an editable install and an sdist have them beside the package. ``importlib.resources``
alone finds only the first, so we look in both places, the package first.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def find(*parts: str) -> Path:
    """Path of a shipped file or folder, e.g. ``find("structures", "1ubi.pdb")``.

    Raises
    ------
    FileNotFoundError
        If neither the package nor the checkout has it: the installation is damaged.
    """
    for base in (PACKAGE / "data", PACKAGE.parent):
        path = base.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError(f"geofold: {'/'.join(parts)} is not in this installation; install geofold again")


@cache
def shipped_weights() -> dict[str, str]:
    """SHA-256 of each file of weights that ships, as its card tells it, by the card's name."""
    cards = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in (PACKAGE / "data").glob("*.json")}
    return {name: card["sha256"] for name, card in sorted(cards.items()) if "sha256" in card}


def forcefield_directory() -> str:
    """Folder of our OpenMM XML files, as the ``openmm.forcefielddir`` entry point wants it (a str)."""
    return str(find("forcefields"))
