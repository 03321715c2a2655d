"""Everything that a structure lacks, in one call: side chains, gaps, anomalous loops; if asked, ends and hydrogens.

Each step is a run of its own, named in the report with what it did and what it left. A structure that lacks nothing
stays as it is, byte for byte.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from geofold.app.caps import overlap_check
from geofold.app.closable_builds import closable_builds
from geofold.app.complete_residues import complete_residues
from geofold.app.finalise import finish
from geofold.app.repair_runs import Requests, build_missing, repair_existing
from geofold.app.report.chain_breaks import breaks, missing_ends, why_not_built
from geofold.app.report.check import measure_whole
from geofold.app.result import Result
from geofold.app.sources import load
from geofold.errors import BuildError
from geofold.modelling.option_table import AUTO
from geofold.modelling.options import RunOptions
from geofold.modelling.progress import ProgressCallback
from geofold.modelling.repair.detection import detect_ranges, report_plddt
from geofold.modelling.threads import one_thread
from geofold.molecule.caps.capping import cap_chains
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.io.edit import with_atoms
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.structure import AddedAtom, Structure
from geofold.molecule.topology.gaps import find_gaps
from geofold.molecule.topology.given_sequences import with_given_sequences

SIDE_CHAINS, GAPS, ENDS, CAPS = "side chains completed", "gaps built", "chain ends built", "chain ends capped"
LOOPS, HYDROGENS = "loops repaired", "hydrogens added"
"""Names of the steps in the report."""


@dataclass(eq=False)
class Fix:
    """A structure between the steps.

    Attributes
    ----------
    structure : Structure
    options : RunOptions
    progress : callable or None
    began : float
        Start on `time.perf_counter` (s).
    steps : list of dict
        Entries of the report.
    result : Result or None
        Of the last step that moved something.
    checks : list of dict
        Audits of all steps.
    caps : dict or None
        Section of the report, if chain ends were capped.
    repacked : list of str
        Neighbours of loops whose side chains were repacked.
    """

    structure: Structure
    options: RunOptions
    progress: ProgressCallback | None
    began: float
    steps: list[dict[str, Any]] = field(default_factory=list)
    result: Result | None = None
    checks: list[dict[str, Any]] = field(default_factory=list)
    caps: dict[str, Any] | None = None
    repacked: list[str] = field(default_factory=list)

    def record(self, name: str, done: list[str], left: list[str]) -> None:
        """Add a step to the report: what it did, and what it left and why."""
        self.steps.append({"step": name, "done": done, "left": left})

    def take(self, result: Result, name: str) -> None:
        """Continue from a result."""
        self.result = result
        self.checks += [check | {"name": f"{name}: {check['name']}"} for check in result.report["audit"]["checks"]]
        self.repacked += result.report.get("repacked", {}).get("residues", [])
        self.structure = self._read(result.content)

    def take_edit(self, edited: Structure) -> None:
        """Continue with an edited structure, as a file has it."""
        self.structure = self._read(_content(edited))

    def _read(self, content: bytes) -> Structure:
        """Structure of the content of a file, with the sequences that the user gave."""
        before = self.structure
        return replace(read(content, name=before.source), given=before.given, given_from=before.given_from)

    def complete_residues(self) -> None:
        """Add backbone oxygens, and complete side chains of residues with a complete backbone."""
        completed = complete_residues(self.structure, self.options.seed)
        self.record(SIDE_CHAINS, completed.done, completed.left)
        if completed.done:
            self.take_edit(completed.structure)
            self.checks += [check.as_dict() | {"name": f"{SIDE_CHAINS}: {check.name}"} for check in completed.checks]

    def build_gaps(self) -> None:
        """Build every gap with a known sequence."""
        gaps = breaks(self.structure)
        left = [f"{gap['after']} to {gap['before']}: {reason}" for gap in gaps if (reason := why_not_built(gap))]
        wanted, done = [gap["build"] for gap in gaps if why_not_built(gap) is None], list[str]()
        if wanted:
            with one_thread():
                wanted = closable_builds(self.structure, wanted, self.options)
            done, refused = self._build(wanted)
            left += refused
        self.record(GAPS, done, left)

    def _build(self, texts: list[str]) -> tuple[list[str], list[str]]:
        """Build gaps together or, if that is refused, one by one; returns what was built, and what not, and why."""
        try:
            result = build_missing(self.structure, Requests(texts), self.options, self.began, self.progress)
        except BuildError as error:
            if len(texts) == 1:
                return [], [f"{texts[0]}: {error}"]
            parts = [self._build([text]) for text in texts]
            return [one for done, _ in parts for one in done], [one for _, left in parts for one in left]
        self.take(result, GAPS)
        return result.report["loops"], []

    def build_ends(self) -> None:
        """Build every chain end whose sequence is known, if it is not too long."""
        ends = missing_ends(self.structure)
        left = [f"{end['side']} {end['at']}: {end['not_built_because']}" for end in ends if end["build"] is None]
        wanted = [end["build"] for end in ends if end["build"] is not None]
        if wanted:
            result = build_missing(self.structure, Requests(wanted), self.options, self.began, self.progress)
            self.take(result, ENDS)
        self.record(ENDS, wanted, left)

    def add_caps(self) -> None:
        """Cap the chain ends that are left, where the options ask for it."""
        if self.options.cap is None:
            return
        capped = cap_chains(self.structure, self.options.cap, altloc=self.options.altloc)
        self.record(CAPS, capped.texts(), list(capped.left))
        if capped.caps:
            self.caps = capped.report()
            self.checks.append(overlap_check(capped).as_dict())
            self.take_edit(capped.structure)

    def repair_loops(self) -> None:
        """Repair the loops that look wrong."""
        with one_thread():
            texts = detect_ranges(self.structure, self.options.altloc)
        if texts:
            self.take(repair_existing(self.structure, texts, self.options, self.began, self.progress), LOOPS)
        self.record(LOOPS, texts, [])

    def add_hydrogens(self) -> None:
        """Add the hydrogens that a force field needs at pH 7, and the second oxygen of each chain's end."""
        structure = self.structure
        model = EnergyModel.of(
            structure, structure.conformer(self.options.altloc), force_field=self.options.force_field_value
        ).completed
        last = {r.chain: k for k, r in enumerate(structure.residues) if structure.is_amino_acid(k)}
        ends = set(last.values())
        added = [
            AddedAtom(int(k), atom.name, atom.element.symbol.upper(), xyz)
            for atom, source, k, xyz in zip(model.topology.atoms(), model.source, model.residue, model.xyz, strict=True)
            if source < 0 and (atom.element.symbol == "H" or (atom.name == "OXT" and int(k) in ends))
        ]
        left = [f"{name}: no parameters in {self.options.force_field}" for name in model.left_out]
        left += [
            f"{structure.residues[gap.before].label} to {structure.residues[gap.after].label}: protonated as chain ends"
            for gap in find_gaps(structure)
            if not (structure.bonded(gap.before, gap.before + 1) and structure.bonded(gap.after - 1, gap.after))
        ]
        self.record(HYDROGENS, [f"{len(added)} atoms"] if added else [], left)
        if added:
            self.take_edit(with_atoms(structure, added))

    def finish(self, original: Structure) -> Result:
        """Return the result of all steps, with measurements of the whole structure before and after."""
        if self.result is None:
            result = finish("repair", self.structure, original, [], [], self.options, self.began)
        else:
            result = self.result
        if not any(step["done"] for step in self.steps):
            content, structure = result.content, result.structure
        else:
            structure = self.structure
            content = _content(structure)
        before, after = (measure_whole(one, self.options.altloc) for one in (original, structure))
        report = result.report | {
            "command": "fix",
            "steps": self.steps,
            "before": before,
            "after": after,
            **({} if (plddt := report_plddt(original)) is None else {"plddt": plddt}),
            "audit": {"passed": all(check["passed"] for check in self.checks), "checks": self.checks},
        }
        report.pop("built", None)
        if self.options.shell:
            report["repacked"] = {"shell_angstrom": self.options.shell, "residues": list(dict.fromkeys(self.repacked))}
        if self.caps is not None:
            report["caps"] = self.caps
        frames = result.frames if len(structure) == len(result.structure) else structure.xyz[None]
        return replace(
            result, structure=structure, xyz=structure.xyz, frames=frames, content=content, report=report, others=()
        )


def fix(
    source: Any,
    *,
    hydrogens: bool = False,
    ends: bool = False,
    fasta: str | Path | None = None,
    seed: int = 0,
    altloc: str | None = None,
    energy: bool = True,
    force_field: str = RunOptions.force_field,
    streams: int = RunOptions.streams,
    rounds: int = RunOptions.rounds,
    budget: float | None = None,
    repack_shell: float | str | None = None,
    cap: str | None = None,
    confidence_in_b: bool = False,
    name: str | None = None,
    progress: ProgressCallback | None = None,
) -> Result:
    """Complete side chains, build gaps with a known sequence, repair loops that look wrong; more if asked.

    Parameters
    ----------
    source : path, bytes, str, file or toolkit object
        As for `repair`.
    hydrogens : bool
        Whether to add the hydrogens that a force field needs at pH 7.
    ends : bool
        Whether to build chain ends of up to 15 residues whose sequence is known, though nothing determines them.
    fasta : path or str, optional
        Sequences of the chains, in FASTA or UniProt text, in place of those in the file: a file, or the text itself.
        They are aligned to the chains, and disagreements are in the report's notes.
    seed, altloc, energy, force_field, streams, rounds, budget, repack_shell, cap, confidence_in_b
        See `RunOptions`.
    name : str, optional
        Name of the input in the report.
    progress : callable, optional
        As for `repair`.

    Returns
    -------
    Result
        Its report has `steps`: what each did, and what it left and why. With nothing to do, the structure is returned
        unchanged. The audit holds the checks of all steps.

    Raises
    ------
    GeofoldError
        For input that cannot be used; the message says what to do.
    """
    options = RunOptions(
        seed=seed,
        altloc=altloc,
        energy=energy,
        force_field=force_field,
        streams=streams,
        rounds=rounds,
        budget=budget,
        repack_shell=AUTO if repack_shell is None else repack_shell,
        cap=cap,
        confidence_in_b=confidence_in_b,
    )
    original = with_given_sequences(load(source, name), fasta)
    run = Fix(original, options, progress, time.perf_counter())
    steps: list[Callable[[], None]] = [
        run.complete_residues,
        run.build_gaps,
        *([run.build_ends] if ends else []),
        run.add_caps,
        run.repair_loops,
        *([run.add_hydrogens] if hydrogens else []),
    ]
    for step in steps:
        step()
    return run.finish(original)


def _content(structure: Structure) -> bytes:
    """Content of the file of a structure that nothing was moved in."""
    return render(structure, structure.xyz, np.zeros(len(structure), dtype=bool))
