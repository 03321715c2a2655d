"""Command-line options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Output = Annotated[str, typer.Option("-o", "--output", help="Output file of the structure ('-': standard output).")]
Trajectory = Annotated[str | None, typer.Option(help="Also write the trajectory: .pdb, .dcd or .xtc.")]
Report = Annotated[str | None, typer.Option(help="Also write measurements before and after, as JSON.")]
View = Annotated[str | None, typer.Option(help="Also write a viewer page, as HTML.")]
Offline = Annotated[bool, typer.Option("--offline", help="Embed 3Dmol.js in the page (needs npm's 3dmol; see README).")]
Seed = Annotated[int, typer.Option(help="Random seed; the same input and seed give the same bytes.")]
Altloc = Annotated[str | None, typer.Option(help="Conformer that moves if the backbone has several.")]
Energy = Annotated[
    bool, typer.Option("--energy/--no-energy", help="Refine and audit with the force field (amber14 + OBC2).")
]
Predictor = Annotated[
    str, typer.Option(help="trained: models trained on known structures; hold-still: no learned motion, to compare.")
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Report every step on standard error.")]
