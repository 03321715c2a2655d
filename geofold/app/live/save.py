"""Files of a session: the structure, its report, and the script that replays it."""

from __future__ import annotations

import asyncio

from geofold.app.live.session import Session
from geofold.app.result import Result
from geofold.files import encoded
from geofold.molecule.io.mmcif_new import new_mmcif
from geofold.molecule.io.mmcif_writer import CifDocument
from geofold.molecule.io.pdb_models import document_of

FILES = {
    "geofold.pdb": "chemical/x-pdb",
    "geofold.cif": "chemical/x-mmcif",
    "report.json": "application/json",
    "actions.jsonl": "application/jsonl",
}
"""Files that can be saved, and their types."""


async def saved_file(session: Session, name: str) -> bytes:
    """Return the content of a file.

    Parameters
    ----------
    session : Session
        Is read at once; the measurements are then made in a thread.
    name : str
        One of `FILES`.
    """
    if name == "actions.jsonl":
        return encoded(session.script.text())
    segment, outcome, bands = session.segment, session.outcome(), session.restraints.bands
    result = await asyncio.to_thread(segment.result, "live", outcome, energy=name == "report.json", contacts=bands)
    return encoded(result.report_text()) if name == "report.json" else structure_file(result, name)


def structure_file(result: Result, name: str) -> bytes:
    """Render the structure of a result as PDB or mmCIF, by the ending of a name.

    The format of the input is kept byte for byte where nothing moved; another format is written from scratch.
    """
    structure = result.structure
    is_cif = isinstance(structure.document, CifDocument)
    if name.endswith(".cif"):
        return result.content if is_cif else new_mmcif(structure, result.xyz, result.altloc)
    if not is_cif:
        return result.content
    moved = abs(result.xyz - structure.xyz).max(1) > 0
    return document_of(structure).render(structure, result.xyz, moved)
