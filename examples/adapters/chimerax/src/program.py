"""The program geofold, run by another one. Nothing here needs ChimeraX."""

import subprocess


def ranges(residues):
    """Runs of consecutive residues (ChimeraX's Residue) as geofold writes them: A:45-56, A:45A-56."""
    runs = []
    for residue in residues:
        label = f"{residue.number}{residue.insertion_code.strip()}"
        if runs and runs[-1][0] == residue.chain_id and residue.number - runs[-1][3] in (0, 1):
            runs[-1][2:] = [label, residue.number]
        else:
            runs.append([residue.chain_id, label, label, residue.number])
    return [f"{chain.strip()}:{first}-{last}" for chain, first, last, _ in runs]


def repair(program, before, loops, after, options=()):
    """Run the program.

    Parameters
    ----------
    program : list of str
        How it is called.
    before, after : path
        The structure, and where its repaired form goes.
    loops : list of str
        See `ranges`.
    options : sequence of str
        Further options of the command line.

    Returns
    -------
    bool, str
        Whether the result passes its audit, and what the program said. If it refused its input, `after` does not exist.
    """
    chosen = [part for loop in loops for part in ("--loop", loop)]
    command = [*program, "repair", str(before), *chosen, "-o", str(after), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode == 0, (done.stdout + done.stderr).strip()
