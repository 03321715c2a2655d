"""The commands that make data and train on it. Heavy libraries are imported inside."""

from __future__ import annotations

from typing import Annotated

import typer

from geofold.app.console import told

data_app = typer.Typer(no_args_is_help=True, help="Training data.")
train_app = typer.Typer(no_args_is_help=True, help="Train a model; a killed run goes on from its last checkpoint.")

Seed = Annotated[int, typer.Option(help="Same data, same seed: same weights.")]


@train_app.callback()
def _several() -> None:
    """Keeps the name of the model a word of the command line while there is only one."""


@data_app.command("build")
def build(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Searched for PDB and mmCIF files, plain or gzip.")],
    output: Annotated[str, typer.Option("-o", "--output", help="The data, as .npz.")] = "backbones.npz",
    shortest: Annotated[int, typer.Option(min=2, help="Residues that a stretch has to have.")] = 40,
    seed: Seed = 0,
) -> None:
    """Put the backbones of a folder of structures together, to train on."""
    with told():
        from geofold.app.build_data import write_data

        write_data(folder, output, shortest=shortest, seed=seed)


@data_app.command("pack")
def pack(
    data: Annotated[str, typer.Argument(metavar="BACKBONES", help="A backbones.npz (geofold data build).")],
    output: Annotated[str, typer.Option("-o", "--output", help="Their side chains, as .npz; added to if there.")],
    chains: Annotated[int, typer.Option(min=1, help="Training chains; a tenth as many of the other splits.")] = 2000,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    seed: Seed = 0,
) -> None:
    """Pack side chains on training backbones once, for `geofold train loop`."""
    with told():
        from rich.console import Console
        from rich.progress import Progress

        from geofold.app.files import require_writable
        from geofold.learn.chains import read_chains
        from geofold.learn.training import data_hash
        from geofold.molecule.packed_chains import pack_chains

        require_writable(output)
        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task("chains", total=None)
            packed = pack_chains(
                read_chains(data), data_hash(data), output, count=chains, seed=seed, workers=workers,
                told=lambda done, total: bar.update(task, completed=done, total=total),
            )  # fmt: skip
        typer.echo(f"{output}: {len(packed.chain)} chains, {len(packed.chi)} residues")


@train_app.command("prior")
def prior(
    data: Annotated[str, typer.Option(help="A backbones.npz (geofold data build).")],
    out: Annotated[str, typer.Option(help="Folder of checkpoint, curve, weights and card.")] = "prior",
    steps: Annotated[int, typer.Option(min=1, help="Batches of 16 windows of 128 residues.")] = 6000,
    kind: Annotated[str, typer.Option("--backbone", help="Which backbone streams.")] = "selective",
    seed: Seed = 0,
) -> None:
    """Train the torsion prior: phi, psi and cis or trans of a residue from its sequence and the torsions before it."""
    with told():
        import torch
        from rich.console import Console
        from rich.progress import Progress, TextColumn, TimeRemainingColumn

        from geofold.backbone.zoo import NAMES
        from geofold.errors import OptionError
        from geofold.learn.prior_training import train_prior

        if kind not in NAMES:
            raise OptionError(f"backbone {kind}", f"one of {', '.join(NAMES)}", "choose one of them")
        torch.set_num_threads(1)  # the same bits whatever the machine has
        columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn(), TextColumn("{task.fields[loss]}"))
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("prior", total=steps, loss="")

            def tell(step: int, loss: float, judged: float) -> None:
                bar.update(task, completed=step, loss=f"training {loss:.3f}, validation {judged:.3f} nat")

            try:
                judged = train_prior(data, out, steps=steps, seed=seed, told=tell, kind=kind)
            except KeyboardInterrupt:
                typer.echo(f"geofold: interrupted; the same command goes on from the checkpoint in {out}", err=True)
                raise typer.Exit(130) from None
        typer.echo(f"{out}: validation {judged:.3f} nat a residue after {steps} batches")
