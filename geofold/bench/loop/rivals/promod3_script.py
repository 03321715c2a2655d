"""Loop modelling with ProMod3 for `promod3`: run by the system's Python, JSON from standard input to standard output.

Coordinates in A, angles in radian; this file imports nothing of the package.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

SAMPLER_BINS = 360
"""Bins of the sampler of the residue before the loop, whose psi is exact to one degree."""
HOT, COOLING, COLD = 100.0, 0.9, 0.001
"""Cooling schedule of ProMod3's FillLoopsByMonteCarlo."""
FAST_SCORES = ("reduced", "cb_packing", "clash")
"""Scores of the trajectories, as in FillLoopsByMonteCarlo."""


def main() -> None:
    """Model the loop of a task made by `promod3.make_task`."""
    task = json.load(sys.stdin)
    handle = make_raw_model(task)
    loops = sample_candidates(task, handle)
    if not len(loops):
        sys.exit("no trajectory could be closed")
    rows = rebuild_side_chains(task, handle, choose_candidate(task, handle, loops))
    print(json.dumps({"residues": rows, "candidates": len(loops)}))


def make_raw_model(task: dict[str, Any]) -> Any:
    """ProMod3 model without the loop, with one chain for each unbroken segment."""
    from ost import conop, geom, mol, seq
    from promod3 import modelling

    entity = mol.CreateEntity()
    editor = entity.EditXCS(mol.BUFFERED_EDIT)
    for index, stretch in enumerate(task["stretches"]):
        chain = editor.InsertChain(f"C{index}")
        for number, name, atoms in stretch["residues"]:
            residue = editor.AppendResidue(chain, name, mol.ResNum(number))
            for atom, element, place in atoms:
                editor.InsertAtom(residue, atom, geom.Vec3(*place), element)
    editor.UpdateICS()
    conop.RuleBasedProcessor(conop.GetDefaultLib()).Process(entity)
    alignments = seq.AlignmentList()
    for index, stretch in enumerate(task["stretches"]):
        present = {number for number, _, _ in stretch["residues"]}
        gapped = "".join(letter if k + 1 in present else "-" for k, letter in enumerate(stretch["sequence"]))
        pair = (seq.CreateSequence("wanted", stretch["sequence"]), seq.CreateSequence("given", gapped))
        alignment = seq.CreateAlignment(*pair)
        alignment.AttachView(1, entity.Select(f"cname=C{index}"))
        alignments.append(alignment)
    handle = modelling.BuildRawModel(alignments, aln_preprocessing=False)
    modelling.SetupDefaultBackboneScoring(handle)
    modelling.SetupDefaultAllAtomScoring(handle)  # is needed by the side-chain reconstruction
    return handle


def sample_candidates(task: dict[str, Any], handle: Any) -> Any:
    """Return closed loops with their anchors, by KIC or, if that never closes, by cyclic coordinate descent."""
    from promod3 import loop, modelling

    sequence, number, index = task["sequence"], task["before"], task["stretch"]
    chain = handle.model.chains[index]
    ends = (chain.FindResidue(number), chain.FindResidue(number + len(sequence) - 1))
    samplers = [make_fixed_sampler(task["phi"], task["psi"])] + [loop.LoadTorsionSamplerCoil()] * (len(sequence) - 1)
    weights = modelling.ScoringWeights.GetWeights()
    fast = {name: weights[name] for name in FAST_SCORES}
    place = (number, len(sequence), index)
    scorer = modelling.LinearScorer(handle.backbone_scorer, handle.backbone_scorer_env, *place, fast)
    interval = max(round(task["steps"] * math.log(COOLING) / math.log(COLD / HOT)), 1)
    loops = modelling.LoopCandidates(sequence)
    for closer in (lambda seed: modelling.KICCloser(*ends, seed), lambda seed: modelling.DirtyCCDCloser(*ends)):
        for k in range(task["trajectories"]):
            seed = 1000 * task["seed"] + k
            sampler = modelling.PhiPsiSampler(
                sequence,
                samplers,
                n_stem_phi=task["phi"],
                c_stem_psi=task["after_psi"],
                prev_aa=task["letters"][0],
                next_aa=task["letters"][1],
                seed=seed,
            )
            cooler = modelling.ExponentialCooler(interval, HOT, COOLING)
            try:
                candidates = modelling.LoopCandidates.FillFromMonteCarloSampler(
                    sequence, 1, task["steps"], sampler, closer(seed), scorer, cooler, seed
                )
            except RuntimeError:  # the first draws of a trajectory could not be closed
                continue
            for candidate in candidates:
                loops.Add(candidate)
        if len(loops):
            break
    return loops


def make_fixed_sampler(phi: float, psi: float) -> Any:
    """Make a torsion sampler of a single phi and psi."""
    from promod3 import loop

    sampler = loop.TorsionSampler(["all-all-all"], SAMPLER_BINS, 0)
    sampler.ExtractStatistics(loop.BackboneList("AAA", [(phi, psi)] * 3).ToEntity().CreateFullView())
    sampler.UpdateDistributions()
    return sampler


def choose_candidate(task: dict[str, Any], handle: Any, loops: Any) -> Any:
    """Candidate with the best backbone score, among those that do not pass through a ring if there are any."""
    from promod3 import modelling

    number, index, chain = task["before"], task["stretch"], handle.model.chains[task["stretch"]]
    last = number + len(task["sequence"]) - 1
    gap = modelling.StructuralGap(chain.FindResidue(number), chain.FindResidue(last), task["sequence"][1:-1])
    unobstructed = loops.Extract(list(range(len(loops))))
    modelling.FilterCandidates(unobstructed, handle.model, gap)
    loops = unobstructed if len(unobstructed) else loops
    scores = modelling.ScoreContainer()
    loops.CalculateBackboneScores(scores, handle, number, index)
    total = list(scores.LinearCombine(modelling.ScoringWeights.GetWeights()))
    return loops[total.index(min(total))].Copy()  # a copy, since elements do not outlive the list


def rebuild_side_chains(task: dict[str, Any], handle: Any, backbone: Any) -> list[Any]:
    """Atoms [name, element, coordinates] of the loop's residues, with side chains; all others are fixed."""
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
