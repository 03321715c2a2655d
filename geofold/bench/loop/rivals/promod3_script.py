"""What ProMod3 does for `promod3_loop`: run by the system's Python, JSON from standard input to standard output.

Places in A, angles in radian; this file imports nothing of the package.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

BINS = 360
"""Of the sampler of the residue before the loop: its psi is right to a degree."""
HOT, COOLING, COLD = 100.0, 0.9, 0.001
"""Temperatures as in ProMod3's FillLoopsByMonteCarlo."""
FAST = ("reduced", "cb_packing", "clash")
"""Scores that steer a trajectory, as there."""


def main() -> None:
    """Model the loop of a task; see `promod3_loop.task_of` for what is in it."""
    task = json.load(sys.stdin)
    handle = raw_model(task)
    found = candidates(task, handle)
    if not len(found):
        sys.exit("no trajectory could be closed")
    rows = side_chains(task, handle, chosen(task, handle, found))
    print(json.dumps({"residues": rows, "candidates": len(found)}))


def raw_model(task: dict[str, Any]) -> Any:
    """ProMod3's model without the loop, one of its chains for each unbroken stretch."""
    from ost import conop, geom, mol, seq
    from promod3 import modelling

    made = mol.CreateEntity()
    editor = made.EditXCS(mol.BUFFERED_EDIT)
    for index, stretch in enumerate(task["stretches"]):
        chain = editor.InsertChain(f"C{index}")
        for number, name, atoms in stretch["residues"]:
            residue = editor.AppendResidue(chain, name, mol.ResNum(number))
            for atom, element, place in atoms:
                editor.InsertAtom(residue, atom, geom.Vec3(*place), element)
    editor.UpdateICS()
    conop.RuleBasedProcessor(conop.GetDefaultLib()).Process(made)
    alignments = seq.AlignmentList()
    for index, stretch in enumerate(task["stretches"]):
        there = {number for number, _, _ in stretch["residues"]}
        gapped = "".join(one if k + 1 in there else "-" for k, one in enumerate(stretch["sequence"]))
        pair = (seq.CreateSequence("wanted", stretch["sequence"]), seq.CreateSequence("given", gapped))
        alignment = seq.CreateAlignment(*pair)
        alignment.AttachView(1, made.Select(f"cname=C{index}"))
        alignments.append(alignment)
    handle = modelling.BuildRawModel(alignments, aln_preprocessing=False)
    modelling.SetupDefaultBackboneScoring(handle)
    modelling.SetupDefaultAllAtomScoring(handle)  # brings what side chains need
    return handle


def candidates(task: dict[str, Any], handle: Any) -> Any:
    """Closed loops with their anchors: by KIC, and where that never closes, by cyclic coordinate descent."""
    from promod3 import loop, modelling

    sequence, number, index = task["sequence"], task["before"], task["stretch"]
    chain = handle.model.chains[index]
    ends = (chain.FindResidue(number), chain.FindResidue(number + len(sequence) - 1))
    samplers = [pinned(task["phi"], task["psi"])] + [loop.LoadTorsionSamplerCoil()] * (len(sequence) - 1)
    weights = modelling.ScoringWeights.GetWeights()
    fast = {name: weights[name] for name in FAST}
    place = (number, len(sequence), index)
    scorer = modelling.LinearScorer(handle.backbone_scorer, handle.backbone_scorer_env, *place, fast)
    interval = max(round(task["steps"] * math.log(COOLING) / math.log(COLD / HOT)), 1)
    found = modelling.LoopCandidates(sequence)
    for closer in (lambda seed: modelling.KICCloser(*ends, seed), lambda seed: modelling.DirtyCCDCloser(*ends)):
        for k in range(task["trajectories"]):
            seed = 1000 * task["seed"] + k
            sampler = modelling.PhiPsiSampler(
                sequence, samplers, n_stem_phi=task["phi"], c_stem_psi=task["after_psi"],
                prev_aa=task["letters"][0], next_aa=task["letters"][1], seed=seed,
            )  # fmt: skip
            cooler = modelling.ExponentialCooler(interval, HOT, COOLING)
            try:
                made = modelling.LoopCandidates.FillFromMonteCarloSampler(
                    sequence, 1, task["steps"], sampler, closer(seed), scorer, cooler, seed
                )
            except RuntimeError:  # the first draws of a trajectory could not be closed
                continue
            for one in made:
                found.Add(one)
        if len(found):
            break
    return found


def pinned(phi: float, psi: float) -> Any:
    """A torsion sampler that knows one phi and psi."""
    from promod3 import loop

    sampler = loop.TorsionSampler(["all-all-all"], BINS, 0)
    sampler.ExtractStatistics(loop.BackboneList("AAA", [(phi, psi)] * 3).ToEntity().CreateFullView())
    sampler.UpdateDistributions()
    return sampler


def chosen(task: dict[str, Any], handle: Any, found: Any) -> Any:
    """The candidate that ProMod3's backbone scores like best, of those through no ring if there are any."""
    from promod3 import modelling

    number, index, chain = task["before"], task["stretch"], handle.model.chains[task["stretch"]]
    last = number + len(task["sequence"]) - 1
    gap = modelling.StructuralGap(chain.FindResidue(number), chain.FindResidue(last), task["sequence"][1:-1])
    clear = found.Extract(list(range(len(found))))
    modelling.FilterCandidates(clear, handle.model, gap)
    found = clear if len(clear) else found
    scores = modelling.ScoreContainer()
    found.CalculateBackboneScores(scores, handle, number, index)
    total = list(scores.LinearCombine(modelling.ScoringWeights.GetWeights()))
    return found[total.index(min(total))].Copy()  # it would not outlive the list


def side_chains(task: dict[str, Any], handle: Any, backbone: Any) -> list[Any]:
    """Atoms [name, element, place] of the loop's residues, side chains put on while all others stay."""
    size = len(task["sequence"]) - 2
    first = task["before"] + 1
    handle.all_atom_sidechain_env.SetEnvironment(backbone.Extract(1, size + 1), first, task["stretch"])
    packed = handle.sidechain_reconstructor.Reconstruct(first, size, task["stretch"]).env_pos.all_pos
    residues = packed.Extract(0, size).ToEntity().residues
    return [
        [[a.name, a.element, [a.pos[0], a.pos[1], a.pos[2]]] for a in residue.atoms if a.element != "H"]
        for residue in residues
    ]


if __name__ == "__main__":
    main()
