"""3Dmol.js, which draws the protein of a viewer page, linked or embedded.

By default 3Dmol.js is linked: its 538 kB (156 kB compressed) exceed the rest of most pages many times, it is not part
of the package, and a browser caches it. The link names a version and its SHA-384, so that a browser runs exactly these
bytes or nothing; ``--offline`` embeds the library.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from geofold import resources
from geofold.errors import OptionError

LIBRARY_URL = "https://cdn.jsdelivr.net/npm/3dmol@2.5.5/build/3Dmol-min.js"
LIBRARY_INTEGRITY = "sha384-OsczYbldvrHgslr9fFp/i4GiLSeuw9l+QIlv99ITw8soOwXcoGeflFMLg+CU/X1d"
"""SHA-384 of ``build/3Dmol-min.js`` in npm's 3dmol-2.5.5.tgz, the file at the address above."""
LIBRARY_FILE = Path("node_modules", "3dmol", "build", "3Dmol-min.js")
LIBRARY_VARIABLE = "GEOFOLD_3DMOL_JS"


def library_path() -> Path:
    """Find 3Dmol.js.

    The file named by ``GEOFOLD_3DMOL_JS`` is used if it is set; otherwise ``node_modules/3dmol`` is searched in the
    working directory, in its parents, and next to the package.

    Raises
    ------
    OptionError
        If it is not found.
    """
    named = os.environ.get(LIBRARY_VARIABLE)
    folder = Path.cwd()
    folders = [folder, *folder.parents, resources.PACKAGE.parent]
    candidates = [Path(named)] if named else [folder / LIBRARY_FILE for folder in folders]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        raise OptionError(
            f"{LIBRARY_VARIABLE}={named}, which is not a file" if named else "an offline page without 3Dmol-min.js",
            "3Dmol.js (npm package 3dmol) to embed in the page",
            f"run 'npm install 3dmol' in the working directory, or set {LIBRARY_VARIABLE} to build/3Dmol-min.js",
        )
    return path


def library_source() -> str:
    """Read 3Dmol.js as the content of a ``script`` element, preceded by its licence.

    Raises
    ------
    OptionError
        If it is not found.
    """
    path = library_path()
    licence = path.parent.parent / "LICENSE"
    notice = (
        licence.read_text(encoding="utf-8", errors="replace")
        if licence.is_file()
        else ("3Dmol.js, Copyright (c) 2014, University of Pittsburgh and contributors, BSD-3-Clause")
    )
    text = "/*! " + notice.replace("*/", "* /") + " */\n" + path.read_text(encoding="utf-8")
    # both sequences would end or change the script element; in a JavaScript string the backslash has no effect
    return re.sub(r"<(/script|!--)", r"<\\\1", text, flags=re.IGNORECASE)
