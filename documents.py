"""Tables in the project's documents that programs write, each between two marks."""

from pathlib import Path

ROOT = Path(__file__).parent


def find(mark: str) -> Path:
    """The document that contains a mark: README.md, another beside it, or one in `docs/`.

    Raises
    ------
    LookupError
        If none does.
    """
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]):
        if mark in path.read_text():
            return path
    raise LookupError(f"No document holds {mark!r}.")


def renew(start: str, end: str, table: str) -> Path:
    """Put a table between two marks; return the document that holds them.

    Raises
    ------
    LookupError
        If no document contains the marks.
    """
    path = find(start)
    before, _, rest = path.read_text().partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise LookupError(f"{path} holds {start!r} without {end!r}.")
    path.write_text(f"{before}{start}\n{table}\n{end}{after}")
    return path
