"""Columns of a table of jobs, made from the table of options."""

from __future__ import annotations

from geofold.modelling.option_table import BATCH, SEPARATOR, Option, options_of

COLUMNS: dict[str, dict[str, Option]] = {
    command: {row.name: row for row in options_of(command, BATCH)} for command in ("repair", "constrain")
}
NEEDED = {"repair": ("input", "output"), "constrain": ("output", "contact")}
"""Columns that every row has to fill."""
WRITTEN = ("output", "trajectory", "report", "view")
EITHER = {"repair": ("loop", "build", "auto"), "constrain": ("input", "sequence")}
"""Columns of which every row has to fill one."""
TOGETHER = ("repair",)
"""Commands that also take several of these columns in one row."""


def described(command: str) -> str:
    """Describe the columns of a command as lines of a help text."""
    width = max(map(len, COLUMNS[command])) + 2
    return "\n".join(f"  {name:<{width}}{describe_column(row)}" for name, row in COLUMNS[command].items())


def describe_column(row: Option) -> str:
    """Help of a column: the option's sentence, the form of its cells, and the value of an empty cell."""
    text = row.help[:-1]
    if row.kind is bool:
        return f"yes or no ({'yes' if row.default else 'no'} if empty): {text}"
    if row.kind is list:
        return f"{text}; separate several by {SEPARATOR}"
    return text if row.default is None else f"{text} ({row.default} if empty)"
