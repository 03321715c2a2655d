"""Torsion trees: what may turn, what it carries, what holds it."""

from __future__ import annotations

import mdtraj
import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, shortest_path

from geofold.errors import AltlocError, BackboneError
from geofold.molecule.io.read import read
from geofold.molecule.structure import Structure
from geofold.molecule.topology.bonds import adjacency_list, bond_list, pairs_within_bonds
from geofold.molecule.topology.torsion_tree import CHI_ATOMS, TorsionTree, torsion_tree
from geofold.resources import find

STRETCHES = [(15, 40), (0, 20), (60, 75), (0, 75)]
SINGLE = ["1ubi.pdb", "1ajj.pdb", "1lpbA.pdb", "1i8nA.pdb"]


def load(name: str) -> Structure:
    return read(find("structures", name))


def lines_of(name: str) -> list[str]:
    return find("structures", name).read_text().splitlines()


def labels(structure: Structure, atoms) -> set[tuple[int, str]]:
    return {(int(structure.residue_of[a]), str(structure.name[a])) for a in atoms}


def carried(tree: TorsionTree, kind: str, residue: int) -> np.ndarray:
    j = next(j for j in range(len(tree)) if (tree.kind[j], tree.residue[j]) == (kind, residue))
    return tree.atoms[tree.influence[tree.body, j]]


@pytest.mark.parametrize("name", SINGLE)
def test_protein_bonds_are_those_of_mdtraj(name):
    structure = load(name)
    amino = np.array([structure.is_amino_acid(k) for k in range(len(structure.residues))])[structure.residue_of]
    ours = {b for b in bond_list(structure, structure.conformer()) if amino[list(b)].all()}
    topology = mdtraj.load(str(find("structures", name)), standard_names=False).topology
    theirs = {(min(a.index, b.index), max(a.index, b.index)) for a, b in topology.bonds}
    # mdtraj takes disulfides from CONECT records only
    sulphur = np.flatnonzero(structure.name == "SG")
    near = np.linalg.norm(structure.xyz[sulphur][:, None] - structure.xyz[sulphur], axis=-1) < 0.25
    theirs |= {(int(sulphur[a]), int(sulphur[b])) for a, b in zip(*np.nonzero(np.triu(near, 1)), strict=True)}
    heavy = amino & ~np.isin(structure.element, ["H", "D"])
    assert {b for b in ours if heavy[list(b)].all()} == {b for b in theirs if heavy[list(b)].all()}
    table = adjacency_list(sorted(ours), len(structure))
    hydrogens = np.flatnonzero((structure.element == "H") & amino)
    assert all(len(table[h]) == 1 for h in hydrogens)


def test_separations_are_shortest_paths():
    structure = load("1yjp.cif")
    bonds = bond_list(structure, structure.conformer())
    i, j = np.array(bonds).T
    n = len(structure)
    graph = coo_matrix((np.ones(len(i)), (i, j)), shape=(n, n))
    distance = shortest_path(graph, directed=False, unweighted=True)
    for depth in (1, 2, 3):
        found = set(pairs_within_bonds(adjacency_list(bonds, n), np.arange(n), depth))
        assert found == {(a, b) for a, b in zip(*np.nonzero(distance <= depth), strict=True) if a != b}


@pytest.mark.parametrize("first,last", STRETCHES)
def test_a_torsion_carries_what_lies_beyond_its_bond(first, last):
    """Reference: cut the bond, and look at which side of the stretch falls off."""
    structure = load("1ubi.pdb")
    tree = torsion_tree(structure, first, last)
    inside = (structure.residue_of >= first) & (structure.residue_of <= last)
    bonds = [b for b in bond_list(structure, tree.conformer) if inside[list(b)].all()]
    for j in range(len(tree)):
        cut = [b for b in bonds if set(b) != {tree.near[j], tree.far[j]}]
        assert len(cut) == len(bonds) - 1
        i, k = np.array(cut).T
        graph = coo_matrix((np.ones(len(i)), (i, k)), shape=(len(structure),) * 2)
        piece = connected_components(graph, directed=False)[1]
        assert piece[tree.near[j]] != piece[tree.far[j]]
        beyond = np.flatnonzero(inside & (piece == piece[tree.far[j]]))
        assert set(carried(tree, tree.kind[j], tree.residue[j]).tolist()) == set(beyond.tolist())


@pytest.mark.parametrize("first,last", STRETCHES)
def test_torsions_are_all_there_and_proline_keeps_phi(first, last):
    structure = load("1ubi.pdb")
    tree = torsion_tree(structure, first, last)
    want = set()
    for k in range(first, last + 1):
        proline = structure.residues[k].resname == "PRO"
        want |= {(k, "psi")} | (set() if proline else {(k, "phi")})
        want |= {(k, f"chi{c}") for c in range(1, len(CHI_ATOMS.get(structure.residues[k].resname, ())))}
    assert set(zip(tree.residue.tolist(), tree.kind, strict=True)) == want and len(tree) == len(want)
    assert any(structure.residues[k].resname == "PRO" for k in range(first, last + 1)) or last != 40
    assert (tree.parent < np.arange(len(tree))).all()
    for j, parent in enumerate(tree.parent):
        above = tree.influence[parent] if parent >= 0 else np.zeros(len(tree), dtype=bool)
        own = np.arange(len(tree)) == j
        assert (tree.influence[j] == (above | own)).all()
    bare = torsion_tree(structure, first, last, chi=False)
    assert bare.backbone.all() and len(bare) == tree.backbone.sum()


def test_roots():
    structure = load("1ubi.pdb")
    loop, tail, end, whole = (torsion_tree(structure, a, b) for a, b in ((30, 40), (0, 10), (60, 75), (0, 75)))
    assert [t.closed for t in (loop, tail, end, whole)] == [True, False, False, False]
    assert labels(structure, loop.anchor) == {(41, "N"), (41, "CA"), (41, "C")}
    assert (loop.kind[loop.end], loop.residue[loop.end]) == ("psi", 40)
    assert all(t.anchor is None and t.end == -1 for t in (tail, end, whole))
    for tree, root in ((loop, (30, "N")), (tail, (10, "C")), (end, (60, "N")), (whole, (37, "CA"))):
        first = np.flatnonzero(tree.parent < 0)
        assert root not in labels(structure, tree.atoms)
        # one residue further where a proline keeps the first bond from turning
        assert (np.abs(tree.residue[first] - root[0]) <= 1).all()


def test_disulfides_become_links():
    structure = load("1ajj.pdb")  # sulphurs of residues 8 and 26 are bonded, 8 moves, 26 does not
    tree = torsion_tree(structure, 5, 11)
    assert labels(structure, [a for link in tree.links for a in link]) == {(8, "SG"), (26, "SG")}
    both = torsion_tree(load("1ejg.pdb"), 1, 41, altloc="A")
    pairs = {frozenset(labels(load("1ejg.pdb"), link)) for link in both.links}
    assert frozenset({(2, "SG"), (39, "SG")}) in pairs and frozenset({(3, "SG"), (31, "SG")}) in pairs
    assert len(pairs) == len(both.links) == 3
    assert torsion_tree(structure, 2, 6).links == ()


def test_metal_coordination_becomes_a_link():
    structure = load("1ajj.pdb")
    tree = torsion_tree(structure, 22, 27)
    ends = labels(structure, [a for link in tree.links for a in link])
    assert {(23, "O"), (25, "OD2"), (38, "CA")} <= ends
    assert (38, "CA") not in labels(structure, tree.atoms)


def test_hydrogens_ride_with_their_heavy_atoms():
    structure = load("1lpbA.pdb")
    tree = torsion_tree(structure, 50, 60)
    body = dict(zip(tree.atoms.tolist(), tree.body.tolist(), strict=True))
    hydrogens = [a for a in tree.atoms if structure.element[a] == "H"]
    assert len(hydrogens) > 5
    for hydrogen in hydrogens:
        (heavy,) = tree.adjacency[hydrogen]
        own = {j for j in range(len(tree)) if tree.far[j] == heavy}
        assert body[hydrogen] == body.get(heavy, -1) or body[hydrogen] in own


def test_selenomethionine_turns_like_methionine():
    """Residue 1 of ubiquitin as MSE in HETATM records, as structures solved by MAD phasing have it."""
    changed = []
    for line in lines_of("1ubi.pdb"):
        if line[:4] == "ATOM" and line[22:26].strip() == "1":
            line = "HETATM" + line[6:17] + "MSE" + line[20:]
            if line[12:16].strip() == "SD":
                line = line[:12] + "SE  " + line[16:76] + "SE" + line[78:]
        changed.append(line)
    plain, strange = load("1ubi.pdb"), read("\n".join(changed).encode())
    assert strange.residues[0].resname == "MSE" and "SE" in strange.element
    one, other = torsion_tree(plain, 0, 6), torsion_tree(strange, 0, 6)
    for name in ("residue", "near", "far", "parent", "atoms", "body"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.kind == other.kind and "chi3" in one.kind


def glycosylated(bonded_to_another: bool = False) -> Structure:
    """Ubiquitin with the start of a glycan on the side chain of Asn 60, or clamped to Asn 25 as well."""
    lines = lines_of("1ubi.pdb")
    plain = load("1ubi.pdb")
    nd2 = plain.atom(59, "ND2", plain.conformer())
    cg = plain.atom(59, "CG", plain.conformer())
    out = plain.xyz[nd2] - plain.xyz[cg]
    out /= np.linalg.norm(out)
    side = np.cross(out, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    places = [plain.xyz[nd2] + 0.145 * out]
    places += [places[0] + 0.15 * (0.5 * out + 0.87 * side), places[0] + 0.143 * (0.5 * out - 0.87 * side)]
    added = [
        f"HETATM{900 + k:5d}  {name:<3s} NAG A 200    {x * 10:8.3f}{y * 10:8.3f}{z * 10:8.3f}  1.00 20.00{name[0]:>12s}"
        for k, (name, (x, y, z)) in enumerate(zip(("C1", "C2", "O5"), places, strict=True))
    ]
    link = "LINK         {0:<3s} ASN A{1:4d}                 {2:<3s} NAG A 200     1555   1555  1.45"
    records = [link.format("ND2", 60, "C1")] + ([link.format("ND2", 25, "C2")] if bonded_to_another else [])
    first = next(k for k, line in enumerate(lines) if line.startswith("ATOM"))
    end = max(k for k, line in enumerate(lines) if line.startswith(("ATOM", "HETATM"))) + 1
    return read("\n".join([*lines[:first], *records, *lines[first:end], *added, *lines[end:]]).encode())


def test_a_glycan_rides_on_its_side_chain():
    structure = glycosylated()
    tree = torsion_tree(structure, 56, 63)
    sugar = set(np.flatnonzero(structure.resname == "NAG").tolist())
    assert len(sugar) == 3 and sugar <= set(tree.atoms.tolist()) and not tree.links
    assert sugar <= set(carried(tree, "chi2", 59).tolist())


def test_a_glycan_held_elsewhere_is_a_link():
    structure = glycosylated(bonded_to_another=True)
    tree = torsion_tree(structure, 56, 63)
    assert not set(np.flatnonzero(structure.resname == "NAG").tolist()) & set(tree.atoms.tolist())
    assert len(tree.links) == 1 and {"ND2", "C1"} == {str(structure.name[a]) for a in tree.links[0]}


def test_an_amide_cap_rides_on_the_tail():
    structure = load("1a1p.pdb")
    cap = np.flatnonzero(structure.resname == "NH2")
    tree = torsion_tree(structure, 9, 12)
    assert len(cap) and set(cap.tolist()) <= set(carried(tree, "psi", 12).tolist())


def test_other_conformers_ride_along():
    structure = load("1ejg.pdb")
    double = [k for k in range(len(structure.residues)) if len(set(structure.altloc[structure.residues[k].atoms])) > 1]
    lettered = (structure.altloc != "") & np.isin(structure.name, ("N", "CA", "C", "O"))
    backbone = set(structure.residue_of[lettered].tolist())
    side = next(k for k in double if not backbone & set(range(k - 1, k + 3)) and k > 2)
    tree = torsion_tree(structure, side - 1, side + 2)
    atoms = structure.residues[side].atoms
    assert set(atoms.tolist()) <= set(tree.atoms.tolist())
    body = dict(zip(tree.atoms.tolist(), tree.body.tolist(), strict=True))
    others = [int(a) for a in atoms if not tree.conformer[a]]
    assert others and {body[a] for a in others} == {body[structure.atom(side, "CB", tree.conformer)]}


def test_several_backbones_need_a_choice():
    structure = load("1ejg.pdb")
    with pytest.raises(AltlocError, match="altloc"):
        torsion_tree(structure, 5, 14)
    assert len(torsion_tree(structure, 5, 14, altloc="A")) and len(torsion_tree(structure, 5, 14, altloc="B"))


@pytest.mark.parametrize("name,residue", [("CA", 33), ("C", 33), ("N", 33), ("CA", 36)])
def test_missing_backbone_atoms_are_named(name, residue):
    lines = [
        line for line in lines_of("1ubi.pdb")
        if not (line[:4] == "ATOM" and line[22:26].strip() == str(residue) and line[12:16].strip() == name)
    ]  # fmt: skip
    with pytest.raises(BackboneError, match=f"A:{residue}|:{residue}"):
        torsion_tree(read("\n".join(lines).encode()), 30, 34)
