"""Rotamers built, packed and found again."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from geofold import resources
from geofold.bench.models.side_chain_packer import strip_side_chains
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.io.read import read
from geofold.molecule.residues import AMINO_ACID_LETTERS
from geofold.molecule.sidechains import packing
from geofold.molecule.sidechains.dead_end_elimination import anneal, eliminate, interactions
from geofold.molecule.sidechains.packing import backbone_torsions, find_shell, pack, place_side_chains
from geofold.molecule.sidechains.rotamer_library import (
    backbone_frames,
    build_rotamers,
    chi_angles,
    library_type,
    load_library,
    side_chain,
)
from geofold.molecule.structure import Structure
from geofold.molecule.topology.bonds import link_bonds, templates

NAMES = sorted({residue.resname for residue in peptide(AMINO_ACID_LETTERS).residues} - {"ALA", "GLY"})


def shipped(name: str) -> Structure:
    return read(resources.find("structures", name))


def away(one, other):
    return np.abs((np.asarray(one) - other + math.pi) % (2 * math.pi) - math.pi)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_built_has_the_chi_that_was_asked_for(name: str) -> None:
    """And the bonds and angles of the template, whatever the rotamer."""
    chain = side_chain(name)
    assert chain is not None
    kinds = ("TPR", "CPR") if name == "PRO" else (name,)
    structure = peptide(
        "A" + AMINO_ACID_LETTERS[[r.resname for r in peptide(AMINO_ACID_LETTERS).residues].index(name)] + "A"
    )
    place = {str(structure.name[a]): int(a) for a in structure.residues[1].atoms}
    rotation, origin = backbone_frames(*(structure.xyz[place[k]] for k in ("N", "CA", "C")))
    for kind in kinds:
        p, chi, sigma = load_library().rotamers(kind, -1.1, 2.3)
        assert p.sum() == pytest.approx(1.0) and (np.diff(p) <= 1e-9).all() and (sigma > 0).all()
        for wanted, atoms in zip(chi, build_rotamers(chain, chi, rotation, origin), strict=True):
            xyz = structure.xyz.copy()
            for atom, where in zip(chain.names, atoms, strict=True):
                xyz[place[atom]] = where
            turned = replace(structure, xyz=xyz)
            assert away(chi_angles(turned, 1, turned.conformer_mask), wanted).max() < 1e-9
            for one, other in templates()[name]:
                if one in place and other in place and {one, other} != {"N", "CD"}:
                    bond = [np.linalg.norm(x[place[one]] - x[place[other]]) for x in (structure.xyz, xyz)]
                    assert bond[0] == pytest.approx(bond[1], abs=1e-9)
                elif {one, other} == {"N", "CD"}:
                    assert 0.135 < np.linalg.norm(xyz[place["N"]] - xyz[place["CD"]]) < 0.165, "an open ring"


def test_choice_is_the_best_there_is() -> None:
    """Dead-end elimination and annealing against all combinations."""
    structure = strip_side_chains(shipped("1ubi.pdb"))
    conformer, torsions = structure.conformer_mask, backbone_torsions(structure)
    core = [k for k in find_shell(structure, [25], 1.0) if side_chain(structure.residues[k].resname)]
    fixed = packing._fixed_atoms(structure, core, conformer, packing._missing_cb(structure, torsions, conformer))
    every = [packing._candidate_rotamers(structure, k, torsions[k], conformer, fixed) for k in core]
    # the residue with the most neighbours, and four of them
    around = Counter(i for pair in interactions(every) for i in pair)
    most = around.most_common(1)[0][0]
    near = [next(k for k in pair if k != most) for pair in interactions(every) if most in pair][:4]
    sites = [every[k] for k in (most, *near)]
    for site in sites:
        site.keep(np.argsort(site.energy)[:7])
    pairs = interactions(sites)
    assert len(pairs) >= 3
    lowest = min(
        sum(float(s.energy[p]) for s, p in zip(sites, picks, strict=True))
        + sum(float(table[picks[i], picks[j]]) for (i, j), table in pairs.items())
        for picks in itertools.product(*(range(len(s.energy)) for s in sites))
    )
    eliminate(sites, pairs)
    assert anneal(sites, pairs, 0)[1] == pytest.approx(lowest, abs=1e-9)


def test_buried_side_chains_come_back_on_strip_side_chainss() -> None:
    """chi1 within 40 degrees for three quarters of the residues with 20 CA atoms or more within 10 A."""
    right = total = 0
    for name in ("1pdoA.pdb", "2gu3A.pdb", "1bhl.pdb", "2xcjA.pdb"):
        native = shipped(name)
        structure = strip_side_chains(native)
        packed = pack(structure)
        places = {(r.chain, r.resnum, r.icode): k for k, r in enumerate(native.residues)}
        ca = structure.xyz[structure.name == "CA"]
        for k, chi in zip(packed.residue.tolist(), packed.chi, strict=True):
            residue = structure.residues[k]
            wanted = chi_angles(native, places[residue.chain, residue.resnum, residue.icode], native.conformer_mask)
            here = structure.xyz[structure.atom(k, "CA", structure.conformer_mask)]
            if (np.linalg.norm(ca - here, axis=1) < 1.0).sum() > 20 and np.isfinite(wanted[0]):
                total += 1
                right += bool(away(chi[0], wanted[0]) < math.radians(40))
    assert total > 80 and right / total > 0.8


@pytest.mark.parametrize("name", ["5pti.cif", "1ajj.pdb"])
def test_disulfides_are_found_on_strip_side_chainss(name: str) -> None:
    native = shipped(name)
    structure = strip_side_chains(native)
    packed = pack(structure)
    sulphur = {
        structure.residues[k].resnum: atoms[0]
        for k, atoms in zip(packed.residue.tolist(), packed.xyz, strict=True)
        if structure.residues[k].resname == "CYS"
    }
    found = {
        (i, j) for i, j in itertools.combinations(sorted(sulphur), 2)
        if np.linalg.norm(sulphur[i] - sulphur[j]) < 0.23
    }  # fmt: skip
    wanted = {
        tuple(sorted(int(native.resnum[a]) for a in bond))
        for bond in link_bonds(native, native.conformer_mask)
        if all(native.name[a] == "SG" for a in bond)
    }
    assert found == wanted and len(wanted) == 3


def test_same_seed_same_choice_at_any_position_of_the_protein() -> None:
    structure = strip_side_chains(shipped("1ajj.pdb"))
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    turn *= np.linalg.det(turn)
    moved = replace(structure, xyz=structure.xyz @ turn.T + 1.7)
    one, again, other = pack(structure, seed=3), pack(structure, seed=3), pack(moved, seed=3)
    for a, b, c in zip(one.xyz, again.xyz, other.xyz, strict=True):
        assert np.array_equal(a, b)
        np.testing.assert_allclose(c, a @ turn.T + 1.7, atol=1e-6)


def test_a_shell_leaves_the_rest_alone_and_sees_it() -> None:
    structure = shipped("1ubi.pdb")
    around = find_shell(structure, list(range(44, 56)))
    packed = pack(structure, around)
    assert set(packed.residue.tolist()) <= set(around.tolist()) and set(range(44, 56)) <= set(around.tolist())
    xyz, added, stale = place_side_chains(structure, packed)
    moved = np.flatnonzero((xyz != structure.xyz).any(1))
    assert set(structure.residue_of[moved].tolist()) <= set(packed.residue.tolist())
    assert not np.isin(structure.name[moved], ("N", "CA", "C", "O", "CB")).any()
    assert not added and not stale[moved].any()


def test_what_a_strip_side_chains_lacks_is_added() -> None:
    native = shipped("1ajj.pdb")
    structure = strip_side_chains(native)
    xyz, added, _ = place_side_chains(structure, pack(structure))
    assert np.array_equal(xyz, structure.xyz)
    here = {(a.residue, a.name) for a in added}
    wanted = {
        (k, str(native.name[a]))
        for k in range(len(structure.residues)) for a in native.residues[k].atoms
        if native.conformer_mask[a] and native.name[a] not in ("N", "CA", "C", "O", "OXT")
        and native.element[a] not in ("H", "D") and native.residues[k].resname != "GLY"
    }  # fmt: skip
    assert here == wanted


def test_prolines_are_cis_or_trans_by_the_omega_before_them() -> None:
    assert (
        library_type("PRO", math.pi) == "TPR"
        and library_type("PRO", 0.1) == "CPR"
        and library_type("PRO", math.nan) == "TPR"
    )
    assert library_type("MSE", math.pi) == "MET"
    trans, cis = (load_library().rotamers(kind, -1.2, 2.6)[0] for kind in ("TPR", "CPR"))
    assert abs(trans[0] - cis[0]) > 0.01


def test_selenomethionine_is_packed_with_its_selenium() -> None:
    chain = side_chain("MSE")
    assert chain is not None and "SE" in chain.names and chain.elements[chain.names.index("SE")] == "SE"
    assert chain.names.index("SE") == side_chain("MET").names.index("SD")  # type: ignore[union-attr]
