"""RESULTS.md, put together from the committed summaries and tables; never written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from geofold.app.files import write_all
from geofold.errors import InputFileError

INTRODUCTION = """# Results

Put together by `geofold bench report` from the summaries and tables in `examples/results/`; the raw records lie
beside them. Every figure is the command's own; one run, one thread per process, on a shared machine, so quote
ratios and medians rather than single times. `examples/results/README.md` tells how each run came about.
"""

CONTROLLER = (
    "Loops of 8 and 12 residues of test-split chains (packed side chains, at most 350 residues), bent closed by "
    "2-5 A, side chains riding along; every agent makes the same number of steps (eight sweeps). `predictor`: the "
    "loop model alone, K = 0; `hold_still`: corrections alone, K = 2; `trained`: both at once; `trained_waiting`: "
    "corrections at every step once the loop model rests; `trained_gated`: K by the learned gate. `auto`: a "
    "hundred test proteins with one bent loop, and the same ones intact, no range given; `found`: a stretch holds "
    "at least half of the loop; `quiet`: nothing is named in the intact one; `auc`: of the difficulty, loop "
    "residues against all others; `mean_k`: corrections a step at the loop's residues and elsewhere. Calibration: "
    "shares of the missing increments inside the decoder's 68 % and 95 % regions, the temperature found on the "
    "validation split.\n\n"
    "What it says: the regions hold what they promise. Loop model and learned gate together bring the median from "
    "3.56 to 1.62 A, corrections alone to 2.82 (paired, p < 0.001; energy p = 0.0002). Corrections amid a move "
    "that the model knows spoil it (`trained`); a gate that just waits does as well as the learned one, which "
    "needs two thirds of its corrections and a quarter of those of uniform depth, at a lower energy than that. "
    "The bent loop of a whole protein is found in 93 of 94; intact chains are left in peace in 89 of 94 (94.7 %, "
    "wanted: 95), corrections elsewhere are 0.01 a step.\n\n"
    "The machine was busy with other work for a good part of the run: compare milliseconds with one another only."
)

PEPTIDE_POLICY = (
    "The 256 random test peptides (8-12 residues, extended, a random contact), at most 128 steps of ten degrees a "
    "torsion; `steps` counts 128 for a failure, p is Wilcoxon's over episodes against `hold_still`. `hold_still`: "
    "corrections alone; `glide`: half of the last move is proposed again; `policy_alone`: K = 0 until a stream "
    "has been stuck; `policy`: policy and corrections wherever the loss is above its tolerance; `policy_gated` "
    "(ships): K by the learned gate; `policy_euclidean`: the same without the decoder's geometry; "
    "`policy_learned_metric`: the same with G_psi. Calibration: what demonstrations of new peptides still miss "
    "inside the policy's 68 % and 95 % regions.\n\n"
    "What it says: the policy nearly halves the steps to a contact (11.5 against 20.0, median 7 against 15, 88 % "
    "of the episodes shorter, p = 1e-24), but not by itself: what it proposes ends near and not quite there. The "
    "learned gate does it with less than half of the corrections of a gate that corrects whatever is not content, "
    "at no more steps that can be told apart (p = 0.06). The decoder's geometry is worth two steps in the mean, "
    "G_psi comes close. The regions are not well calibrated: 74 and 90 % (the temperature ended at the edge of "
    "its range; much of what is missing is exactly nothing, which no smooth density fits).\n\n"
    "Measured before stiff directions of the loss were part of the metric (see CHANGELOG)."
)

TAKEN_OUT = (
    "{} loops of {} residues, taken out of their natives together with all side chains within 10 A of them (Kortemme "
    "laboratory's sets); both are built again, side chains whose CB is within 8 A of the new loop packed with it. "
    "Nothing was tuned on them. RMSD of N, CA, C and O in the frame of the protein; five models each, the first by "
    "score counts.{}"
)

SECTIONS: tuple[tuple[str, str, str, str], ...] = (
    (
        "loop_bent",
        "Bent loops",
        "geofold bench loop --set bent --out examples/results/loop_bent",
        "Forty loops of 6-14 residues from sixteen proteins of `structures/`, bent closed by a seeded script "
        "(`geofold/bench/bent_set.py`), each start with at least five overlaps of 0.4 A and a Ramachandran "
        "outlier. OpenMM's LocalEnergyMinimizer starts from the same coordinates with everything but the loop "
        "fixed. The settings were tuned on loops drawn with another seed (`--set tuning`) from the same "
        "proteins. Bond "
        "geometry and surroundings are the native's here, so these starts are easier than a real modelling "
        "error: see the next set.",
    ),
    (
        "loop_sellers_sidechain_perturbed_12res",
        "Sellers' perturbed loops, a first look",
        "geofold bench loop --set sellers_sidechain_perturbed_12res --data FOLDER --out "
        "examples/results/loop_sellers_sidechain_perturbed_12res",
        "Twenty proteins with one bent 12-residue loop whose neighbours' side chains were repacked around the "
        "wrong loop. Nothing was tuned on them. The backbone RMSD is in the frame of the protein.",
    ),
    (
        "loop_mandell_12res",
        "Loops taken out, twelve residues",
        "geofold bench loop --set mandell_12res --data FOLDER --out examples/results/loop_mandell_12res",
        TAKEN_OUT.format("Forty-five", "twelve", " Three natives have a cis proline; they are told apart."),
    ),
    (
        "loop_structured_16res",
        "Loops taken out, sixteen residues amid structure",
        "geofold bench loop --set structured_16res --data FOLDER --out examples/results/loop_structured_16res",
        TAKEN_OUT.format("A fixed random half, fifteen", "sixteen", ""),
    ),
    (
        "loop_fread_16res",
        "Loops taken out, sixteen residues",
        "geofold bench loop --set fread_16res --data FOLDER --out examples/results/loop_fread_16res",
        TAKEN_OUT.format("A fixed random half, thirteen", "sixteen", ""),
    ),
    (
        "loop_short",
        "Loops taken out of test-split chains",
        "geofold bench loop --set short --data FOLDER --out examples/results/loop_short",
        "A hundred loops of 4-8 residues of test-split chains whose side chains were packed whole, then the loop taken "
        "out; side chains around it stay. Five models each, the first by score counts.",
    ),
    (
        "peptide",
        "Peptide constraints",
        "geofold bench peptide --out examples/results/peptide",
        "256 random sequences of 8-12 residues, a random pair within 6 A, five seeds (the first from the extended "
        "chain, the others from chains shaken by ten degrees), at most 128 steps of at most ten degrees a torsion for "
        "every agent; side chains are whole rotamers for all. Success: held for five steps without a severe overlap "
        "or a Ramachandran outlier; `steps` counts 128 for a failure. Severe overlaps (0.4 A and more): a step, along "
        "the path as it is emitted. RMSD (CA): to the nearest of sixteen members of a reference ensemble that torsion "
        "annealing made. Energy: amber14 + OBC2 of the end, side chains relaxed, above the ensemble's median; told, "
        "like all that concerns OpenMM and L-BFGS, for the first 128 episodes. All agents were tuned by six trials "
        "each on 48 tuning episodes (`geofold bench tune`). `geossm` corrects once a step; `geossm_esm` is what "
        "`constrain` ships, K by the learned gate. `changing`: the contact moves to another pair, or tightens, "
        "mid-stream; `real`: stretches of shipped structures with contacts of their own. Plots beside the records: "
        "`steps.png`, `path.png`, `torsions.png`.\n\n"
        "What it says, against the paper's claims. What ships takes 0.55 of the steps of the SE(3) model's planner "
        "(the paper: 31 against 45, 0.69), 0.41 of its overlaps (2.2 against 4.0, 0.55) and 0.49 of the steps of "
        "latent preconditioning (0.78), and no episode of 1,280 fails; all p < 0.001. Its slowest steps take 0.40 of "
        "the planner's (p99; the paper: 0.30), which is not reached, since they hold up to four corrections. With one "
        "correction a step (`geossm`, the paper's agent) the planner is beaten in the mean (0.76 of the steps), but "
        "not by episode (p = 0.87): it fails in six of a hundred and is quick where it does not, and its paths have "
        "as few overlaps; p99 is 0.31. The Euclidean metric costs 1.49 times the steps of `geossm` (1.32), a frozen "
        "one 1.39. Without a planner or corrections the learned rivals fail more often than not. OpenMM's own ways "
        "need 10 to 23 times as long as what ships, find the contact less often (annealing: 98.4 %, p = 0.16) and end "
        "10-16 kJ/mol a residue lower, since they relax bonds and angles as well; minimisation made three cis bonds, "
        "we none. L-BFGS on the same loss, which knows no cap on a step and shows no path, is as quick, never fails, "
        "and ends 1.3 kJ/mol a residue lower: who wants the end alone needs no stream.",
    ),
    (
        "maze",
        "Curved mazes",
        "geofold bench maze --out examples/results/maze",
        "Worlds of curved ground with barriers, up to eight targets one after the other in 256 steps; in nine of ten "
        "episodes an obstacle is dragged (small, medium, large, at step 64, 128 or 192). All agents see the same, a "
        "coarse chart included, and walk by the same rules; all but the reactive one are led by predictors trained on "
        "the same ways of the oracle, the same number of batches. A target that is not reached within 96 steps is a "
        "failure of so many steps. Regret: steps lost against the oracle's shortest way, as a share of it. Energy: "
        "CPU seconds of a step beside the Transformer's. The second table is the budget grid (lambda, r, beta) by "
        "size of the drag, the third success in corridors, and operations of a step (matrix products, as torch counts "
        "them). Agents with options had six trials each on tuning worlds. Episodes are played side by side; steps are "
        "timed alone, on 24 episodes, one row, nothing else on the machine. Plots beside the records: "
        "`nonstationarity.png`, and `heat_map.png`, where inner steps are spent in one maze.\n\n"
        "What it says, against the papers' claims. GeoSSM never collides (the Transformer 0.57 times a target) and "
        "reaches 98.9 % of its targets (wanted: 96), as many after a late and large drag as undisturbed (99.4 and "
        "98.5 %); its regret is 0.49 of the Transformer's (wanted: 0.45; the paper: 0.41), its p99 0.36 of "
        "iLQR-lite's (0.72). It does not take 0.54 of the Transformer's steps, but 0.94, and as many as iLQR-lite "
        "(0.87): with a chart in sight a predictor trained on the oracle's ways is at most a fifth behind the "
        "shortest way, so there is nothing to halve. Nor is the pullback metric worth anything here: the Euclidean "
        "one, a frozen one and a full sweep do the same, since this ground is nearly flat to a step, and the budget "
        "grid is flat with it. Corrections are what counts, whatever their metric. In corridors the elastic agent "
        "reaches 92.5 % (Transformer 87.5, SSM 88.9) with 0.92 of the Transformer's operations (wanted: 0.80; the "
        "predictor alone is 0.88); 85 % of its inner steps fall on the 30 % of squares where the predictor alone does "
        "worst (`corridors_inner_at_hardest`), 48 % at junctions, doors and gaps, where 35 % of the steps are made.",
    ),
    (
        "ablation",
        "Parts of the controller",
        "geofold bench ablation --out examples/results/ablation",
        "128 episodes of the peptide tuning split, two seeds each, variants in turn; the defaults of `constrain` are "
        "chosen here and nowhere else. `steps` counts 128 for a failure; differences are paired, +- is half a 95 % "
        "interval. Each variant differs from the base in what its description says.\n\n"
        "What it says: the damping counts most. Above the papers' 1e-3, up to 30-100 in our units (an Angstrom or ten "
        "degrees root mean square are length one), every sketch gets faster and the Euclidean metric is beaten in "
        "success and, within the noise, in steps; at 1e-3 it is not. A predictor that glides on saves steps, the "
        "second-order retraction perhaps more. H = 3 makes this predictor no better than H = 1 (a little worse) at "
        "twice the price. Eq. 2 to the letter (`paper`) and loss-aware probes cost steps. So the exact metric, "
        "lambda 30, order 2 and H = 1 ship. Measured before stiff directions of the loss were part of the metric.",
    ),
    (
        "ablation_led",
        "Parts of the controller, led by the policy",
        "geofold bench ablation --part led --out examples/results/ablation_led",
        "The same episodes about the agent `geossm` of the peptide benchmark: the policy leads, one natural step "
        "corrects. `observed_*`: what the pullback metric weighs of a move (that which ships: torsions and backbone "
        "positions); `r*_lambda*_beta*`: the paper's grid, by the Fisher sketch, and the damping that ships beside "
        "it.\n\n"
        "What it says: what costs most is the letter of Eq. 2 (`paper`: a third of the episodes fails), then a metric "
        "that is kept as it was at the first step (1.4 times the steps; the paper: a few points of success), G_psi "
        "and dampings from the paper's grid (20-28 steps, more with a higher rank; 15-17 at 30, whatever beta is). "
        "The Euclidean metric costs 1.15 times the steps here (2.1 +- 2.1), and not less if it heeds stiff "
        "directions, too; without those the pullback loses 1.4 +- 1.5. The exact metric and a Nystrom sketch of rank "
        "8 do alike, the Fisher sketch needs rank 12. H = 3 saves a step at twice the time (the paper: H = 1 is "
        "myopic), the order of the retraction makes no difference that can be told, and what the metric observes "
        "little. The gate is worth more than any of them: 10.9 steps, as many as with all of three corrections spent "
        "at every step, at 1.1 of them and the least time for an episode.",
    ),
    (
        "latency",
        "Latency",
        "geofold bench latency --out examples/results/latency",
        "One thread, after warm-up, agents in turn in one process, so ratios are what counts. Larger proteins are "
        "copies of one of 99 residues side by side on a lattice, with the same bent loop in the first: nothing but the "
        "size differs. H = 3 costs a predictor that holds still nothing, since its roll-out repeats the present loss "
        "and is spared; `peptide_glide` rolls out. Where the time goes stands in `profile.md` beside the records.",
    ),
    (
        "backbones",
        "Backbones",
        "geofold bench backbones --data FOLDER --out examples/results/backbones",
        "One thread. A streamed step of two blocks of width 64 after 1,024 and after 65,536 steps; training by scan "
        "over training step by step at 4,096 steps; and what 45 s of training each, with about 60,000 parameters, "
        "learns: negative log-likelihood of (phi, psi) of a residue given the sequence and the torsions before it "
        "(validation split, eight products of von Mises densities mixed), selective copying of 8 symbols of 64 "
        "steps and associative recall among 8 pairs (share of right answers; chance is 12 and 6 %). Plots beside the "
        "records: `streaming.png`, and `memory.png`, the memories of the lag operator and of HiPPO-LegS.\n\n"
        "What it says: all state-space models stream at a cost that does not grow; a full cache does (25 times from "
        "1,024 to 65,536 steps). Recall needs memory that the input selects: Mamba-2's matrix state (100 %) and the "
        "selective model (58 %) stand out, models that treat all inputs alike stay near a quarter. On torsions, at "
        "45 s on one core, what counts is how many batches fit: the minimal RNN and S5 are ahead, the selective model "
        "sees a quarter of their batches. So nothing here makes the selective model the default by itself; it is the "
        "default of the prior until the backbones have been compared there at equal budgets.",
    ),
    (
        "learning_prior",
        "Torsion prior",
        "geofold bench learning --part prior --data FOLDER --out examples/results/learning_prior",
        "The prior that ships, on the test split: negative log-likelihood of (phi, psi), beside the histogram of the "
        "residue's Ramachandran class (72 x 72 bins of the training split, half a count added); then chains of 128 "
        "residues drawn for sequences of the test split, beside those chains as they are. Runs are told by torsions "
        "alone; `runs.png` beside the records has their lengths.",
    ),
    (
        "learning_backbones",
        "Backbones as torsion priors",
        "geofold bench learning --part backbones --data FOLDER --out examples/results/learning_backbones",
        "Each backbone (width 64, two blocks) trained as the torsion prior for the same time on one thread: its "
        "batches a second are measured alone and the budget becomes a number of batches. Validation split; differences "
        "are paired by window of 128 residues, +- is half a 95 % interval.\n\n"
        "What it says: Hyena is the best at both budgets, ahead of the selective model by 0.043 nat after ten minutes, "
        "so the prior streams with Hyena. The selective model sees fewer batches in the time; but the minimal RNN sees "
        "half again as many as Hyena and stays behind it too.",
    ),
    (
        "learning_controller",
        "The learned controller",
        "geofold bench learning --part controller --data FOLDER --out examples/results/learning_controller",
        CONTROLLER,
    ),
    (
        "learning_peptide",
        "The peptide policy",
        "geofold bench learning --part peptide --out examples/results/learning_peptide",
        PEPTIDE_POLICY,
    ),
    (
        "learning_esm",
        "Loop models with other backbones, and elastic compute",
        "geofold bench learning --part esm --data FOLDER --out examples/results/learning_esm",
        "Loops of 8 and 12 residues of test-split chains (at most 250 residues), bent closed by 2-5 A, the same "
        "number of steps for all. `ssm` (S4D), `transformer` (window) and `ssm_attention` (selective, windowed "
        "attention) were trained as the loop model was and propose alone; `esm_uniform` corrects wherever the loop "
        "model rests, `esm` where its gate says so. Residual energies are above the native's; `minimised`: after "
        "OpenMM's minimisation of the loop, all else held. Operations of whole steps, kinematics and corrections with "
        "them.\n\n"
        "What it says: what is left above the native is 0.41 of the plain SSM's (ESM's paper: 0.68) and half of that "
        "of SSM with attention (p = 0.001); the gate does as well as corrections at every step of rest (p = 0.47) "
        "with six in ten of them. The price is 1.38 times the Transformer's operations (the paper: 0.78), most of "
        "which, 1.8 of 2.0 million, are the decoder's and the kinematics', the same for all. Predictors alone end in "
        "dozens of overlaps. 93 of the 100 loops could be drawn.",
    ),
    (
        "learning_packer",
        "Side chains on bare backbones",
        "geofold bench learning --part packer --out examples/results/learning_packer",
        "Sixteen proteins of `structures/`, every side chain taken off and packed again with the backbone as it is; "
        "PDBFixer adds the same atoms to the same backbones. Buried: 20 or more CA atoms within 10 A.",
    ),
)


def write_results(out: Path) -> None:
    """Write RESULTS.md beside `examples/results` (or into `out`, where that holds results).

    Raises
    ------
    InputFileError
        If there is no summary at all.
    """
    base = out if any(out.glob("*/summary.json")) else Path("examples/results")
    parts = [INTRODUCTION]
    for folder, title, command, text in SECTIONS:
        found = _read(base / folder)
        if found is not None:
            parts.append(_section(title, command, text, *found))
    if len(parts) == 1:
        raise InputFileError(f"{base} holds no summary.json", "the output folders of `geofold bench`", "run one first")
    write_all({"RESULTS.md": "\n".join(parts).encode()})
    print("RESULTS.md written")


def _read(folder: Path) -> tuple[dict[str, Any], str] | None:
    summary, table = folder / "summary.json", folder / "table.md"
    if not (summary.is_file() and table.is_file()):
        return None
    return json.loads(summary.read_text(encoding="utf-8")), table.read_text(encoding="utf-8")


def _section(title: str, command: str, text: str, summary: dict[str, Any], table: str) -> str:
    numbers = "\n".join(f"| `{name}` | {value:g} |" for name, value in summary["metrics"].items())
    machine = f"{summary['cpu']}, {summary['seconds']:.0f} s, commit {summary['commit']}"
    label = f"every metric ({machine}{', quick' if summary['quick'] else ''})"
    details = f"<details><summary>{label}</summary>\n\n| metric | value |\n|---|---|\n{numbers}\n\n</details>\n"
    return f"## {title}\n\n`{command}`\n\n{text}\n\n{table}\n{details}"
