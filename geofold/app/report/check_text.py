"""Text form of the report of `check`."""

from __future__ import annotations

from typing import Any

from geofold.app.report.chain_breaks import why_not_built
from geofold.app.report.metrics import METRICS
from geofold.modelling.repair.detection import plddt_lines
from geofold.terminal import printable_values, shell_quoted

SHOWN = 3
"""Number of incomplete residues that are named."""


def check_text(report: dict[str, Any]) -> str:
    """Format the report of `check` as lines of printable characters; commands are quoted for a shell."""
    raw, report = report, printable_values(report)
    numbers = report["before"]
    lines = [
        f"{report['input']['name']}: {report['input']['amino_acids']} amino acids, {', '.join(report['residues'])}",
    ]
    for metric in METRICS:
        if metric.value(numbers) is not None:
            lines.append(f"  {metric.label:<22} {metric.describe(numbers)} {metric.unit(numbers)}".rstrip())
    for gap, shown in zip(raw["chain_breaks"], report["chain_breaks"], strict=True):
        lines += _gap(shown, _command(raw, gap["build"]))
    for end, shown in zip(raw["chain_ends"], report["chain_ends"], strict=True):
        lines += _end(shown, _command(raw, end["build"]))
    known = sum(why_not_built(gap) is None for gap in raw["chain_breaks"])
    if known > 1:
        lines.append(f"  to build all gaps      {_command(raw, 'all')}")
    if sum(end["build"] is not None for end in raw["chain_ends"]) > 1:
        lines.append(f"  to build all ends      {_command(raw, 'ends')}")
    if report["prior"] is not None:
        low = ", ".join(f"{part['residues']} ({part['mean_nat']})" for part in report["prior"]["unlikely"])
        of_all = f"; all residues {report['prior']['mean_nat']} (mean log-likelihood)" if low else ""
        lines.append(f"  unusual torsions       {low or 'none'}{of_all}")
    bad = ", ".join(part["residues"] for part in report["trouble"]["stretches"])
    lines.append(f"  loops that look wrong  {bad or 'none'}")
    if bad:
        lines.append(f"    to repair them       {_command(raw, 'all' if known else '', ' --auto')}")
    lines += _side_chains(raw, report.get("incomplete_side_chains", []))
    if "plddt" in report:
        lines += [f"  {line}" for line in plddt_lines(report["plddt"])]
    return "\n".join(lines + [f"  note: {note}" for note in report["notes"]])


def find_faults(report: dict[str, Any]) -> list[str]:
    """Names of what is wrong with a structure by its report: overlaps, outliers, chain breaks and so on."""
    before = report["before"]
    faults = {
        "severe overlaps": before["severe_overlaps"],
        "Ramachandran outliers": before["ramachandran"]["outliers"],
        "chain breaks": len(report["chain_breaks"]),
        "anomalous segments": len(report["trouble"]["stretches"]),
        "incomplete side chains": len(report.get("incomplete_side_chains", [])),
    }
    return [name for name, count in faults.items() if count]


def _command(report: dict[str, Any], build: str | None, others: str = "") -> str:
    """Return the command that builds a gap of a file (none if empty), with other options.

    Parameters
    ----------
    report : dict
    build : str or None
        Argument of `--build`; None: there is no command, and the text is empty.
    others : str
        Other options, after a blank.
    """
    if build is None:
        return ""
    fasta = report["input"].get("fasta")
    built = f" --build {shell_quoted(build)}" if build else ""
    sequences = f" --fasta {shell_quoted(fasta)}" if fasta and build else ""
    return f"geofold repair {_file(report)}{built}{sequences}{others} -o OUT"


def _file(report: dict[str, Any]) -> str:
    """Name of the input as an argument of a command."""
    name = report["input"]["name"]
    return shell_quoted(f"./{name}" if name.startswith("-") else name)


def _side_chains(report: dict[str, Any], listed: list[str]) -> list[str]:
    """Lines on incomplete side chains, and the command that completes them."""
    if not listed:
        return []
    rest = f"; and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return [
        f"  incomplete residues    {len(listed)} ({'; '.join(listed[:SHOWN])}{rest})",
        f"    to complete them     geofold fix {_file(report)} -o OUT",
    ]


def _gap(gap: dict[str, Any], command: str) -> list[str]:
    """Format a chain break, the missing residues and the command that builds them."""
    where = f"after {gap['after']}, before {gap['before']}: {gap['distance_angstrom']} A"
    missing = f"{gap['missing']} residues" if gap["missing"] != 1 else "1 residue"
    known = f"{gap['sequence']} ({gap['sequence_from']})" if gap["sequence"] else "by the numbers, sequence not known"
    lines = [f"  chain break            {where}"]
    if gap["missing"]:
        lines.append(f"    missing              {missing}, {known}")
    if gap["build"] is not None:
        lines.append(f"    to repair it         {command}")
    else:
        lines.append(f"    cannot be built      {gap['not_built_because']}")
    return lines


def _end(end: dict[str, Any], command: str) -> list[str]:
    """Format a missing chain end, its residues and the command that builds them."""
    count = f"{end['missing']} residues" if end["missing"] != 1 else "1 residue"
    lines = [f"  chain end missing      {end['side']} {end['at']}: {count}, {end['sequence']} ({end['sequence_from']})"]
    return [
        *lines,
        f"    to build it          {command}" if command else f"    not built            {end['not_built_because']}",
    ]
