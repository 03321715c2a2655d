"""3Dmol.js, which draws the protein of a viewer page: linked to, or put in.

3Dmol.js is linked to by default, not put in: it has 538 kB (156 kB as a server sends it), many times what most pages
hold of their own, it is not ours to ship in the package, and a browser keeps it for the next page. The link names one
version and its SHA-384, so that a browser runs these very bytes or nothing; ``--offline`` puts the library in.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from geofold import resources
from geofold.errors import OptionError

LIBRARY_URL = "https://cdn.jsdelivr.net/npm/3dmol@2.5.5/build/3Dmol-min.js"
LIBRARY_INTEGRITY = "sha384-OsczYbldvrHgslr9fFp/i4GiLSeuw9l+QIlv99ITw8soOwXcoGeflFMLg+CU/X1d"
"""Of ``build/3Dmol-min.js`` in npm's 3dmol-2.5.5.tgz, which is what the address above serves."""
LIBRARY_FILE = Path("node_modules", "3dmol", "build", "3Dmol-min.js")
LIBRARY_VARIABLE = "GEOFOLD_3DMOL_JS"


def library_path() -> Path:
    """Where 3Dmol.js lies.

    Looked for in the file named by ``GEOFOLD_3DMOL_JS``, then as npm would: ``node_modules/3dmol`` in the working
    directory and its parents, then beside the package.

    Raises
    ------
    OptionError
        If there is none.
    """
    named = os.environ.get(LIBRARY_VARIABLE)
    here = Path.cwd()
    folders = [here, *here.parents, resources.PACKAGE.parent]
    candidates = [Path(named)] if named else [folder / LIBRARY_FILE for folder in folders]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        raise OptionError(
            f"{LIBRARY_VARIABLE}={named}, which is no file" if named else "an offline page without 3Dmol-min.js",
            "3Dmol.js (npm package 3dmol) to put into the page",
            f"run 'npm install 3dmol' in the working directory, or set {LIBRARY_VARIABLE} to build/3Dmol-min.js",
        )
    return path


def library_source() -> str:
    """3Dmol.js as the inside of a ``script`` element, with its licence above it.

    Raises
    ------
    OptionError
        If there is none.
    """
    path = library_path()
    licence = path.parent.parent / "LICENSE"
    notice = (
        licence.read_text(encoding="utf-8", errors="replace")
        if licence.is_file()
        else ("3Dmol.js, Copyright (c) 2014, University of Pittsburgh and contributors, BSD-3-Clause")
    )
    text = "/*! " + notice.replace("*/", "* /") + " */\n" + path.read_text(encoding="utf-8")
    # Both sequences change how a browser reads a script element; inside JavaScript strings the backslash is void.
    return re.sub(r"<(/script|!--)", r"<\\\1", text, flags=re.IGNORECASE)
