"""The commands that make training data and train models. Heavy libraries are imported inside the commands."""

from __future__ import annotations

from typing import Annotated

import typer

from geofold.app.commands.console import user_errors
from geofold.errors import OptionError

data_app = typer.Typer(no_args_is_help=True, help="Training data.")
train_app = typer.Typer(no_args_is_help=True, help="Train a model; interrupted runs resume from their checkpoint.")

MAX_COUNT = 1_000_000
"""Largest number of items; a larger one is a typing error, and file names of as many items would fill the memory."""
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="The same data and seed give the same weights.")]
Data = Annotated[str, typer.Option(help="A backbones.npz (geofold data build).")]
Packed = Annotated[str, typer.Option(help="Its packed side chains (geofold data pack).")]
Out = Annotated[str, typer.Option(help="Output folder: checkpoint, curve, weights and card.")]


@data_app.command("build")
def build(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder searched recursively for PDB and mmCIF files, plain or gzip.")
    ],
    output: Annotated[str, typer.Option("-o", "--output", help="The data set (.npz).")] = "backbones.npz",
    shortest: Annotated[int, typer.Option(min=2, help="Smallest number of residues of an unbroken segment.")] = 40,
    seed: Seed = 0,
) -> None:
    """Build a training set from the backbones of a folder of structures."""
    with user_errors():
        from geofold.app.train.chain_dataset import write_data

        write_data(folder, output, shortest=shortest, seed=seed)


@data_app.command("pack")
def pack(
    data: Annotated[str, typer.Argument(metavar="BACKBONES", help="A backbones.npz (geofold data build).")],
    output: Annotated[
        str, typer.Option("-o", "--output", help="Their side chains (.npz); an existing file is extended.")
    ],
    chains: Annotated[
        int, typer.Option(min=1, max=MAX_COUNT, help="Training chains; a tenth as many of each other split.")
    ] = 2000,
    workers: Annotated[int, typer.Option(min=1, max=1000, help="Number of processes.")] = 1,
    seed: Seed = 0,
) -> None:
    """Pack side chains onto training backbones, for `geofold train loop` and `geofold train gate`."""
    with user_errors():
        from geofold.app.train.driver import progress_bar
        from geofold.learn.data.chains import read_chains
        from geofold.learn.weights import data_hash
        from geofold.molecule.datasets.packed_chains import pack_chains
        from geofold.paths import require_apart, require_writable

        require_writable(output)
        require_apart([output], {"data": data})
        with progress_bar() as bar:
            task = bar.add_task("chains", total=None)
            packed = pack_chains(
                read_chains(data),
                data_hash(data),
                output,
                count=chains,
                seed=seed,
                workers=workers,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        typer.echo(f"{output}: {len(packed.chain)} chains, {len(packed.chi)} residues")


@train_app.command("prior")
def prior(
    data: Data,
    out: Out = "prior",
    steps: Annotated[int, typer.Option(min=1, help="Batches of 16 windows of 128 residues.")] = 10000,
    kind: Annotated[str, typer.Option("--backbone", help="Which backbone streams.")] = "hyena",
    seed: Seed = 0,
) -> None:
    """Train the torsion prior: phi, psi and cis or trans of a residue, from the sequence and the torsions before it."""
    with user_errors():
        from geofold.app.train.driver import train_prior_model

        train_prior_model(data, out, steps=steps, kind=kind, seed=seed)


@train_app.command("loop")
def loop(
    data: Data,
    packed: Packed,
    out: Out = "loop",
    steps: Annotated[int, typer.Option(min=1, help="Batches of 128 loops, with three sweeps over each.")] = 950,
    kind: Annotated[str, typer.Option("--backbone", help="Which backbone streams.")] = "selective",
    seed: Seed = 0,
) -> None:
    """Train the loop model: how the torsions of a perturbed loop must turn, given its environment."""
    with user_errors():
        from geofold.app.train.driver import train_loop_model

        train_loop_model(data, packed, out, steps=steps, kind=kind, seed=seed)


@train_app.command("latent")
def latent(
    data: Data,
    packed: Packed,
    out: Out = "latent",
    loops: Annotated[int, typer.Option(min=4, max=MAX_COUNT, help="Training loops of each round, two in all.")] = 120,
    steps: Annotated[int, typer.Option(min=1, help="Batches of each round.")] = 450,
    seed: Seed = 0,
) -> None:
    """Train the loop model further on streams in which it predicts and the controller corrects its latent."""
    with user_errors():
        from geofold.app.train.corrected import train_latent_model

        train_latent_model(data, packed, out, loops=loops, steps=steps, seed=seed)


@train_app.command("peptide")
def peptide(
    out: Annotated[
        str, typer.Option(help="Output folder: demonstrations, checkpoint, curve, weights and card.")
    ] = "peptide",
    peptides: Annotated[int, typer.Option(min=5, max=MAX_COUNT, help="Random peptides with demonstrations.")] = 700,
    steps: Annotated[int, typer.Option(min=1, help="Batches of 32 demonstrations.")] = 3000,
    kind: Annotated[str, typer.Option("--backbone", help="Which backbone streams.")] = "selective",
    seed: Seed = 0,
) -> None:
    """Train the peptide policy: how torsions must turn to make a contact, by imitation of an offline optimiser."""
    with user_errors():
        from geofold.app.train.peptide import train_peptide_policy

        train_peptide_policy(out, peptides=peptides, steps=steps, kind=kind, seed=seed)


@train_app.command("maze")
def maze(
    out: Annotated[str, typer.Option(help="Output folder: demonstrations, and a folder for each backbone.")] = "maze",
    worlds: Annotated[int, typer.Option(min=2, max=MAX_COUNT, help="Worlds with paths of the oracle.")] = 600,
    steps: Annotated[int, typer.Option(min=1, help="Batches of 32 paths of 64 steps.")] = 1000,
    kind: Annotated[str, typer.Option("--backbone", help="selective, transformer or selective_window.")] = "selective",
    seed: Seed = 0,
) -> None:
    """Train a predictor of the maze on paths of an oracle: the next eight moves, from what an agent observes."""
    with user_errors():
        from geofold.app.train.maze import train_maze_predictor

        train_maze_predictor(out, worlds=worlds, steps=steps, kind=kind, seed=seed)


@train_app.command("gate")
def gate(
    domain: Annotated[
        str, typer.Option(help="loop, peptide or maze: on the frozen loop model, peptide policy or maze predictor.")
    ] = "loop",
    data: Annotated[str | None, typer.Option(help="Loops: a backbones.npz (geofold data build).")] = None,
    packed: Annotated[str | None, typer.Option(help="Loops: its side chains (geofold data pack).")] = None,
    out: Annotated[str, typer.Option(help="Output folder: recorded streams, front, weights and card.")] = "gate",
    cases: Annotated[int, typer.Option(min=1, max=MAX_COUNT, help="Streams in each of two rounds.")] = 40,
    seed: Seed = 0,
) -> None:
    """Train a gate on a frozen model: which steps deserve a correction."""
    with user_errors():
        if domain not in ("loop", "peptide", "maze"):
            raise OptionError(f"domain {domain}", "loop, peptide or maze", "choose one of them")
        if domain == "loop" and (data is None or packed is None):
            raise OptionError("a gate of loops without its data", "--data and --packed", "add both")
        from geofold.app.train.gate import loop_task, peptide_task, train_gate_model
        from geofold.app.train.gate_maze import maze_task

        tasks = {"loop": lambda: loop_task(str(data), str(packed)), "peptide": peptide_task, "maze": maze_task}
        train_gate_model(tasks[domain](), out, cases=cases, seed=seed)


@train_app.command("score")
def score(
    data: Data,
    out: Annotated[str, typer.Option(help="Output folder: decoys, checkpoints, curves, weights and card.")] = "score",
    loops: Annotated[int, typer.Option(min=1, max=MAX_COUNT, help="Training loops of the first round.")] = 1400,
    searches: Annotated[
        int,
        typer.Option(
            min=1, max=MAX_COUNT, help="Training loops of each later round, searched for with the potential so far."
        ),
    ] = 230,
    rounds: Annotated[int, typer.Option(min=0, max=1000, help="Rounds after the first.")] = 1,
    steps: Annotated[
        int, typer.Option(min=1, help="Batches of four loops in the first round; half as many in the others.")
    ] = 1500,
    members: Annotated[int, typer.Option(min=1, max=100, help="Networks whose mean is the potential.")] = 2,
    begin: Annotated[
        str | None,
        typer.Option(metavar="WEIGHTS", help="A potential to train further; --rounds counts the further rounds."),
    ] = None,
    irregular: Annotated[
        float, typer.Option(min=0, max=1, help="Minimum fraction of a loop's residues outside helices and strands.")
    ] = 0.5,
    width: Annotated[
        int, typer.Option(min=8, max=4096, help="Channels of networks that are trained from scratch.")
    ] = 96,
    seed: Seed = 0,
) -> None:
    """Train the potential that ranks models of a loop: the nearer to the native, the lower the score."""
    with user_errors():
        from geofold.app.train.score import train_score_model
        from geofold.app.train.score_options import ScoreRun

        run = ScoreRun(
            data=data,
            out=out,
            loops=loops,
            searches=searches,
            rounds=rounds,
            steps=steps,
            members=members,
            irregular=irregular,
            init_weights=begin,
            width=width,
            seed=seed,
        )
        train_score_model(run)


@train_app.command("judge")
def judge(
    data: Annotated[str, typer.Option(help="A backbones.npz (geofold data build), or its folder.")],
    out: Annotated[str, typer.Option(help="Folder of checkpoint, curve, weights and card.")] = "judge",
    steps: Annotated[int, typer.Option(min=1, help="Batches of about 1,024 residues.")] = 6210,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, ...")] = "cpu",
    seed: Seed = 0,
) -> None:
    """Pretrain the judge of loops as inverse folding: amino acids of masked segments, from backbone and environment."""
    with user_errors():
        from geofold.app.train.judge import train_judge_model

        train_judge_model(data, out, steps=steps, device=device, seed=seed)


@train_app.command("judge-rank")
def judge_rank(
    data: Annotated[str, typer.Option(help="A backbones.npz (geofold data build), or its folder.")],
    begin: Annotated[str, typer.Option(metavar="WEIGHTS", help="Pretrained weights (geofold train judge).")],
    out: Annotated[str, typer.Option(help="Folder of decoys, checkpoint, curve, weights and card.")] = "judge-rank",
    loops: Annotated[int, typer.Option(min=1, max=MAX_COUNT, help="Training loops.")] = 500,
    steps: Annotated[int, typer.Option(min=1, help="Batches of two loops with 48 candidates each.")] = 1500,
    device: Annotated[str, typer.Option(help="Torch device of the training: cpu, cuda, ...")] = "cpu",
    seed: Seed = 0,
) -> None:
    """Train a pretrained judge to rank candidates of loops: the nearer to the native, the lower the energy."""
    with user_errors():
        from geofold.app.train.judge_ranking import train_ranking_model

        train_ranking_model(data, out, begin=begin, loops=loops, steps=steps, device=device, seed=seed)


@train_app.command("judge-recovery")
def judge_recovery(
    weights: Annotated[
        str, typer.Argument(help="Weights of a judge (geofold train judge), with their card in the same folder.")
    ],
    data: Annotated[str, typer.Option(help="A backbones.npz (geofold data build), or its folder.")],
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "valid",
    limit: Annotated[int | None, typer.Option(min=1, help="Largest number of chains.")] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda, ...")] = "cpu",
) -> None:
    """Report how well a trained judge predicts masked amino acids: perplexity and recovery on a split of the data."""
    with user_errors():
        from geofold.app.train.judge import report_recovery

        report_recovery(data, weights, split=split, limit=limit, device=device)


@train_app.command("metric")
def metric(
    out: Annotated[str, typer.Option(help="Folder of weights and card.")] = "metric",
    courses: Annotated[int, typer.Option(min=1, max=MAX_COUNT, help="Peptides whose streams are used.")] = 300,
    seed: Seed = 0,
) -> None:
    """Train G_psi, a learned metric on the frozen peptide policy, for the lowest loss after one natural step."""
    with user_errors():
        from geofold.app.train.peptide import train_peptide_metric

        train_peptide_metric(out, courses=courses, seed=seed)
