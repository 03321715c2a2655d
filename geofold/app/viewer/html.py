"""Text of the viewer page: the report's tables and the embedded data.

All text from a file or a report passes through ``html.escape`` or ``embed_json``, so that a ``</script>`` in a title,
a residue name or a note is displayed and never run.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold.app.report.report_file import without_times

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

Residue = tuple[str, int, str]
AtomKey = tuple[Residue, str]
"""Residue as (chain, residue number, insertion code), and the atom's name."""

HUGE = 1e7
"""Numbers of at least this size (energies of overlapping atoms) are written with a power of ten to save space."""
ABSENT, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
TIMES = "\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}"

UNITS = {"_kj_mol": "kJ/mol", "_angstrom": "Å", "_degrees": "°", "_ms": "ms"}
NAMES = {
    "energy_kj_mol": "Energy",
    "lennard_jones_moving_fixed_kj_mol": "Lennard-Jones, moving against fixed",
    "ramachandran outlier_residues": "Outlier residues",
    "inner_steps_per_residue": "Inner steps K",
}
RUN_KEYS = ("command", "loops", "predictor", "gate", "seed", "geofold")


def render(template: str, values: Mapping[str, str]) -> str:
    """Replace ``@@NAME@@`` marks in a single pass, so that a mark inside a value is kept."""
    return re.sub(r"@@([A-Z_]+)@@", lambda mark: values[mark.group(1)], template)


def embed_json(data: Any) -> str:
    """Render JSON that is inert inside a ``script`` element: without <, > and &.

    Raises
    ------
    ValueError
        If a number is not finite, which JSON cannot express.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def encode(xyz: NDArray[np.float64], step: float) -> list[str]:
    """Encode coordinates as one text per frame: multiples of ``step``, differenced in time.

    The first frame is the difference from zero. Each difference d is encoded as 2|d| + (d < 0), five bits at a time,
    lowest first, with a continuation bit as the sixth (base-64 VLQ, source map revision 3).

    Parameters
    ----------
    xyz : (T, n, 3)
        Coordinates, or any array with the frames first.
    step : float
        Resolution, in the unit of `xyz`.

    Returns
    -------
    list of str
    """
    counts = np.rint(xyz / step).astype(np.int64).reshape(len(xyz), -1)
    differences = np.diff(counts, axis=0, prepend=0)
    codes = 2 * np.abs(differences) + (differences < 0)
    words = {int(code): _word(int(code)) for code in np.unique(codes)}
    return ["".join([words[code] for code in row]) for row in codes.tolist()]


def _word(code: int) -> str:
    letters = ""
    while code > 31:
        letters += ALPHABET[32 | (code & 31)]
        code >>= 5
    return letters + ALPHABET[code]


def number(value: Any) -> str:
    """Format a value for display, escaped: rounded, with thousands separators; an en dash if it is missing."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", MINUS)
    if isinstance(value, float):
        size = abs(value)
        if size >= HUGE:
            digits, power = f"{value:.3e}".split("e")
            return f"{digits}{TIMES}10<sup>{int(power)}</sup>".replace("-", MINUS)
        text = f"{value:,.1f}" if size >= 100 else f"{value:.2f}" if size >= 0.1 or size == 0 else f"{value:.2g}"
        return text.replace("-", MINUS)
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, Mapping):
        return "; ".join(f"{escape(str(key))} {number(item)}" for key, item in value.items()) or ABSENT
    if isinstance(value, Iterable):
        return ", ".join(number(item) for item in value) or "none"
    return escape(str(value))


def label(key: str) -> str:
    """Format a report key for display, escaped: ``closure_error_angstrom`` becomes "Closure error (Å)"."""
    unit = next((ending for ending in UNITS if key.endswith(ending)), "")
    words = NAMES.get(key) or key.removesuffix(unit).replace("_", " ").strip()
    words = words[:1].upper() + words[1:]
    return escape(f"{words} ({UNITS[unit]})" if unit else words)


def section(source: Any, key: str) -> Mapping[str, Any]:
    """Get a section of the report; empty if it is missing or not a mapping."""
    part = source.get(key) if isinstance(source, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def sequence(value: Any) -> Sequence[Any]:
    """Return a list of the report; empty if it is missing or not a list. A text becomes a list of one."""
    if isinstance(value, str):
        return [value]
    return value if isinstance(value, Sequence) else []


def flat(part: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten nested mappings: ``{"ramachandran": {"outliers": 2}}`` becomes ``{"ramachandran outliers": 2}``."""
    rows: dict[str, Any] = {}
    for key, value in part.items():
        if isinstance(value, Mapping):
            rows.update({f"{key} {inner}": item for inner, item in value.items()})
        else:
            rows[key] = value
    return rows


def listed_contacts(report: Mapping[str, Any], key: str = "contacts") -> list[Mapping[str, Any]]:
    """List the report's contacts; empty if it has none."""
    return [contact for contact in sequence(report.get(key)) if isinstance(contact, Mapping)]


def contact_ends(contact: Mapping[str, Any]) -> list[AtomKey]:
    """List the keys of a contact's atoms; empty if the contact does not name them."""
    try:
        return [
            ((_text(end, "chain"), int(end["resnum"]), _text(end, "icode")), _text(end, "name"))
            for end in sequence(contact.get("atoms"))
        ]
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return []


def _text(end: Mapping[str, Any], key: str) -> str:
    return str(end.get(key) or "").strip()


def contact_kind(contact: Mapping[str, Any]) -> str:
    """Return ``upper`` or ``lower``, the kind of a contact's bound, from its key or from the sign in its text."""
    return "lower" if contact.get("kind") == "lower" or ">" in str(contact.get("contact")) else "upper"


def finite(value: Any) -> float | None:
    """Convert a finite number to float; None for anything else."""
    try:
        return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
    except OverflowError:  # a whole number of hundreds of digits
        return None


def verdict(passed: Any) -> str:
    """Render passed or failed as a mark that does not depend on colour alone."""
    if passed is None:
        return ABSENT
    return '<span class="good">✓ yes</span>' if passed else '<span class="bad">✗ no</span>'


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """Render a table whose cells are HTML already; empty without rows.

    Parameters
    ----------
    caption : str
        Caption (HTML).
    head : sequence of str
        Headings of the columns; the head is left out if all are empty.
    rows : sequence of sequence of str
        Cells; the first one of each row is its heading.
    kind : str
        CSS class of the table.
    """
    if not rows:
        return ""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>" for row in rows
    )
    headed = f"<thead><tr>{top}</tr></thead>" if any(head) else ""
    content = f"<caption>{caption}</caption>{headed}<tbody>{body}</tbody>"
    return f'<div class="scroll"><table class="{kind}">{content}</table></div>'


def contact_table(contacts: Sequence[Mapping[str, Any]], playable: bool) -> str:
    """Render contacts with distances before and after and, if `playable`, a cell for that of the frame shown."""
    rows = []
    for place, contact in enumerate(contacts):
        current = [f'<span id="now-{place}">{ABSENT}</span>'] if playable else []
        rows.append(
            [
                number(contact.get("contact")),
                number(contact.get("before_angstrom")),
                number(contact.get("after_angstrom")),
                *current,
                verdict(contact.get("satisfied")),
            ]
        )
    head = ["Contact (Å)", "Before", "After", *(["Frame"] if playable else []), "Held"]
    return table("Contacts", head, rows)


def change_table(report: Mapping[str, Any]) -> str:
    """Render the measurements before and after, one row per quantity."""
    before, after = flat(section(report, "before")), flat(section(report, "after"))
    keys = [key for key in {**before, **after} if key != "force_field"]
    rows = [[label(key), number(before.get(key)), number(after.get(key))] for key in keys]
    field = after.get("force_field", before.get("force_field"))
    note = f'<p class="small">Force field: {number(field)}.</p>' if field else ""
    return table("Before and after", ["", "Before", "After"], rows, "change") + note


def audit_table(report: Mapping[str, Any]) -> str:
    """Render the audit's checks below its verdict."""
    audit = section(report, "audit")
    checks = [check for check in sequence(audit.get("checks")) if isinstance(check, Mapping)]
    rows = [
        [
            label(str(check.get("name", "check"))),
            number(check.get("value")),
            number(check.get("limit")),
            verdict(check.get("passed")),
        ]
        for check in checks
    ]
    passed = audit.get("passed")
    words = (
        ""
        if passed is None
        else (
            '<p class="good banner">✓ The result passes its audit.</p>'
            if passed
            else '<p class="bad banner">✗ The result fails its own audit.</p>'
        )
    )
    return words + table("Audit", ["Check", "Value", "Limit", "Passed"], rows)


def run_table(report: Mapping[str, Any]) -> str:
    """Render the facts of the run: command, seed, moved atoms, stream."""
    rows = [[label(key), number(report[key])] for key in RUN_KEYS if report.get(key) is not None]
    for part, prefix in (("moved", "moved "), ("stream", "")):
        for key, value in flat(section(without_times(report), part)).items():
            if not key.startswith("inner_steps_per_"):  # a number for each residue, or each step: too many for a table
                rows.append([label(prefix + key), number(value)])
    return table("Run", ["", ""], rows, "run")


def report_panel(
    report: Mapping[str, Any], contacts: Sequence[Mapping[str, Any]], playable: bool, residues: str = ""
) -> str:
    """Render the report as HTML; empty for an empty report.

    Parameters
    ----------
    report : mapping
        A ``geofold-report/1``; every key may be missing.
    contacts : sequence of mappings
        Rows of the contact table, as in ``report["contacts"]``.
    playable : bool
        Whether the contact table has a column for the frame shown.
    residues : str
        Table of the residues, HTML.
    """
    listed = "".join(f"<li>{number(note)}</li>" for note in sequence(report.get("notes")))
    notes = f"<h2>Notes</h2><ul>{listed}</ul>" if listed else ""
    tables = (contact_table(contacts, playable), change_table(report), audit_table(report), residues, run_table(report))
    return "".join([*tables, notes])
