"""Make the page ``examples/docs/options.md`` from the table of options, ``geofold/modelling/option_table.py``.

Run it after a change of the table::

    python examples/make_options_page.py [--out FILE]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from geofold.modelling.option_table import OPTIONS, Option
from geofold.molecule.energy.amber import FORCE_FIELDS

DEFAULT_OUT = Path(__file__).resolve().parent / "docs" / "options.md"
HEAD = """# Options

This page is made by `examples/make_options_page.py` from the table that the commands, the Python functions and the
columns of a batch share. On the command line a name has hyphens in place of underscores (`--repack-shell`); an option
with the default yes is switched off by `--no-` in front of its name (`--no-energy`). The report lists the values of a
run under `options`.

`fix` and `prepare` take options of `repair` (`geofold fix --help` lists them). Some commands have an option that no
other has: `fix --hydrogens` and `--ends`, `prepare --ph`, `check --strict`, `view --compare`.

| option | values | default | commands | given on | meaning |
|---|---|---|---|---|---|
"""
FIELDS = """
## Force fields

| name | in reports | OpenMM's files |
|---|---|---|
"""
TAIL = """
`amber14` is the default, and all published numbers use it. `amber19` has a backbone map (CMAP) for each amino acid; it
is meant for explicit water (OPC), so it is less tested with implicit solvent. `amber99sbildn` is an earlier force field
that many simulations use. Compare energies of one force field only.

All energies of a run and its refinement use one force field. geofold refuses a force field with a kind of term that it
cannot restrict to the surroundings of the moving atoms, instead of leaving the term out.
"""


def page() -> str:
    """The page as Markdown."""
    fields = "".join(
        f"| `{field.name}` | {field.label} | {', '.join(f'`{file}`' for file in field.files)} |\n"
        for field in FORCE_FIELDS.values()
    )
    return HEAD + "".join(map(row, OPTIONS)) + FIELDS + fields + TAIL


def row(option: Option) -> str:
    """One line of the table."""
    unit = f" ({option.unit})" if option.unit else ""
    if option.kind is bool:
        default = "yes" if option.default else "no"
    else:
        default = "" if option.default is None else f"`{option.default}`"
    cells = (
        f"`{option.name}`",
        f"{option.expected}{unit}",
        default,
        ", ".join(option.commands),
        ", ".join(option.places),
        option.help,
    )
    return f"| {' | '.join(cells)} |\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    parser.parse_args(arguments).out.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
