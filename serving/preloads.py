"""Links that let a browser load a page's scripts and styles at once.

Gradio's page names one script, which loads a second, that one a third, and it one for each kind of
component: four rounds, of which each waits for the one before.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import Path

MAIN = re.compile(r'<script type="module"[^>]* src="\./assets/([^"]+)"')
FILES = re.compile(r"m\.f=(\[[^\]]*\])")
# A script that is loaded by another, and the numbers of the files that it needs in turn.
IMPORT = re.compile(
    r"import\(`\./(?P<name>[^`]+)`\)(?:(?!import\(|mapDeps).)*?__vite__mapDeps\(\[(?P<needs>[\d,]*)\]\)"
)
KIND = re.compile(rf"(?P<kind>\w+):\{{|\bcomponent:\(\)=>\w+\(\(\)=>{IMPORT.pattern}")


def links(page: str, kinds: Collection[str], assets: Path) -> str:
    """HTML for a page's head.

    Parameters
    ----------
    page
        Its HTML.
    kinds
        The kinds of components on it.
    assets
        The folder of its scripts.

    Returns
    -------
    The links; none if the scripts are built differently from those that this module knows.
    """
    main = MAIN.search(page)
    if main is None:
        return ""
    try:
        found = dict.fromkeys(_needed(main[1], kinds, assets))
    except (OSError, IndexError):
        return ""
    written = ""
    for name in found:
        if name.endswith(".css"):
            written += f'<link rel="preload" as="style" crossorigin href="./assets/{name}">'
        else:
            written += f'<link rel="modulepreload" href="./assets/{name}">'
    return written


def _needed(main: str, kinds: Collection[str], assets: Path) -> Iterator[str]:
    """The files of a page, in the order in which they are used."""
    yield main
    core = ""
    for name, needs in _imports(assets / main):
        yield name
        yield from needs
        if name.startswith("core-"):
            core = name
        for inner, more in _imports(assets / name):
            if inner.startswith("Blocks-"):
                yield inner
                yield from more
    if core:
        yield from _components(assets / core, kinds)


def _imports(script: Path) -> Iterator[tuple[str, list[str]]]:
    text = script.read_text()
    files = _files(text)
    for found in IMPORT.finditer(text):
        yield found["name"], [files[int(number)] for number in found["needs"].split(",") if number]


def _components(script: Path, kinds: Collection[str]) -> Iterator[str]:
    text = script.read_text()
    files = _files(text)
    kind = ""
    for found in KIND.finditer(text):
        if found["kind"]:
            kind = found["kind"]
        elif kind in kinds:
            yield found["name"]
            yield from (files[int(number)] for number in found["needs"].split(",") if number)


def _files(text: str) -> list[str]:
    """The files that a script knows by numbers."""
    found = FILES.search(text)
    return re.findall(r'"\./([^"]+)"', found[1]) if found else []
