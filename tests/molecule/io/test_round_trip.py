"""Reading and writing: what is not moved comes back byte for byte, and what is moved changes nothing else."""

from __future__ import annotations

import gzip
import re

import mdtraj
import numpy as np
import pytest
from Bio.PDB.MMCIF2Dict import MMCIF2Dict
from hypothesis import given, settings
from hypothesis import strategies as st

from geofold.errors import AltlocError, BackboneError, ChainBreakError, GeofoldError, OutputError, ResidueRangeError
from geofold.molecule.io.edit import with_atoms
from geofold.molecule.io.hybrid36 import decode36, encode36
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render, trajectory_pdb
from geofold.molecule.selection import find_range, find_residue, parse_range, segment_labels
from geofold.molecule.structure import AddedAtom, Structure
from geofold.resources import find

FILES = sorted(path for path in find("structures").iterdir() if path.suffix in (".pdb", ".cif"))
NAMES = [path.name for path in FILES]


def path_of(name: str):
    return find("structures", name)


def everything(structure: Structure) -> np.ndarray:
    return np.ones(len(structure), dtype=bool)


@pytest.fixture(scope="module")
def pti() -> Structure:
    return read(path_of("5pti.cif"))


@pytest.mark.parametrize("name", NAMES)
def test_unchanged_coordinates_give_the_same_bytes(name):
    data = path_of(name).read_bytes()
    structure = read(path_of(name))
    assert render(structure, structure.xyz, everything(structure)) == data
    assert sum(len(residue.atoms) for residue in structure.residues) == len(structure)


@pytest.mark.parametrize("name", ["2erl.pdb", "1a1p.pdb", "5pti.cif"])
@pytest.mark.parametrize(
    "variant",
    [
        lambda data: re.sub(rb"\r?\n", b"\r\n", data),
        lambda data: data.rstrip(b"\r\n "),
        lambda data: data.replace(b"STRUCTURE", b"STR\xdcCTURE").replace(b"REFINEMENT", b"REFINEMEN\xc9"),
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.replace(b"REFINEMENT", "RÉFINEMENT".encode()),
    ],
    ids=["crlf", "no final newline", "latin-1", "byte order mark", "utf-8"],
)
def test_encodings_and_line_ends_survive(name, variant):
    plain, data = read(path_of(name)), variant(path_of(name).read_bytes())
    assert data != path_of(name).read_bytes()
    for source in (data, gzip.compress(data)):
        structure = read(source)
        assert render(structure, structure.xyz, everything(structure)) == data
        assert np.array_equal(structure.xyz, plain.xyz)
        assert structure.links == plain.links


def test_content_decides_not_the_name(tmp_path):
    disguised = tmp_path / "model.pdb"
    disguised.write_bytes(gzip.compress(path_of("1yjp.cif").read_bytes()))
    assert np.array_equal(read(disguised).xyz, read(path_of("1yjp.cif")).xyz)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["1ejg.pdb", "1a1p.pdb", "2erl.pdb", "1ahsA.pdb"]),
    pick=st.integers(0, 10**6),
    where=st.tuples(*[st.floats(-99.9, 999.9)] * 3),
)
def test_moving_one_pdb_atom_changes_its_columns_only(name, pick, where):
    structure = read(path_of(name))
    i = pick % len(structure)
    xyz = structure.xyz.copy()
    xyz[i] = where
    moved = np.arange(len(structure)) == i
    old = path_of(name).read_text().splitlines(True)
    new = render(structure, xyz, moved).decode().splitlines(True)
    changed = [k for k in range(len(old)) if old[k] != new[k]]
    assert len(old) == len(new) and len(changed) <= 1
    for k in changed:
        assert (old[k][:30], old[k][54:]) == (new[k][:30], new[k][54:])
    back = read("".join(new).encode())
    assert np.abs(back.xyz[i] - xyz[i]).max() <= 0.5001e-4
    assert np.array_equal(np.delete(back.xyz, i, 0), np.delete(structure.xyz, i, 0))
    # An atom outside the mask stays, whatever its coordinates say.
    assert render(structure, xyz, ~moved) == path_of(name).read_bytes()


@settings(max_examples=30, deadline=None)
@given(pick=st.integers(0, 10**6), where=st.tuples(*[st.floats(-9999.0, 9999.0)] * 3))
def test_moving_one_mmcif_atom_changes_its_row_only(pti, pick, where):
    i = pick % len(pti)
    xyz = pti.xyz.copy()
    xyz[i] = where
    old, new = path_of("5pti.cif").read_bytes(), render(pti, xyz, np.arange(len(pti)) == i)
    pairs = list(zip(old.decode().splitlines(), new.decode().splitlines(), strict=True))
    changed = [(a.split(), b.split()) for a, b in pairs if a != b]
    assert len(changed) <= 1
    for a, b in changed:
        assert [k for k in range(len(a)) if a[k] != b[k]] == [k for k in (10, 11, 12) if a[k] != b[k]]
        assert all(len(value.partition(".")[2]) == 3 for value in b[10:13])
    assert np.abs(read(new).xyz[i] - xyz[i]).max() <= 0.5001e-4


def test_mmcif_columns_agree_with_biopython(pti):
    reference = MMCIF2Dict(str(path_of("5pti.cif")))
    assert pti.name.tolist() == reference["_atom_site.auth_atom_id"]
    assert pti.resnum.tolist() == [int(value) for value in reference["_atom_site.auth_seq_id"]]
    xyz = [[float(value) / 10 for value in reference[f"_atom_site.Cartn_{axis}"]] for axis in "xyz"]
    assert np.allclose(pti.xyz.T, xyz, rtol=0, atol=1e-12)
    sulphurs = {tuple(sorted((pti.resnum[link.i], pti.resnum[link.j]))) for link in pti.links}
    assert sulphurs == {(5, 55), (14, 38), (30, 51)}
    assert pti.title == "STRUCTURE OF BOVINE PANCREATIC TRYPSIN INHIBITOR. RESULTS OF JOINT NEUTRON AND X-RAY " \
                        "REFINEMENT OF CRYSTAL FORM II"  # fmt: skip


def test_mmcif_without_auth_items_and_with_quotes():
    text = path_of("1yjp.cif").read_text()
    labels = re.sub(r"_atom_site\.auth_", "_atom_site.other_", text)
    assert read(labels.encode()).name.tolist() == read(text.encode()).name.tolist()
    quoted = text.replace(" OD1 ", ' "OD1" ').replace("_struct.title ", "_struct.title\n;Two\nlines\n;\n_struct.other ")
    structure = read(quoted.encode())
    assert structure.title == "Two lines"
    assert render(structure, structure.xyz, everything(structure)) == quoted.encode()
    assert structure.name.tolist() == read(text.encode()).name.tolist()


def test_right_justified_mmcif_fields_keep_their_width():
    row = "ATOM {k} {e} {a} . GLY A 1 1 {x:>9} {y:>9} {z:>9} 1.0 0.0 1\n"
    items = (
        "group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id auth_seq_id label_seq_id "
        "Cartn_x Cartn_y Cartn_z occupancy B_iso_or_equiv pdbx_PDB_model_num"
    )
    head = "data_x\nloop_\n" + "".join(f"_atom_site.{item}\n" for item in items.split())
    atoms = [("N", "N ", "0.000", "0.100"), ("C", "CA", "1.450", "-0.100"), ("C", "C ", "-2.000", "10.000")]
    text = head + "".join(row.format(k=k, e=e, a=a, x=x, y=y, z=y) for k, (e, a, x, y) in enumerate(atoms, 1))
    structure = read(text.encode())
    xyz = structure.xyz - np.array([20.0, 20.0, 20.0])
    new = render(structure, xyz, everything(structure)).decode()
    assert [len(line) for line in new.splitlines()] == [len(line) for line in text.splitlines()]
    assert np.allclose(read(new.encode()).xyz, xyz, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_conformer_is_one_conformer(name):
    structure = read(path_of(name))
    mask = structure.conformer()
    for residue in structure.residues:
        chosen = residue.atoms[mask[residue.atoms]]
        assert len(chosen) and len(set(structure.name[chosen].tolist())) == len(chosen)
        assert len(set(structure.altloc[chosen].tolist()) - {""}) <= 1


def test_a_conformer_takes_the_highest_occupancy_or_the_letter_asked_for():
    crambin = read(path_of("1ejg.pdb"))
    residue = crambin.residues[21]
    assert residue.resname == "PRO" and len({*crambin.resname[residue.atoms].tolist()}) == 2
    letters = lambda mask: {*crambin.altloc[residue.atoms[mask[residue.atoms]]].tolist()} - {""}  # noqa: E731
    assert letters(crambin.conformer()) == {"A"} and letters(crambin.conformer("C")) == {"C"}
    with pytest.raises(AltlocError, match="A, B, C"):
        crambin.conformer("Q")


def test_kinds_of_residues_and_bonds():
    structure = read(path_of("1ajj.pdb"))
    calcium = next(i for i, residue in enumerate(structure.residues) if residue.resname == "CA")
    water = next(i for i, residue in enumerate(structure.residues) if residue.resname == "HOH")
    assert structure.element[structure.residues[calcium].atoms[0]] == "CA"
    assert not structure.is_amino_acid(calcium) and not structure.is_amino_acid(water)
    assert structure.is_water(water) and not structure.is_water(0)
    assert structure.bonded(0, 1) and not structure.bonded(0, 2)
    sources = [link.source for link in structure.links]
    assert (sources.count("SSBOND"), sources.count("LINK")) == (3, 6)
    cacodylate = read(path_of("1bhl.pdb"))
    modified = [i for i, residue in enumerate(cacodylate.residues) if residue.resname == "CAS"]
    assert modified and all(cacodylate.is_amino_acid(i) for i in modified)


def test_symmetry_mates_are_not_linked():
    data = path_of("1a1p.pdb").read_bytes()
    moved = data.replace(b"  1555   1555  2.02", b"  1555   2655  2.02").replace(b"CONECT", b"REMARK")
    assert "SSBOND" in {link.source for link in read(data).links}
    assert {link.source for link in read(moved).links} == {"LINK"}


def test_models_after_the_first_stay_as_they_are():
    structure = read(path_of("1a1p.pdb"))
    assert structure.n_models == 21 and "21 models" in structure.notes[0]
    old = path_of("1a1p.pdb").read_bytes()
    new = render(structure, structure.xyz + 1.0, everything(structure))
    first = old.index(b"ENDMDL")
    assert old[first:] == new[first:] and old[:first] != new[:first]
    stray = old.replace(b"MASTER", b"HETATM 9999  O   HOH A 999       1.000   1.000   1.000\nMASTER")
    loose = read(stray)
    assert len(loose) == len(structure) and any("no model" in note for note in loose.notes)
    assert render(loose, loose.xyz, everything(loose)) == stray


@pytest.mark.parametrize("name", ["1ubi.pdb", "2erl.pdb", "1ahsA.pdb", "1fas.cif"])
def test_added_atoms_are_only_added(name):
    structure = read(path_of(name))
    last = max(i for i in range(len(structure.residues)) if structure.is_amino_acid(i))
    added = [AddedAtom(i, a, "O", np.array([1.0, -2.0, 3.0])) for i, a in [(0, "OX1"), (last, "OX2"), (last, "OX3")]]
    whole = with_atoms(structure, added)
    new = render(whole, whole.xyz, everything(whole))
    old_lines, new_lines = path_of(name).read_text().splitlines(True), new.decode().splitlines(True)
    fresh = [line for line in new_lines if re.search(r" OX[123] ", line)]
    assert [line for line in new_lines if line not in fresh] == old_lines and len(fresh) == 3
    back = read(new)
    assert len(back.residues) == len(structure.residues) and len(back) == len(structure) + 3
    assert [len(r.atoms) for r in back.residues][last] == len(structure.residues[last].atoms) + 2
    assert back.serial[[back.name.tolist().index(f"OX{k}") for k in (1, 2, 3)]].tolist() == [
        structure_serials(name) + k for k in (1, 2, 3)
    ]
    one = int(np.flatnonzero(back.name == "OX3")[0])
    assert np.allclose(back.xyz[one], [1.0, -2.0, 3.0]) and back.occupancy[one] == 1.0
    assert back.bfactor[one] == pytest.approx(structure.bfactor[structure.residues[last].atoms].mean(), abs=0.006)


def structure_serials(name: str) -> int:
    if name.endswith(".cif"):
        return max(int(value) for value in MMCIF2Dict(str(path_of(name)))["_atom_site.id"])
    return max(int(line[6:11]) for line in path_of(name).read_text().splitlines() if re.match("ATOM|HETATM|TER", line))


def test_coordinates_that_do_not_fit_are_refused():
    structure = read(path_of("1ubi.pdb"))
    for bad in (1000.0, -100.0, np.nan):
        with pytest.raises(OutputError, match=r"1ubi\.pdb"):
            render(structure, np.full_like(structure.xyz, bad), everything(structure))


@pytest.mark.parametrize("name", ["1ejg.pdb", "5pti.cif", "2erl.pdb"])
def test_trajectories_are_read_by_mdtraj(name, tmp_path):
    structure = read(path_of(name))
    mask = structure.conformer()
    rng = np.random.default_rng(7)
    frames = structure.xyz + rng.normal(0.0, 0.1, (3, len(structure), 3))
    (tmp_path / "t.pdb").write_bytes(trajectory_pdb(structure, frames, np.tile(np.linspace(0, 99, len(mask)), (3, 1))))
    trajectory = mdtraj.load(str(tmp_path / "t.pdb"), standard_names=False)
    assert np.abs(trajectory.xyz - frames[:, mask]).max() < 0.6e-4
    assert [atom.name for atom in trajectory.topology.atoms] == structure.name[mask].tolist()
    again = read(trajectory_pdb(structure, frames[:, mask]))
    assert again.n_models == 3 and np.array_equal(again.resnum, structure.resnum[mask])


def test_numbers_beyond_the_columns():
    text = path_of("1yjp.cif").read_text()
    long = re.sub(r"(?m)^(ATOM .*\? )(\d)( +\w{3} )A", r"\g<1>1234\g<2>\g<3>HEAVY", text)
    structure = read(long.encode())
    assert structure.residues[0].label == "HEAVY:12341" and find_range(structure, "HEAVY:12342-12345") == (1, 4)
    again = read(trajectory_pdb(structure, structure.xyz[None]))
    assert len(again) == len(structure) and len(set(again.chain.tolist())) == 2
    assert np.abs(again.xyz - structure.xyz).max() < 1e-9


@given(st.integers(-999, 10**5 + 10**6))
def test_hybrid36_is_inverted(number):
    assert decode36(encode36(number, 5), 5) == number


def test_hybrid36_reference_values():
    # From the reference implementation's documentation.
    assert [encode36(n, 4) for n in (-999, 9999, 10000, 1223055)] == ["-999", "9999", "A000", "ZZZZ"]
    assert [decode36(text, 4) for text in ("a000", "zzzz", "A000", "****")] == [1223056, 2436111, 10000, None]


@given(
    st.sampled_from(["", "A", "z", "AA1", "1"]),
    *[st.tuples(st.integers(-999, 99999), st.sampled_from(["", "A", "Z"]))] * 2,
)
def test_ranges_are_read_as_written(chain, first, last):
    text = f"{chain}:{first[0]}{first[1]}-{last[0]}{last[1]}"
    wanted = parse_range(text)
    assert (wanted.chain, wanted.first, wanted.last) == (chain, first, last)
    assert parse_range(str(wanted)) == wanted
    single = parse_range(f"{chain}:{first[0]}{first[1]}")
    assert single.first == single.last == first


@pytest.mark.parametrize("text", ["", "45-56", "A", "A:", "A:45-", "A:4x5", "A:B", "A:45-A:56", "A:45:56"])
def test_ranges_that_cannot_be_read(text):
    with pytest.raises(ResidueRangeError, match="A:45-56"):
        parse_range(text)


def test_ranges_are_found():
    structure = read(path_of("1ubi.pdb"))
    assert find_range(structure, "A:45-56") == (44, 55)
    assert find_residue(structure, "A:3") == 2
    assert segment_labels(structure) == ["A:1-76"]
    assert find_range(read(path_of("2erl.pdb")), ":3-5") == (2, 4)
    assert segment_labels(read(path_of("1bhl.pdb"))) == ["A:57-137", "A:154-207"]


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("B:3-5", ResidueRangeError, "no chain 'B'.*A:1-76"),
        ("A:70-299", ResidueRangeError, "no residue A:299.*A:1-76"),
        ("A:56-45", ResidueRangeError, "A:45-56"),
        ("A:90", ResidueRangeError, "HOH"),
    ],
)
def test_ranges_that_are_not_there(text, error, said):
    with pytest.raises(error, match=said):
        find_range(read(path_of("1ubi.pdb")), text)


def test_gaps_and_missing_atoms():
    with pytest.raises(ChainBreakError, match=r"A:137 and A:154 .*A.*first: --build A:138-153"):
        find_range(read(path_of("1bhl.pdb")), "A:130-160")
    # numbers skip from 0 to 34 there, the chain does not
    skipping = read(path_of("2xdgA.pdb"))
    first, last = find_range(skipping, "A:0-40")
    assert skipping.residues[first + 1].resnum == 34 and skipping.residues[last].resnum == 40
    lines = path_of("1ubi.pdb").read_text().splitlines(True)
    without = read("".join(line for line in lines if line[12:26] != " O   GLN A  49").encode())
    with pytest.raises(BackboneError, match=r"A:49 GLN .*lacks O;"):
        find_range(without, "A:45-56")
    assert find_range(without, "A:50-56") == (49, 55)
    hidden = read("".join(line for line in lines if not re.match(r"ATOM.{18}  5[01]", line)).encode())
    with pytest.raises(ChainBreakError, match="A:49 and A:52"):
        find_range(hidden, "A:45-56")


def test_insertion_codes_and_negative_numbers():
    def renumber(line: str) -> str:
        number = int(line[22:26])
        new = f"{number - 2:4d} " if number < 45 else "  42A" if number == 45 else f"{number - 3:4d} "
        return line[:22] + new + line[27:]

    lines = path_of("1ubi.pdb").read_text().splitlines(True)
    text = "".join(renumber(line) for line in lines if line.startswith("ATOM"))
    structure = read(text.encode())
    assert find_range(structure, "A:42A-44") == (44, 46) and find_range(structure, "A:42-42A") == (43, 44)
    assert find_range(structure, "A:-1-3") == (0, 4) and find_range(structure, "A:-1--1") == (0, 0)
    assert structure.residues[44].label == "A:42A" and segment_labels(structure) == ["A:-1-73"]


@pytest.mark.parametrize("name", NAMES)
def test_every_span_of_a_file_is_a_range_or_says_why(name):
    structure = read(path_of(name))
    for span in segment_labels(structure):
        try:
            first, last = find_range(structure, span)
        except GeofoldError as error:
            assert isinstance(error, BackboneError | ChainBreakError), span
        else:
            assert structure.residues[first].label.partition(":")[2] in span and last >= first
