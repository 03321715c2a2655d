"""Mutations of the bytes of a file: encodings, line ends, compression, cuts."""

from __future__ import annotations

import gzip
from random import Random


def flip(content: bytes, noise: Random) -> bytes:
    """Some bytes are others."""
    made = bytearray(content)
    for _ in range(noise.choice((1, 3, 20))):
        made[noise.randrange(len(made))] = noise.randrange(256)
    return bytes(made)


def cut(content: bytes, noise: Random) -> bytes:
    """It ends early."""
    return content[: noise.randrange(len(content))]


def line_ends(content: bytes, noise: Random) -> bytes:
    """Line ends of other systems, one kind or a mixture."""
    if noise.random() < 0.3:
        ends = b"\n", b"\r\n", b"\r", b"\x0b", b"\x0c"
        return b"".join(line + noise.choice(ends) for line in content.split(b"\n"))
    return content.replace(b"\n", noise.choice((b"\r\n", b"\r", b"\n\n", b"\xe2\x80\xa8", b"\xc2\x85")))


def encodings(content: bytes, noise: Random) -> bytes:
    """Another encoding, with or without a mark of it."""
    text = content.decode("utf-8", "surrogatepass")
    name = noise.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp500", "utf-7", "latin-1"))
    return text.encode(name, "replace")


def nul(content: bytes, noise: Random) -> bytes:
    """Zero bytes: one, or the last block of a file that a full disk left behind."""
    if noise.random() < 0.5:
        return content[: noise.randrange(len(content))] + bytes(4096)
    where = noise.randrange(len(content))
    return content[:where] + b"\0" + content[where:]


def zipped(content: bytes, noise: Random) -> bytes:
    """Compressed: as it should be, cut off, with a byte changed, doubled, or with something behind it."""
    made = gzip.compress(content, mtime=0)
    return noise.choice((
        made, made, made[: noise.randrange(len(made))], flip(made, noise), made + made, made + b"trailing",
        gzip.compress(made, mtime=0), made[:10],
    ))  # fmt: skip


BYTES = (flip, flip, cut, line_ends, line_ends, encodings, nul, zipped, zipped)
