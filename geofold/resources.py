"""Location of the package's data files, in a wheel or in a checkout.

``forcefields/`` and ``structures/`` are top-level folders of the repository. The wheel contains them as
``geofold/data/...``; in an editable install or an sdist they are next to the package. ``importlib.resources``
finds only the former, so both places are searched, the package first.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def find(*parts: str) -> Path:
    """Find a shipped file or folder, e.g. ``find("structures", "1ubi.pdb")``.

    Raises
    ------
    FileNotFoundError
        If neither the package nor the checkout contains it, i.e. the installation is damaged.
    """
    for base in (PACKAGE / "data", PACKAGE.parent):
        path = base.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError(f"geofold: {'/'.join(parts)} is not in this installation; install geofold again")


@cache
def shipped_weights() -> dict[str, str]:
    """SHA-256 of each shipped weights file, from its JSON card, by the card's file name."""
    cards = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in (PACKAGE / "data").glob("*.json")}
    return {name: card["sha256"] for name, card in sorted(cards.items()) if "sha256" in card}


def forcefield_directory() -> str:
    """Folder of the package's OpenMM XML files, for the ``openmm.forcefielddir`` entry point (which needs a str)."""
    return str(find("forcefields"))
