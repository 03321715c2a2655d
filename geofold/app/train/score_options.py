"""Options of a training of the potential of loops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geofold.errors import InputFileError, OptionError
from geofold.learn.loop_score.model import load_score
from geofold.molecule.datasets.loop_windows import IRREGULAR

DECOYS = "decoys"
"""Folder of decoys in the output folder."""


@dataclass(frozen=True, kw_only=True)
class ScoreRun:
    """Options of a training; `geofold.app.train.score.plan` turns them into rounds.

    Parameters
    ----------
    data : str
        The chains, a `backbones.npz`.
    out : str
        Folder of everything that is made.
    loops : int
        Training loops with sampled decoys, in the first round.
    searches : int
        Training loops of each round that the potential so far searches for; its false positives become decoys.
    rounds : int
        Rounds after the first; with `init_weights`, all rounds.
    steps : int
        Batches of the first round; half as many in the others, which start from it.
    members : int
        Networks whose mean is the potential.
    irregular : float
        Minimum fraction of a loop's residues outside helices and strands.
    init_weights : str or None
        `--begin`: weights of a potential that is trained further. Rounds are counted on from its card, the first one
        also has `loops` with sampled decoys, and the result is the mean of the weights of the rounds. None: the result
        is the potential of the last round.
    scratch_steps : int
        `--anew`: batches by which networks are trained from scratch in the last round, on the decoys of all rounds. The
        result is a potential that reranks what searches with the potential of the round before end with. Zero: the
        networks start from the round before.
    reuse_decoys : str or None
        `--earlier`: folder of an earlier run, whose decoys the training from scratch includes.
    reranker : str or None
        `--judge`: weights of a reranking potential that is trained further in the last round, for `steps` batches, on
        the false positives of `init_weights`; the result is the mean of its weights before and after.
    width : int
        Channels of networks that are trained from scratch.
    seed : int
        Seed of loops, decoys and networks.
    """

    data: str
    out: str
    loops: int
    searches: int
    rounds: int
    steps: int
    members: int
    irregular: float
    init_weights: str | None
    scratch_steps: int
    reuse_decoys: str | None
    reranker: str | None
    width: int
    seed: int

    @property
    def folder(self) -> Path:
        """Folder of everything that is made."""
        return Path(self.out)

    @property
    def command(self) -> str:
        """Command line that reproduces this run (file names without folders)."""
        text = f"geofold train score --loops {self.loops} --searches {self.searches} --rounds {self.rounds}"
        text += f" --steps {self.steps} --members {self.members} --seed {self.seed}"
        text += "" if self.init_weights is None else f" --begin {Path(self.init_weights).name}"
        text += "" if self.irregular == IRREGULAR else f" --irregular {self.irregular}"
        text += "" if self.reranker is None else f" --judge {Path(self.reranker).name}"
        if not self.scratch_steps:
            return text
        return f"{text} --anew {self.scratch_steps} --width {self.width}" + (
            "" if self.reuse_decoys is None else f" --earlier {Path(self.reuse_decoys).name}"
        )

    @property
    def trains_reranker(self) -> bool:
        """Whether the result reranks the searches of another potential."""
        return bool(self.scratch_steps) or self.reranker is not None

    def check(self) -> dict[str, dict[str, Any]]:
        """Check the options against one another and against the given files.

        Returns
        -------
        dict
            Cards of the potentials that are trained further, by option ("begin", "judge").

        Raises
        ------
        InputFileError
            If a given potential is not one, or the folder of `--earlier` has no decoys.
        OptionError
            If options exclude one another, or a given potential has another number of networks.
        """
        if self.reuse_decoys is not None and not self.scratch_steps:
            raise OptionError("--earlier without --anew", "a training from scratch that it is for", "add --anew STEPS")
        if self.reuse_decoys is not None and not any((Path(self.reuse_decoys) / DECOYS).glob("*.npz")):
            raise InputFileError(
                f"{self.reuse_decoys} has no {DECOYS}/*.npz", "the --out of an earlier run", "check it"
            )
        if self.reranker is not None and (self.init_weights is None or self.scratch_steps):
            given = f"--judge {self.reranker} " + ("with --anew" if self.scratch_steps else "without --begin")
            raise OptionError(given, "--begin, whose searches it judges, and no --anew", "add or leave out")
        cards = dict[str, dict[str, Any]]()
        for option, path in (("begin", self.init_weights), ("judge", self.reranker)):
            if path is None:
                continue
            score, cards[option] = load_score(path)
            if option == "begin" and not isinstance(cards[option].get("rounds"), int):
                raise InputFileError(
                    f"{path} is one network of a potential (its card has no rounds)",
                    "a whole potential",
                    "give the file in the folder above it",
                )
            if not self.rounds:
                raise OptionError(f"--rounds 0 with --{option} {path}", "at least one more", "give --rounds 1")
            if self.members != score.options["members"]:
                given = f"--members {self.members} with --{option} {path}"
                raise OptionError(given, f"{score.options['members']}, as it has", "leave it out")
        return cards
