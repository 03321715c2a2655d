"""Run the tutorial notebook from top to bottom, and keep it small and the same for everyone.

python examples/run_tutorial.py [OUT.ipynb]

Needs `pip install '.[docs]'`. The 3D views are left out of what is kept: they hold the whole structure, and a browser
that opens the notebook draws them when the cell is run.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).resolve().parent / "tutorial.ipynb"
VIEW = "<geofold view"
"""How a view begins in words, which say nothing to a reader."""


def main(out: Path = NOTEBOOK, folder: Path | None = None) -> None:
    """Execute the notebook in a folder (by default one that is thrown away) and write it with its outputs.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        At the first cell that fails.
    """
    import nbformat
    from nbclient import NotebookClient

    from geofold.files import write_all

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as nowhere:
        where = {"metadata": {"path": str(folder or nowhere)}}
        NotebookClient(notebook, timeout=600, resources=where).execute()
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        if cell.cell_type == "code":
            cell.metadata = {}
            cell.outputs = _small(cell.outputs)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.validate(notebook)
    write_all({str(out): (nbformat.writes(notebook).rstrip("\n") + "\n").encode()})


def _small(outputs: list[Any]) -> list[Any]:
    """Outputs as they are kept: printed text in one piece, short values, pictures."""
    kept: list[Any] = []
    for output in outputs:
        if "data" in output:
            output.data = {kind: value for kind, value in output.data.items() if kind in ("text/plain", "image/png")}
            if output.data.get("text/plain", VIEW).startswith(VIEW):
                continue
        elif kept and output.output_type == kept[-1].output_type == "stream" and output.name == kept[-1].name:
            kept[-1].text += output.text
            continue
        kept.append(output)
    return kept


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
