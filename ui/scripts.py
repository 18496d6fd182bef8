"""The page's scripts, as browsers get them: without comments on lines of their own and indentation.

A third of what is written is for people, and each visitor would wait for it.
"""

from pathlib import Path


def script(name: str) -> str:
    """The script `NAME.js` of this folder.

    No line of a text in it may begin with `//`, `/*` or `*`, which stand for comments.
    """
    lines = (Path(__file__).parent / f"{name}.js").read_text().splitlines()
    stripped = (line.strip() for line in lines)
    return "\n".join(line for line in stripped if line and not line.startswith(("//", "/*", "*")))
