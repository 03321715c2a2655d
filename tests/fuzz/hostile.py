"""Values that a file or an argument may hold and should not: numbers, names, residue ranges, contacts."""

from __future__ import annotations

NUMBERS = (
    "1e308", "-1e308", "1e200", "1e400", "1e-400", "1e9", "nan", "NaN", "inf", "-inf", "2147483648", "-2147483649",
    "9223372036854775807", "9223372036854775808", "-9223372036854775809", "18446744073709551616", "9" * 4301,
    "-" + "7" * 9000, "0." + "3" * 5000, "1_2.34", "1_000", "--5", "5-", "+7", "-0", "-", "+", ".", "?", "", " ",
    "1.2.3", "1e", "e5", "0x1F", "0b1", "1,5", "1.25(3)", "1.25(", "1.25(3", "(3)", "\uff11\uff12.\uff15",
    "\u0663.\u0664", "\u00b2", "1\t2", "A000", "ZZZZ", "a000", "zzzzz", "****", "******", "9999", "-999", "10000",
    "99999.999", "-9999.999", "1e5", "100000.1", "0.0001", "True", "None", "1j", "$(1)", "1;2", "'", '"',
    "\x1b[31m", "\u2028",
)  # fmt: skip
VALUES = (
    "0", "1", "-5", "9", "42", "999", "-99", "9999", "0.5", "1.0", "0.00", "-0.1", "99.9", "100.0", "500.0", "A000",
    "",
)  # fmt: skip
"""Numbers that are none of the hostile ones, yet not what stood there."""
RESIDUES = (
    "ALA", "GLY", "PRO", "CYS", "CYX", "HIS", "HID", "HSP", "MSE", "TRP", "UNK", "HOH", "ACE", "NME", "NH2", "DAL",
    "SEP", "PTR", "NAG", "ZN", "CA", "A", "DA", "LIG", "", "X",
)  # fmt: skip
ATOMS = (
    "N", "CA", "C", "O", "CB", "OXT", "SG", "H", "HA", "1HB", "CG", "CD", "X", "ZN", "", "N1", "O5'",
)  # fmt: skip
ELEMENTS = (
    "C", "N", "O", "S", "H", "D", "SE", "ZN", "X", "", "1", "Q",
)  # fmt: skip
NAMES = (
    "", " ", "?", ".", "'", '"', "''", "C'", "O5'", "HO'2", "A B", "N", "CA", "C", "O", "CB", "OXT", "SG", "H",
    "1HB", "X", "ALA", "GLY", "PRO", "CYS", "CYX", "HID", "MSE", "UNK", "HOH", "ACE", "NME", "DAL", "SEP", "PTR",
    "NAG", "ZN", "CA2", "A", "B", "1", "-", "$(id)", "`id`", ";ls", "|", "<b>", "</script>", "\x1b[2J", "\x07",
    "\r", "\x7f", "\u202e", "\u00e9", "\u5b57", "loop_", "data_", "_atom_site.id", "#", ";", "Q" * 200, "ATOM",
    "HETATM", "TER", "END", "MODEL",
)  # fmt: skip
RANGES = (
    "", ":", "A", "A:", ":1", "A:1-", "A:-", "A:--5", "A:1--1", "A:5-1", "A:1-2-3", "A:1:2", "A:0-9999",
    "A:1-2000000000", "A:" + "9" * 5000, "A:1-9223372036854775808", "A:-9223372036854775809-1", "A:1_0-2_0",
    "A:\uff11-\uff15", "A:1A-1Z", "\u03a9:1-9", "A:1-9=" + "G" * 10, "A:1-9=", "A:1-9=gxz", "A:1-2000000000=A",
    "A:1-9=" + "A" * 5000, "*:1-9", "$(id):1-9", "A:1-9\n", "\x00", "A:1.5-3", "A:1e3-2e3", "A :1 - 9", "A:+1-+9",
    "A:\u00b2", "A:1-9/B:1-9", "\x1b[2J:1-3",
)  # fmt: skip
CONTACTS = (
    "", "<", "A:1-A:9", "A:1-A:9<", "A:1-A:9<nan", "A:1-A:9<inf", "A:1-A:9<-1", "A:1-A:9<1e308",
    "A:1-A:9<" + "9" * 5000, "A:1-A:9<1_0", "A:1@-A:9@<5", "A:1@XX-A:9@CA<5", "A:1-A:1<5", "A:1-9<5", "A:1-A:9>0",
    "A:1-A:9<>5", "A:1-A:9=5", "A:" + "9" * 5000 + "-A:9<5", "A:9223372036854775808-A:9<5", "A:--5-A:9<5",
    "A:1-A:9<\uff15",
)  # fmt: skip
RECORDS = (
    "END", "TER", "MODEL        1", "MODEL", "MODEL     99999999999999999999", "ENDMDL", "MASTER", "#", "loop_",
    "data_", "data_two", "stop_", "save_x", ";", "'", '"', "_atom_site.id", "_atom_site.Cartn_x", "_cell.length_a",
    "ATOM", "HETATM", "ANISOU", "CRYST1", "CONECT", "CONECT    1", "CONECT" + "    1" * 40,
    "CONECT99999999999999999999", "LINK", "SSBOND", "SSBOND   1 CYS A    1    CYS A    2",
    "SSBOND   1 CYS A 99999    CYS ? -9999", "SEQRES", "SEQRES   1 A 9999  GLY ALA VAL LEU ILE",
    "SEQRES  -1 A  x   GLY", "REMARK 465     GLY A     1", "REMARK 465   M RES C SSSEQI",
    "REMARK 465     XXX A 999999999999", "HET", "MODRES", "CISPEP", "HELIX", "\x1a", "\ufeff", "\t", "A" * 10000,
    "LINK         N   GLY A   1                 C   ALA A   9     1555   1555  1.33",
)  # fmt: skip
