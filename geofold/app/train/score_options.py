"""Options of a training of the potential of loops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geofold.errors import InputFileError, OptionError
from geofold.learn.loop_score.model import load_score
from geofold.molecule.datasets.loop_windows import IRREGULAR

WIDTH = 96
"""Channels of a network, unless given."""
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
        return text if self.width == WIDTH else f"{text} --width {self.width}"

    def check(self) -> dict[str, Any] | None:
        """Check the options against one another and against the given file.

        Returns
        -------
        dict or None
            Card of the potential that is trained further.

        Raises
        ------
        InputFileError
            If the given potential is not one.
        OptionError
            If no round is left for it, or it has another number of networks.
        """
        path = self.init_weights
        if path is None:
            return None
        score, card = load_score(path)
        if not isinstance(card.get("rounds"), int):
            raise InputFileError(
                f"{path} is one network of a potential (its card has no rounds)",
                "a whole potential",
                "give the file in the folder above it",
            )
        if not self.rounds:
            raise OptionError(f"--rounds 0 with --begin {path}", "at least one more", "give --rounds 1")
        if self.members != score.options["members"]:
            given = f"--members {self.members} with --begin {path}"
            raise OptionError(given, f"{score.options['members']}, as it has", "leave it out")
        return card
