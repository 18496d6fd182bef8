"""Links that let a browser load a page's scripts and styles at once.

Gradio's page names one script, which loads a second, that one a third, and it one for each kind of
component: four rounds, of which each waits for the one before.
"""

from collections.abc import Collection
from pathlib import Path

from serving import internals


def links(page: str, kinds: Collection[str], assets: Path) -> str:
    """HTML for a page's head; the parameters are those of `internals.files_of_page`."""
    written = ""
    for name in internals.files_of_page(page, kinds, assets):
        if name.endswith(".css"):
            written += f'<link rel="preload" as="style" crossorigin href="./assets/{name}">'
        else:
            written += f'<link rel="modulepreload" href="./assets/{name}">'
    return written
