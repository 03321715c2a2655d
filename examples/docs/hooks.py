"""What the site shows that does not lie in its folder, and its formulas, which need no script.

MkDocs calls `on_files` (pictures, the tutorial notebook as a page), `on_page_markdown` (links to these) and
`on_page_content` (TeX becomes MathML, which browsers draw themselves); mkdocs.yml names this file.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

EXAMPLES = Path(__file__).resolve().parent.parent
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
BADGE = re.compile(r"^\[!\[.*\n", re.MULTILINE)  # pictures from the network
FORMULA = re.compile(r'<(span|div) class="arithmatex">\s*\\([(\[])(.*?)\\[)\]]\s*</\1>', re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add pictures and tutorial.md."""
    for picture in sorted((EXAMPLES / "pictures").iterdir()):
        files.append(File.generated(config, f"pictures/{picture.name}", abs_src_path=str(picture)))
    notebook = json.loads((EXAMPLES / "tutorial.ipynb").read_text(encoding="utf-8"))
    files.append(File.generated(config, "tutorial.md", content=page_of(notebook)))
    return files


def on_page_markdown(markdown: str, /, **_: Any) -> str:
    """Point links to pictures and the notebook, which the folder of the pages does not hold, to the site's copies."""
    return markdown.replace("](../pictures/", "](pictures/").replace("](../tutorial.ipynb)", "](tutorial.md)")


def on_page_content(content: str, /, **_: Any) -> str:
    """Draw every formula of a page as MathML."""
    return FORMULA.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    tag, bracket, tex = found.groups()
    formula = convert(html.unescape(tex).strip(), display="inline" if bracket == "(" else "block")
    return f'<{tag} class="formula">{formula}</{tag}>'


def page_of(notebook: dict[str, Any]) -> str:
    """A notebook as Markdown: words without badges, code and its printed output as blocks, pictures inside the page."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            source = BADGE.sub("", source)
            parts.append(source.replace("](docs/", "]("))  # from here, the site's own pages lie beside it
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            shown = output.get("data", {})
            if "image/png" in shown:
                parts.append(f"![output](data:image/png;base64,{''.join(shown['image/png']).strip()})")
                continue
            text = COLOURS.sub("", "".join(output.get("text", shown.get("text/plain", ""))).rstrip())
            if text:
                parts.append(f"```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"
