"""Time and memory of reading: linear in the text, and no more than the file itself needs."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from geofold.app.report.chain_breaks import breaks
from geofold.errors import BuildError, InputFileError
from geofold.molecule.io import content, pdb_reader
from geofold.molecule.io.cif_tokens import tokens
from geofold.molecule.io.hybrid36 import encode36
from geofold.molecule.io.read import read
from geofold.molecule.loop.build_request import plan_build
from geofold.molecule.numbering import numbers_between, numbers_of
from geofold.molecule.selection import parse_range
from geofold.molecule.topology.bonds import bond_list
from geofold.molecule.topology.gaps import find_gaps
from geofold.resources import find

UBIQUITIN = find("structures", "1ubi.pdb").read_text()
FASCICULIN = find("structures", "1fas.cif").read_text()
PRION = find("structures", "1yjp.cif").read_text()


def seconds(work: Callable[[], object]) -> float:
    """Least CPU time of three tries."""
    spent = []
    for _ in range(3):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def peak(work: Callable[[], object]) -> int:
    """Bytes that Python allocated at most."""
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def grows_linearly(work: Callable[[int], object], size: int) -> bool:
    """Whether eight times the size take far less than sixty-four times the time."""
    return seconds(lambda: work(8 * size)) < 24 * max(seconds(lambda: work(size)), 1e-3)


@pytest.mark.parametrize("unit", ["'a ", "'", '"a ', "'\" ", "a'b\" ", "'a'b", "'a\" ", "'a\n", ";'\n", "\n;"])
def test_tokens_take_time_linear_in_quotes(unit):
    assert grows_linearly(lambda size: sum(1 for _ in tokens(unit * size)), 4000)


@pytest.mark.parametrize("end", ["END\n", "END\nENDMDL\n"])
def test_models_are_counted_in_time_linear_in_end_records(end):
    atoms = [f"ATOM  {k % 100000:5d}  CA  ALA A{k % 10000:4d}{'ABCDEFGH'[k // 10000]}\n" for k in range(32000)]
    assert grows_linearly(
        lambda size: pdb_reader._first_model("".join(end + x for x in atoms[:size]).splitlines()), 4000
    )


def spanned(text: str) -> list[str]:
    return [text[start:end] for start, end in tokens(text)]


def test_quotes_close_where_a_blank_follows_and_open_nothing_where_none_does():
    assert spanned("'it's' \"a b\" 'x") == ["'it's'", '"a b"', "'x"]
    assert spanned("'a \"b c\" d\n'e f'") == ["'a", '"b c"', "d", "'e f'"]
    assert spanned("\"a 'b c' 'd\n\"") == ['"a', "'b c'", "'d", '"']
    assert spanned("'a \"b 'c #d 'e'\n#f") == ["'a \"b 'c #d 'e'", "#f"]
    assert spanned("'a \"b #c d\ne") == ["'a", '"b', "#c d", "e"]
    assert spanned("x '' \"\" ' '") == ["x", "''", '""', "' '"]


def scattered(name: Callable[[int], str], resname: str, count: int, *, number: Callable[[int], int]) -> str:
    """Carbons or sulphurs all over the place, of some residues of chain B."""
    places = np.random.default_rng(0).uniform(50, 350, (count, 3))
    return "".join(
        f"HETATM{k:5d} {name(k):<4s} {resname} B{number(k):4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00"
        f"           {'S' if resname == 'CYS' else 'C'}\n"
        for k, (x, y, z) in enumerate(places)
    )


@pytest.mark.parametrize(
    ("resname", "name", "number"),
    [("CYS", lambda k: " SG", lambda k: k), ("UNL", lambda k: encode36(10000 + k, 4), lambda k: 1),
     ("ALA", lambda k: encode36(10000 + k, 4), lambda k: 1)],
    ids=["sulphurs", "one residue without a template", "one residue with a template"],
)  # fmt: skip
def test_bonds_are_found_in_time_and_memory_that_grow_with_the_atoms(resname, name, number):
    atoms = "".join(line for line in UBIQUITIN.splitlines(True) if line.startswith("ATOM"))
    small, large = (read((atoms + scattered(name, resname, count, number=number)).encode()) for count in (1000, 8000))
    masks = small.conformer_mask, large.conformer_mask
    spent = [seconds(lambda s=s, m=m: bond_list(s, m)) for s, m in zip((small, large), masks, strict=True)]
    assert spent[1] < 24 * spent[0] and spent[1] < 3
    assert peak(lambda: bond_list(large, masks[1])) < 50 * 2**20


def test_a_link_between_repeated_names_is_the_first_ones():
    bond = "SSBOND   1 CYS B    0    CYS B    1                          1555   1555  2.02\n"
    atoms = "".join(line for line in UBIQUITIN.splitlines(True) if line.startswith("ATOM"))
    structure = read((bond * 9 + atoms + scattered(lambda k: " SG", "CYS", 2000, number=lambda k: k % 2)).encode())
    n = len(structure) - 2000
    assert [(link.i, link.j) for link in structure.links] == [(n, n + 1)]


SCHEME_END = FASCICULIN.index("#", FASCICULIN.index("_pdbx_poly_seq_scheme.hetero"))
INCOMPLETE = {
    "pdbx_poly_seq_scheme": FASCICULIN[:SCHEME_END] + "A 1 ?\n" + FASCICULIN[SCHEME_END:],
    "struct_conn": "data_x\nloop_\n_struct_conn.id\n_struct_conn.conn_type_id\ndisulf1 disulf disulf2\n"
    + PRION[PRION.index("loop_\n_atom_site.") :],
    "struct": PRION.replace("_struct.title ", "_struct.title _struct.entry_id2 "),
    "entity_poly_seq": FASCICULIN.replace("_entity_poly_seq.num", "_entity_poly_seq.num\n_entity_poly_seq.num"),
    "atom_site": PRION.replace("_atom_site.id ", "_atom_site.id\n_atom_site.id ", 1),
}


@pytest.mark.parametrize("table", INCOMPLETE)
def test_an_incomplete_row_of_any_category_is_named(table):
    assert INCOMPLETE[table] not in (FASCICULIN, PRION)
    with pytest.raises(InputFileError, match=rf"damaged {table} table; expected complete rows"):
        read(INCOMPLETE[table].encode())


def residue(number: str, shift: float) -> str:
    places = {"N": (0.0, 0.0, 0.0), "CA": (1.46, 0.0, 0.0), "C": (2.0, 1.42, 0.0), "O": (1.3, 2.4, 0.0)}
    return "".join(
        f"ATOM 1 {name[0]} {name} A {number} ALA {x + shift} {y} {z}\n" for name, (x, y, z) in places.items()
    )


ITEMS = ("group_PDB", "id", "type_symbol", "auth_atom_id", "auth_asym_id", "auth_seq_id", "auth_comp_id", "Cartn_x",
         "Cartn_y", "Cartn_z")  # fmt: skip
HEAD = "data_x\nloop_\n" + "".join(f"_atom_site.{item}\n" for item in ITEMS)


def test_a_gap_of_two_billion_residues_takes_no_memory():
    structure = read((HEAD + residue("1", 0.0) + residue("2000000000", 20.0)).encode())
    (gap,) = find_gaps(structure)
    assert len(gap.numbers) == 1_999_999_998
    assert (gap.numbers[0], gap.numbers[-1]) == ((2, ""), (1_999_999_999, ""))
    assert peak(lambda: find_gaps(structure)) < 10**6
    (found,) = breaks(structure)
    assert found["missing"] == 1_999_999_998 and "too many" in found["not_built_because"]
    assert peak(lambda: breaks(structure)) < 10**6


def test_intervals_are_sequences():
    plain = numbers_of(parse_range("A:8A-11B"))
    assert list(plain) == [(8, "A"), (9, ""), (10, ""), (11, ""), (11, "A"), (11, "B")]
    assert [plain[k] for k in range(-6, 0)] == list(plain) and plain[1:4] == tuple(plain)[1:4]
    assert (10, "") in plain and (10, "A") not in plain
    with pytest.raises(IndexError):
        plain[6]
    assert not numbers_between((5, "AB"), (5, "\u00e9")) and list(numbers_between((1, "%"), (3, "7"))) == [(2, "")]


@pytest.mark.parametrize("text", [
    "A:1-2000000000", "A:45-2000000000=GGG", "A:-2147483647-2147483647", "A:77-2000000000", "A:-2000000000-0=GGG",
])  # fmt: skip
def test_a_build_has_its_length_limit_before_anything_is_allocated(text):
    structure = read((HEAD + residue("-2147483647", 0.0) + residue("2147483647", 20.0)).encode())
    inside = read((HEAD + residue("0", 0.0) + residue("2100000000", 20.0)).encode())
    ubiquitin = read(UBIQUITIN.encode())
    recorded = read(find("structures", "1orc.pdb"))  # a record of missing ends
    for source in (structure, inside, ubiquitin, recorded):

        def ask(source=source):
            with pytest.raises(BuildError):
                plan_build(source, text)

        ask()
        assert peak(ask) < 10**6
    if text.startswith("A:1-"):
        with pytest.raises(BuildError, match=r"A:1-2000000000 has 2000000000 residues; expected 3 to 40"):
            plan_build(inside, text)


def test_what_a_gzip_file_unpacks_to_is_limited(monkeypatch, tmp_path):
    monkeypatch.setattr(content, "MAX_BYTES", 4 * 2**20)
    monkeypatch.setattr(content, "CHUNK", 2**16)
    bomb = gzip.compress(b" " * (64 * 2**20))
    assert len(bomb) < 10**5

    def ask():
        with pytest.raises(InputFileError, match=r"standard input holds more than 4 MB; expected a smaller file"):
            read(bomb)

    ask()
    assert peak(ask) < 10 * 2**20
    path = tmp_path / "long.pdb"
    path.write_bytes(b" " * (4 * 2**20 + 1))
    with pytest.raises(InputFileError, match=r"long\.pdb holds more than 4 MB"):
        read(path)
    assert len(read(gzip.compress(UBIQUITIN.encode()) + gzip.compress(b"END\n"))) == len(read(UBIQUITIN.encode()))


def test_an_endless_file_is_refused(monkeypatch):
    monkeypatch.setattr(content, "MAX_BYTES", 2**20)
    with pytest.raises(InputFileError, match="/dev/zero holds more than 1 MB"):
        read("/dev/zero")
