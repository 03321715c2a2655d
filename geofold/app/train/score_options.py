"""What can be asked of a training of the potential of loops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geofold.errors import InputFileError, OptionError
from geofold.learn.loop_score.model import load_score
from geofold.molecule.datasets.loop_windows import IRREGULAR

DECOYS = "decoys"
"""Folder of decoys."""


@dataclass(frozen=True, kw_only=True)
class ScoreRun:
    """How the potential is trained.

    Parameters
    ----------
    data, out : str
        The chains, and the folder of everything that is made.
    loops, searches, rounds
        Training loops of the first round, those of each later one that the potential so far is led astray on, and how
        many rounds follow the first.
    steps
        Batches of the first round; half as many in the others.
    members
        Networks whose mean is the potential.
    irregular
        Share of the loops' residues that are in no helix or strand, at least.
    begin
        Weights of a potential to go on from: `rounds` follow those that its card tells of, the first of them with
        `loops` drawn afresh beside its searches, and what comes out is the mean of their weights. None: from scratch,
        a first round of `loops` and `rounds` after it, and what comes out is the last one's.
    anew
        Batches by which networks are trained from scratch in the last round, on the decoys of all rounds; what comes
        out is these: a judge of what searches by the potential before it find. Zero: they go on from the round before.
    earlier
        Folder of an earlier run, whose decoys the training from scratch learns from too.
    judge
        Weights of a judge that goes on in the last round, for `steps` batches: it learns from what `begin` is led
        astray by, and what comes out is the mean of its weights before and after.
    width
        Channels of networks that are trained from scratch.
    """

    data: str
    out: str
    loops: int
    searches: int
    rounds: int
    steps: int
    members: int
    irregular: float
    begin: str | None
    anew: int
    earlier: str | None
    judge: str | None
    width: int
    seed: int

    @property
    def folder(self) -> Path:
        """Of everything that is made."""
        return Path(self.out)

    @property
    def command(self) -> str:
        """That does the same, where data and folders are."""
        told = f"geofold train score --loops {self.loops} --searches {self.searches} --rounds {self.rounds}"
        told += f" --steps {self.steps} --members {self.members} --seed {self.seed}"
        told += "" if self.begin is None else f" --begin {Path(self.begin).name}"
        told += "" if self.irregular == IRREGULAR else f" --irregular {self.irregular}"
        told += "" if self.judge is None else f" --judge {Path(self.judge).name}"
        if not self.anew:
            return told
        return f"{told} --anew {self.anew} --width {self.width}" + (
            "" if self.earlier is None else f" --earlier {Path(self.earlier).name}"
        )

    @property
    def judges(self) -> bool:
        """Whether a judge of another potential's searches is trained."""
        return bool(self.anew) or self.judge is not None

    def checked(self) -> dict[str, dict[str, Any]]:
        """Cards of the potentials that it goes on from, by their options.

        Raises
        ------
        InputFileError, OptionError
            If `begin` or `judge` is no such potential, or one of another number of networks; if `earlier` holds no
            decoys.
        """
        if self.earlier is not None and not self.anew:
            raise OptionError("--earlier without --anew", "a training from scratch that it is for", "add --anew STEPS")
        if self.earlier is not None and not any((Path(self.earlier) / DECOYS).glob("*.npz")):
            raise InputFileError(f"{self.earlier} has no {DECOYS}/*.npz", "the --out of an earlier run", "check it")
        if self.judge is not None and (self.begin is None or self.anew):
            given = f"--judge {self.judge} " + ("with --anew" if self.anew else "without --begin")
            raise OptionError(given, "--begin, whose searches it judges, and no --anew", "add or leave out")
        cards = dict[str, dict[str, Any]]()
        for option, path in (("begin", self.begin), ("judge", self.judge)):
            if path is None:
                continue
            score, cards[option] = load_score(path)
            if option == "begin" and not isinstance(cards[option].get("rounds"), int):
                raise InputFileError(f"{path} is one network of a potential (its card tells of no rounds)",
                                     "a whole potential", "give the file in the folder above it")  # fmt: skip
            if not self.rounds:
                raise OptionError(f"--rounds 0 with --{option} {path}", "at least one more", "give --rounds 1")
            if self.members != score.options["members"]:
                given = f"--members {self.members} with --{option} {path}"
                raise OptionError(given, f"{score.options['members']}, as it has", "leave it out")
        return cards
