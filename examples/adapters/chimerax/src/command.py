"""The command: `geofold #1/A:45-56`, with the options `seed`, `repackShell` and `program`."""

from pathlib import Path
from tempfile import TemporaryDirectory

from chimerax.atomic import ResiduesArg
from chimerax.core.commands import CmdDesc, IntArg, StringArg, run
from chimerax.core.errors import UserError
from chimerax.pdb import save_pdb

from .program import ranges, repair


def geofold(session, residues, seed=0, repack_shell="0", program="geofold"):
    """Repair the loops of residues of one structure; the result opens as a new model."""
    structures = residues.unique_structures
    if len(structures) != 1:
        raise UserError(f"residues of {len(structures)} structures; choose residues of one")
    structure = structures[0]
    with TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.pdb", Path(folder) / f"{Path(structure.name).stem}_repaired.pdb"
        save_pdb(session, str(before), models=[structure])
        options = ["--seed", str(seed), "--repack-shell", repack_shell]
        passed, said = repair(program.split(), before, ranges(residues), after, options)
        session.logger.info(said, is_html=False)
        if not after.exists():
            raise UserError(said)
        if not passed:
            session.logger.warning("the result fails its own audit; see the log")
        return run(session, f'open "{after}"')


description = CmdDesc(
    required=[("residues", ResiduesArg)],
    keyword=[("seed", IntArg), ("repack_shell", StringArg), ("program", StringArg)],
    synopsis="repair protein loops",
)
