"""The documents are short and correct: their paths, links and tables."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "findings" / "README.md",
]

MOST_WORDS = 1300
MOST_RESULTS = 8

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
# A path in this repository; NAME, OWNER and the like are placeholders.
FOLDERS = ("batch", "bench", "docs", "examples", "findings", "models", "serving", "tests")
PATH = re.compile(rf"(?:{'|'.join((*FOLDERS, 'training', 'ui'))})/[\w./*-]*|[\w-]+\.(?:md|py|toml)")
MODULE = re.compile(r"python -m ((?:batch|bench|models|training)(?:\.\w+)*)")
PLACEHOLDER = re.compile(r"[A-Z]{4,}")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def named_paths(text: str) -> list[str]:
    """The paths in a text's code spans, without those that contain a placeholder."""
    spans = [span for span in CODE.findall(text) if PATH.fullmatch(span)]
    return [span for span in spans if not PLACEHOLDER.search(Path(span).stem) or span in SHOUTED]


SHOUTED = {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"}


def test_named_paths_are_found() -> None:
    text = "See `ui/page.py`, `models/`, `ui/NAME.py`, `README.md` and `python -m x/y.py`."

    assert named_paths(text) == ["ui/page.py", "models/", "README.md"]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= MOST_WORDS


def test_the_readme_shows_few_results() -> None:
    text = (ROOT / "README.md").read_text()

    table = text.split("## Results")[1].split("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]

    assert 0 < len(rows) <= MOST_RESULTS


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_paths_in_documents_exist(document: Path) -> None:
    text = document.read_text()
    at = {ROOT, document.parent}

    paths = {path for path in named_paths(text) if not any([*at_glob(at, path)])}
    modules = {
        module
        for module in MODULE.findall(text)
        if not PLACEHOLDER.search(module)
        and not any(
            (ROOT / module.replace(".", "/")).with_suffix(end).exists() for end in (".py", "")
        )
    }

    assert (paths, modules) == (set(), set())


def at_glob(folders: set[Path], path: str) -> list[Path]:
    """The files that a path or a pattern matches in the folders."""
    return [found for folder in folders for found in folder.glob(path.rstrip("/"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_in_documents_lead_somewhere(document: Path) -> None:
    for link in LINK.findall(document.read_text()):
        if not link.startswith(("http://", "https://")):
            path, _, anchor = link.partition("#")
            target = document.parent / path if path else document
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_each_finding_is_a_script_that_can_be_run() -> None:
    findings = [path for path in (ROOT / "findings").iterdir() if path.name != "README.md"]

    for finding in findings:
        assert finding.suffix == ".sh", finding
        assert finding.stat().st_mode & 0o111, f"{finding} is not executable"
        assert finding.read_text().startswith("#!"), finding


def test_the_changelog_knows_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    versions = re.findall(
        r"^## \[([\d.]+)\] - \d{4}-\d{2}-\d{2}$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )

    assert versions[0] == version
    assert versions == sorted(versions, key=lambda each: [*map(int, each.split("."))], reverse=True)
