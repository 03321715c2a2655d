"""Closing a new loop: it meets the residue after the gap, with ideal geometry all the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from app_cases import STRUCTURES
from build_cases import without, without_records

from geofold import geometry
from geofold.geometry import dihedral
from geofold.learn.torsion_prior.model import shipped_prior
from geofold.modelling.search.candidates import LoopCandidates
from geofold.molecule.io.edit import with_residues
from geofold.molecule.io.read import read
from geofold.molecule.kinematics.forward import Kinematics, positions
from geofold.molecule.kinematics.inverse import IK_TOLERANCE as TOLERANCE
from geofold.molecule.loop.batch_states import cost_of_rows, state_of_rows
from geofold.molecule.loop.build_plan import rebuild_plan
from geofold.molecule.loop.build_request import plan_build
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.ideal_segment import IdealSegment
from geofold.molecule.loop.torsion_sampling import sample_torsions
from geofold.molecule.records import NewResidue
from geofold.molecule.residues import one_letter_code
from geofold.molecule.selection import backbone_atoms, find_range, parse_range
from geofold.molecule.sidechains.packing import backbone_torsions
from geofold.molecule.structure import Structure
from geofold.resources import find

ROWS = 32


def gapped(name: str, span: str) -> Structure:
    """A shipped structure without the residues of a range, which it does not tell the sequence of either."""
    wanted = parse_range(span)
    content = without(name, (wanted.first[0], wanted.last[0]))
    return read(without_records(content, "SEQRES"), name=name)


def native(name: str, span: str) -> str:
    """The range with the sequence that stands there."""
    structure = read(STRUCTURES / name)
    first, last = find_range(structure, span)
    return f"{span}=" + "".join(one_letter_code(residue.resname) for residue in structure.residues[first : last + 1])


def bridged(name: str, span: str) -> tuple[Structure, IdealSegment, torch.Tensor, torch.Tensor]:
    """Structure with the first closed draw in place, segment, closed increments, which closed."""
    structure = gapped(name, span)
    build = plan_build(structure, native(name, span))
    segment = IdealSegment.of(structure, build)
    drawn = sample_torsions(structure, build, shipped_prior()[0], ROWS, np.random.default_rng(0))[0]
    delta, closed = segment.close(segment.increments(drawn))
    names, rows = segment.coordinates(delta[closed])
    ends = np.cumsum([len(own) for own in names])[:-1]
    new = [
        NewResidue(residue, number, own, tuple(atom[0] for atom in own), xyz)
        for residue, number, own, xyz in zip(build.names, build.numbers, names, np.split(rows[0], ends), strict=True)
    ]  # fmt: skip
    return with_residues(structure, build.before, build.removed, new), segment, delta, closed


@pytest.mark.parametrize(("name", "span"), [("1ubi.pdb", "A:45-56"), ("1ubi.pdb", "A:7-9"), ("1fas.cif", "A:8-15"),
                                            ("1ubi.pdb", "A:33-36"), ("1ejg.pdb", "A:36-40")])  # fmt: skip
def test_loops_close_with_ideal_bonds_angles_and_trans_peptides(name: str, span: str) -> None:
    structure, _, _, closed = bridged(name, span)
    assert closed.sum() >= ROWS / 2
    first, last = find_range(structure, span)
    mask = structure.conformer_mask

    def place(k: int, atom: str) -> np.ndarray:
        return structure.xyz[structure.atom(k, atom, mask)]

    for k in range(first - 1, last + 1):
        assert np.linalg.norm(place(k, "C") - place(k + 1, "N")) == pytest.approx(0.133, abs=0.0005)
        omega = dihedral(place(k, "CA"), place(k, "C"), place(k + 1, "N"), place(k + 1, "CA"))
        assert abs(abs(float(omega)) - np.pi) < 0.01
        for one, corner, two in ((place(k, "CA"), place(k, "C"), place(k + 1, "N")),
                                 (place(k, "C"), place(k + 1, "N"), place(k + 1, "CA"))):  # fmt: skip
            arms = (one - corner, two - corner)
            cosine = arms[0] @ arms[1] / np.linalg.norm(arms[0]) / np.linalg.norm(arms[1])
            assert 115.0 < np.degrees(np.arccos(cosine)) < 124.0


def test_the_ghost_lies_on_the_residue_after_the_gap() -> None:
    _, segment, delta, closed = bridged("1ubi.pdb", "A:45-52")
    xyz = torch.as_tensor(segment.peptide.xyz)[segment.kinematics.atoms].expand(len(delta), -1, -1)
    ends = positions(segment.kinematics, xyz, delta)[:, segment.ghost_rows]
    apart = (ends - segment.target).abs().amax((1, 2))
    assert torch.equal(apart < TOLERANCE, closed) and bool(closed.all())


def test_closing_turns_as_little_as_a_closed_loop_needs() -> None:
    _, segment, delta, _ = bridged("1ubi.pdb", "A:45-52")
    again, closed = segment.close(delta)
    assert bool(closed.all()) and torch.equal(again, delta)


def test_a_proline_or_an_amide_hydrogen_after_the_gap_fixes_its_phi() -> None:
    structure, segment, _, _ = bridged("1ubi.pdb", "A:33-36")  # P37 follows
    k = next(k for k, residue in enumerate(structure.residues) if residue.resnum == 37)
    mask = structure.conformer_mask
    n, ca, cd = (structure.xyz[structure.atom(k, name, mask)] for name in ("N", "CA", "CD"))
    carbon = structure.xyz[structure.atom(k - 1, "C", mask)]
    arms = [(x - n) / np.linalg.norm(x - n) for x in (carbon, ca, cd)]
    assert abs(np.linalg.det(np.stack(arms))) < 0.01  # N stays planar
    assert not any(kind == "phi" and r == 5 for kind, r in zip(segment.tree.kind, segment.tree.residue, strict=True))
    _, hydrogens, _, _ = bridged("1ejg.pdb", "A:27-31")
    last = len(hydrogens.peptide.residues) - 1
    held = (hydrogens.tree.residue == last) & (np.array(hydrogens.tree.kind) == "phi")
    assert held.any() and not bool(hydrogens.rotatable[torch.as_tensor(held)].any())


def test_reach_is_the_gap_and_the_longest_span() -> None:
    structure = gapped("1ubi.pdb", "A:45-52")
    apart, most = IdealSegment.of(structure, plan_build(structure, "A:45-52=FAGKQLED")).reach
    ends = [structure.atom(k, name, structure.conformer_mask) for k, name in ((43, "C"), (44, "N"))]
    assert apart == pytest.approx(float(np.linalg.norm(structure.xyz[ends[0]] - structure.xyz[ends[1]])))
    assert 0.33 * 8 < most < 0.40 * 8 + 0.15


def test_draws_are_the_same_for_the_same_seed_and_know_the_sequence() -> None:
    structure = gapped("1ubi.pdb", "A:45-48")
    build = plan_build(structure, "A:45-48=GPAP")
    one, two = (
        sample_torsions(structure, build, shipped_prior()[0], 64, np.random.default_rng(3))[0] for _ in range(2)
    )
    assert one.shape == (64, 5, 2) and np.array_equal(one, two)
    prolines, glycine = np.degrees(one[:, [1, 3], 0]), np.degrees(one[:, 0, 0])
    assert ((prolines > -110) & (prolines < -40)).mean() > 0.95 and (glycine > 0).mean() > 0.1


def test_a_state_of_rows_says_of_each_row_what_it_is() -> None:
    structure = read(STRUCTURES / "1ubi.pdb")
    domain = LoopDomain.of(structure, 44, 51)
    kinematics = Kinematics.of(domain.tree)
    local = torch.as_tensor(structure.xyz)[kinematics.atoms].expand(3, -1, -1)
    turned = 0.3 * torch.as_tensor(np.random.default_rng(0).standard_normal((3, len(domain.tree))))
    moved = positions(kinematics, local, turned).numpy()
    whole = np.repeat(structure.xyz[None], 3, 0)
    whole[:, kinematics.atoms.numpy()] = moved
    own = (structure.residue_of >= 44) & (structure.residue_of <= 51)
    state = state_of_rows(domain, structure, whole[:, own])
    assert np.allclose(state.conformation.angle, (turned + np.pi) % (2 * np.pi) - np.pi, atol=1e-9)
    assert np.allclose(state.conformation.xyz[:, torch.as_tensor(domain.decoder.kinematics.body < len(domain.tree))],
                       moved[:, (domain.decoder.kinematics.body < len(domain.tree)).numpy()])  # fmt: skip
    psi = domain.angles.at(state.conformation.angle)[1][1, 2]
    there = backbone_torsions(replace(structure, xyz=whole[1]))[46, 1]
    assert np.cos(float(psi) - there) == pytest.approx(1.0, abs=1e-9)


def test_a_proline_is_built_cis_where_the_plan_says_so_and_the_prior_has_a_price_for_it() -> None:
    structure = gapped("1ubi.pdb", "A:35-41")
    build = plan_build(structure, native("1ubi.pdb", "A:35-41"))
    plans = build.cis_prolines()
    assert [build.names[k] for plan in plans for k in plan.cis] == ["PRO", "PRO"]
    assert sample_torsions(structure, build, shipped_prior()[0], 8, np.random.default_rng(0))[1] == 0.0
    for plan in plans:
        loop = LoopCandidates.of(structure, plan, predicts=False)
        assert loop.cis_penalty > 0.5
        whole, (first, _) = loop.structure, loop.span
        omega = [
            float(dihedral(*(whole.xyz[whole.atom(j, name, whole.conformer_mask)]
                             for j, name in ((k - 1, "CA"), (k - 1, "C"), (k, "N"), (k, "CA")))))
            for k in range(first, first + len(plan.names) + 1)
        ]  # fmt: skip
        assert [k for k, turn in enumerate(omega) if abs(turn) < 0.01] == list(plan.cis)
        assert all(abs(abs(turn) - np.pi) < 0.01 for k, turn in enumerate(omega) if k not in plan.cis)


@pytest.mark.parametrize(("name", "span"), [("1ubi.pdb", "A:45-56"), ("1pwc.pdb", "A:150-161")])
def test_a_native_loop_is_fitted_more_closely_than_closed(name: str, span: str) -> None:
    structure = read(STRUCTURES / name)
    first, last = find_range(structure, span)
    loop = LoopCandidates.of(structure, rebuild_plan(structure, first, last))
    atoms = np.array(backbone_atoms(structure, first, last, structure.conformer_mask))
    backbone = structure.xyz[atoms].reshape(1, -1, 4, 3)
    torsions = backbone_torsions(structure)[None, first : last + 2, :2]
    fitted, closed = loop.fit(torsions, backbone), loop.close(torsions)
    assert len(fitted) == 1
    rmsd = [10 * geometry.rmsd(loop.backbone(rows)[0], backbone[0], (0, 1)) for rows in (fitted, closed)]
    assert rmsd[0] < 0.6 and rmsd[0] < rmsd[1]
    again = loop.close(loop.torsions(fitted))
    np.testing.assert_allclose(loop.backbone(again), loop.backbone(fitted), atol=1e-4, err_msg="it is closed")


def test_the_cost_of_rows_is_that_of_their_state() -> None:
    structure = read(find("structures", "1ubi.pdb"))
    loop = LoopCandidates.of(structure, rebuild_plan(structure, 44, 51), predicts=False)
    rows = loop.draw(40, np.random.default_rng(5))
    with torch.no_grad():
        expected = loop.domain.cost(state_of_rows(loop.domain, loop.structure, rows)).numpy()
    cost = cost_of_rows(loop.domain, loop.structure, rows)
    np.testing.assert_allclose(cost, expected, rtol=1e-9)
    assert cost.max() > 100 and len(cost_of_rows(loop.domain, loop.structure, rows[:0])) == 0
