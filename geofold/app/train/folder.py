"""The folder of a training: made once, and taken up again by the same command only."""

from __future__ import annotations

import json
import os
from pathlib import Path

from geofold.errors import InputFileError, OutputError
from geofold.files import write_atomically

RUN = "run.json"
"""Which command the folder belongs to, and the hashes of what it was given."""
MADE_AGAIN = "remove it, and the command makes it again"


def open_run(out: str | Path, command: str, **sources: str) -> Path:
    """Return the folder of a training, made where there is none.

    Parameters
    ----------
    command : str
        As the card of the weights has it.
    sources
        Hashes of the files that the training reads.

    Raises
    ------
    OutputError
        If there can be no such folder.
    InputFileError
        If it belongs to another command, or to other data: half of what it holds would be taken for this one's.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(
            f"output {out} cannot be made a folder ({reason})", "a folder, or a name for one", "give another --out"
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"output {out} cannot be written", "a folder you may write to", "give another --out")
    own, path = {"command": command, **sources}, folder / RUN
    if not path.exists():
        text = json.dumps(own, indent=2) + "\n"
        write_atomically(path, lambda name: Path(name).write_text(text, encoding="utf-8"))
        return folder
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise InputFileError(
            f"{path} cannot be read ({error})", "what an earlier run wrote", "give another --out"
        ) from None
    for key in sorted(own.keys() | found.keys()):
        if own.get(key) != found.get(key):
            raise InputFileError(
                f"{out} holds another run ({key} {str(found.get(key))[:200]!r})",
                f"{key} {own.get(key)!r}",
                "give the same options and files as then, or another --out",
            )
    return folder
