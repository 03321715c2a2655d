"""Summary of a run for the terminal, made from its report."""

from __future__ import annotations

from typing import Any

from geofold.app.report.metrics import METRICS
from geofold.modelling.repair.detection import plddt_lines
from geofold.molecule.selection import MAX_LISTED
from geofold.molecule.vdw_radii import SEVERE_OVERLAP
from geofold.terminal import printable_values


def summary(report: dict[str, Any]) -> str:
    """Summarise a report in a few lines of printable characters."""
    report = printable_values(report)
    before, after = report["before"], report["after"]
    lines = [f"{report['command']} of {report['input']['name']}: {target_of(report)}"]

    def row(name: str, start: Any, end: Any, unit: str = "") -> None:
        lines.append(f"  {name:<26}{start!s:>12} -> {end!s:>12} {unit}".rstrip())

    if "built" in report:  # residues that were missing have no other measurement before
        row("missing residues", before["missing_residues"], after["missing_residues"])
    for step in report.get("steps", []):
        lines.append(f"  {step['step']}: {', '.join(step['done']) or 'none'}")
        lines += [f"    left: {text}" for text in step["left"]]
    where = _scope(report)
    for metric in METRICS:
        if metric.value(after) is not None and (where is not None or metric.unit(after)):
            unit = metric.unit(after) or where or ""
            row(metric.label, metric.summarise(before), metric.summarise(after), unit)
    for contact in report.get("contacts", []):
        row(contact["contact"], contact["before_angstrom"], contact["after_angstrom"], "A")
    moved = report["moved"]
    furthest = moved["max_displacement_angstrom"]
    for built in report.get("built", []):
        sequence = f"{built['sequence']} (sequence: {built['sequence_from']})"
        lines.append(f"  built {built['residues']} {sequence}, {built['atoms']} atoms")
    if "density" in report:
        density = report["density"]
        row("map correlation", density.get("correlation_before", "-"), density["correlation"])
    for pair in report.get("copies", {}).get("compared", []):
        lines.append(
            f"  {pair['residues']} copies {pair['of']}: {pair['backbone_rmsd_angstrom']} A apart (backbone RMSD)"
        )
    lines += [f"  not copied: {text}" for text in report.get("copies", {}).get("left", [])]
    if "copies" in report and not any(report["copies"].values()):
        lines.append("  no other chain has the residues around these loops")
    if "caps" in report and "steps" not in report:
        lines += [_cap(cap) for cap in report["caps"]["added"]]
        lines += [f"  removed: {', '.join(report['caps']['removed_atoms'])}"] if report["caps"]["removed_atoms"] else []
        lines += [f"  not capped: {text}" for text in report["caps"]["left"]]
    if moved["atoms"] or ("built" not in report and "steps" not in report):
        lines.append(f"  moved {moved['atoms']} atoms of {len(moved['residues'])} residues, at most {furthest} A")
    if neighbours := report.get("repacked", {}).get("residues"):
        rest = f" and {len(neighbours) - MAX_LISTED} more" if len(neighbours) > MAX_LISTED else ""
        lines.append(f"  repacked side chains around: {', '.join(neighbours[:MAX_LISTED])}{rest}")
    if "plddt" in report:
        lines += [f"  {line}" for line in plddt_lines(report["plddt"])]
    for loop, interval in zip(report.get("loops", []), report.get("confidence", []), strict=False):
        if interval is None:
            continue
        near, far = interval["from_angstrom"], interval["to_angstrom"]
        chance = round(100 * interval["probability_within_2_angstrom"])
        lines.append(
            f"  {loop}: estimated error {interval['expected_rmsd_angstrom']} A (backbone RMSD; 68 % interval "
            f"{near}-{far} A); {chance} % chance of less than 2 A"
        )
        errors = interval["residue_error_angstrom"]
        worst = max(errors, key=errors.__getitem__)
        lines.append(f"  {loop}: largest expected error of a residue {errors[worst]} A, at {worst}")
    lines += [f"  note: {note}" for note in report["notes"]]
    failed = [c["name"] for c in report["audit"]["checks"] if not c["passed"]]
    lines.append("  audit: passed" if not failed else f"  audit: FAILED: {', '.join(failed)}")
    return "\n".join(lines)


def _scope(report: dict[str, Any]) -> str | None:
    """Name what the counts of a report refer to: the loops; empty for the whole structure; None without loops."""
    if report["command"] != "repair":
        return ""
    loops = report.get("loops", [])
    return f"in the {'loop' if len(loops) == 1 else 'loops'}" if loops else None


def _cap(cap: dict[str, Any]) -> str:
    """Line of the summary on a cap, with its worst severe overlap."""
    overlap = cap["overlap_angstrom"]
    return f"  {cap['name']} {cap['residue']} caps {cap['bonded_to']}" + (
        f": overlaps another atom by {overlap} A" if overlap > 10 * SEVERE_OVERLAP else ""
    )


def target_of(report: dict[str, Any]) -> str:
    """Name the loops or the chain that moved."""
    if report["command"] in ("fix", "prepare"):
        left = sum(len(step["left"]) for step in report["steps"])
        nothing = f"nothing done, {left} left as {'it is' if left == 1 else 'they are'}" if left else "nothing to do"
        return "done" if any(step["done"] for step in report["steps"]) else nothing
    if report["command"] == "repair":
        nothing = "no loop is in trouble" if report["options"].get("cap") is None else "caps only"
        return ", ".join(report.get("loops", [])) or nothing
    return ", ".join(report.get("loops", [])) or "whole chain"
