"""A structure made ready for a simulation: what OpenMM's force fields accept as it is.

Side chains, gaps and hydrogens are those of `geofold.app.fix`. The new file has the amino acids alone, in
one conformer, with complete chain ends, and with a new chain after each break, so that no bond is made across it.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geofold.app.fix import Fix
from geofold.app.report.chain_breaks import breaks
from geofold.app.result import Result
from geofold.app.sources import load
from geofold.errors import OptionError
from geofold.modelling.options import RunOptions
from geofold.modelling.progress import ProgressCallback
from geofold.molecule.energy.all_atom import Completed
from geofold.molecule.energy.amber import ForceField
from geofold.molecule.energy.hydrogens import PH
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.io.mmcif_writer import CifDocument
from geofold.molecule.io.read import read
from geofold.molecule.selection import incomplete_backbones
from geofold.molecule.structure import Structure
from geofold.molecule.topology.given_sequences import with_given_sequences

READY, REMOVED = "made ready", "removed"
"""Names of the steps in the report."""
PH_LIMITS = (0.0, 14.0)


@dataclass(eq=False)
class Prepare(Fix):
    """A structure between the steps of `prepare`.

    Attributes
    ----------
    ph : float
        By which hydrogens are added.
    """

    ph: float = PH

    def run(self) -> None:
        """Complete side chains, build gaps, name what is left out, and write the file that a force field accepts."""
        self.complete_residues()
        self.build_gaps()
        options, structure = self.options, self.structure
        field, conformer = options.force_field_value, structure.conformer(options.altloc)
        model = EnergyModel.of(structure, conformer, force_field=field, ph=self.ph).completed
        self._record_removed(model)
        letters = sorted(set(structure.altloc.tolist()) - {""})
        done = [f"{int((model.source < 0).sum())} atoms added, hydrogens at pH {self.ph:g}"]
        done += [f"alternate locations resolved ({', '.join(letters)})"] if letters else []
        left = [f"{gap['after']} to {gap['before']}: a break; both sides are chain ends" for gap in breaks(structure)]
        content = text_of(model, structure)
        require_accepted(content, field)
        self.record(READY, done, left)
        self.structure = read(content, name=structure.source)

    def _record_removed(self, model: Completed) -> None:
        """Name the residues that are not in a model: waters, what has no parameters, incomplete backbones."""
        structure, included = self.structure, set(model.residue.tolist())
        waters = sum(structure.is_water(k) for k in range(len(structure.residues)))
        others = [
            f"{residue.label} {residue.resname}"
            for k, residue in enumerate(structure.residues)
            if k not in included and not structure.is_water(k)
        ]
        torn = [f"{text}: removed, for no sequence says how to build it" for text in incomplete_backbones(structure)]
        self.record(REMOVED, [f"{waters} waters"] * bool(waters) + others, torn)


def prepare(
    source: Any,
    *,
    ph: float = PH,
    fasta: str | Path | None = None,
    seed: int = 0,
    altloc: str | None = None,
    energy: bool = True,
    force_field: str = RunOptions.force_field,
    streams: int = RunOptions.streams,
    rounds: int = RunOptions.rounds,
    budget: float | None = None,
    name: str | None = None,
    progress: ProgressCallback | None = None,
) -> Result:
    """Make a structure that OpenMM accepts: complete amino acids with hydrogens, one conformer, nothing else.

    Parameters
    ----------
    source : path, bytes, str, file or toolkit object
        As for `repair`.
    ph : float
        By which acids, bases, histidines and cysteines are protonated.
    fasta : path or str, optional
        Sequences of the chains, in FASTA or UniProt text, in place of those in the file.
    seed, altloc, energy, force_field, streams, rounds, budget
        See `RunOptions`.
    name : str, optional
        Name of the input in the report.
    progress : callable, optional
        As for `repair`.

    Returns
    -------
    Result
        Its report has `steps`: what each did, and what it left and why. The file has been read back by OpenMM, and a
        System was made of it.

    Raises
    ------
    GeofoldError
        For input that cannot be used; the message says what to do.
    """
    if not PH_LIMITS[0] <= ph <= PH_LIMITS[1]:
        raise OptionError(f"ph {ph}", f"a number from {PH_LIMITS[0]:g} to {PH_LIMITS[1]:g}", "give another --ph")
    options = RunOptions(
        seed=seed,
        altloc=altloc,
        energy=energy,
        force_field=force_field,
        streams=streams,
        rounds=rounds,
        budget=budget,
    )
    original = with_given_sequences(load(source, name), fasta)
    state = Prepare(original, options, progress, time.perf_counter(), ph=ph)
    state.run()
    result = state.finish(original)
    return replace(result, report=result.report | {"command": "prepare"})


def text_of(model: Completed, structure: Structure) -> bytes:
    """Write an all-atom model in the format of its structure, with the structure's chains and numbers.

    Parameters
    ----------
    model : Completed
    structure : Structure
        With the residues of the model.
    """
    import openmm.app
    import openmm.unit

    owner = dict(zip((atom.residue.index for atom in model.topology.atoms()), model.residue.tolist(), strict=True))
    for chain in model.topology.chains():
        for residue in chain.residues():
            own = structure.residues[owner[residue.index]]
            residue.id, residue.insertionCode, chain.id = str(own.resnum), own.icode or " ", own.chain or " "
    text, positions = io.StringIO(), model.xyz * openmm.unit.nanometer
    is_cif = isinstance(structure.document, CifDocument)
    writer = openmm.app.PDBxFile if is_cif else openmm.app.PDBFile
    writer.writeFile(model.topology, positions, text, keepIds=True)
    lines = text.getvalue().splitlines(keepends=True)
    return "".join(line for line in lines if "OPENMM" not in line.upper()).encode()  # that line has a date


def require_accepted(content: bytes, force_field: ForceField) -> None:
    """Refuse a file of which OpenMM makes no System.

    Raises
    ------
    ForceFieldError
        With what OpenMM says.
    """
    import openmm.app

    text = content.decode()
    kind = openmm.app.PDBxFile if text.startswith("data_") else openmm.app.PDBFile
    force_field.official_system(kind(io.StringIO(text)).topology)
