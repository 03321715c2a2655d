"""The start of a session, from a structure, a sequence or the first line of a script, and the replay of a script."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterable
from typing import Any

import numpy as np

from geofold.app.live.actions import read_script
from geofold.app.live.session import Session
from geofold.app.start import load_or_build
from geofold.app.steering.segment import MovingSegment
from geofold.errors import ActionError, OptionError
from geofold.modelling.options import RunOptions
from geofold.molecule.io.write import render
from geofold.molecule.structure import Structure

LARGEST = 3000
"""Largest number of amino acids of a structure."""
OPTIONS = ("seed", "altloc", "predictor", "force_field")
"""Options of a run that a script records."""


def open_session(
    structure: Any = None,
    contacts: str | Iterable[str] = (),
    *,
    sequence: str | None = None,
    loop: str | None = None,
    start: str = "extended",
    options: RunOptions | None = None,
    name: str | None = None,
) -> Session:
    """Open a session without a server.

    Parameters
    ----------
    structure, contacts, sequence, loop, start, name
        As for `geofold.live`.
    options : RunOptions, optional

    Raises
    ------
    GeofoldError
        For input that cannot be used.
    """
    options = options or RunOptions()
    contacts = [contacts] if isinstance(contacts, str) else list(contacts)
    given = load_or_build(structure, sequence, start, options.seed, name)
    count = sum(given.is_amino_acid(k) for k in range(len(given.residues)))
    if count > LARGEST:
        raise OptionError(f"{count} amino acids", f"at most {LARGEST}", "cut out the surroundings of the loop")
    recorded: dict[str, Any] = {"loop": loop, "contacts": contacts}
    recorded["options"] = {key: getattr(options, key) for key in OPTIONS}
    recorded["input"] = (
        {"sequence": sequence, "start": start}
        if sequence is not None
        else {"name": given.source, "file": _packed(given)}
    )
    return Session(MovingSegment.of(given, contacts, loop, options), contacts, recorded)


def replay(text: str, name: str = "the script") -> Session:
    """Repeat a recorded session.

    Parameters
    ----------
    text : str
        Script, as `Session.script` has it.
    name : str
        Name of its file in messages.

    Raises
    ------
    GeofoldError
        If the script cannot be read, or an action cannot be done.
    """
    first, actions = read_script(text, name)
    try:
        given = first["input"]
        options = RunOptions(**{key: first["options"][key] for key in OPTIONS})
        whole = {"contacts": [str(text) for text in first["contacts"]], "loop": first["loop"], "options": options}
        if "sequence" in given:
            session = open_session(sequence=given["sequence"], start=given["start"], **whole)
        else:
            content = gzip.decompress(base64.b64decode(given["file"], validate=True))
            session = open_session(content, name=given["name"], **whole)
    except (KeyError, TypeError, ValueError, EOFError, OSError):
        raise ActionError(
            f"{name} with an incomplete start", "the first line of a saved script", "save it again"
        ) from None
    for action in actions:
        session.act(action)
    return session


def _packed(structure: Structure) -> str:
    """Content of the structure's file, compressed and in base 64."""
    content = render(structure, structure.xyz, np.zeros(len(structure), dtype=bool))
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()
