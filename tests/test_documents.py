"""Tables are written between their marks, and nowhere else."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import documents
from models import store

START, END = "<!-- cats: written by cats -->", "<!-- /cats -->"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("Nothing here.\n")
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["SECURITY.md", "docs/cats.md"])
def test_a_table_is_renewed_in_the_document_that_holds_its_marks(root: Path, name: str) -> None:
    (root / name).write_text(f"before\n{START}\nold\n{END}\nafter\n")
    assert documents.renew(START, END, "new") == root / name
    assert (root / name).read_text() == f"before\n{START}\nnew\n{END}\nafter\n"
    assert (root / "README.md").read_text() == "Nothing here.\n"


@pytest.mark.parametrize("text", ["nothing", START])
def test_without_both_marks_nothing_is_written(root: Path, text: str) -> None:
    (root / "docs" / "cats.md").write_text(text)
    with pytest.raises(LookupError, match="cats"):
        documents.renew(START, END, "new")
    assert (root / "docs" / "cats.md").read_text() == text


def test_the_readme_s_python_prints_what_it_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(store.SOURCE_VARIABLE, raising=False)
    monkeypatch.chdir(documents.ROOT)
    readme = (documents.ROOT / "README.md").read_text()
    (program,) = re.findall(r"```python\n(from models.*?)```", readme, re.DOTALL)
    exec(compile(program, "README.md", "exec"), {})  # noqa: S102  (our own)
    told = [line.removeprefix("# ") for line in program.splitlines() if line.startswith("# ")]
    assert capsys.readouterr().out.splitlines() == told
    assert len(told) == 2


# In SECURITY.md these sections make no claim of what a visitor may try.
NO_CLAIMS = ("How to report", "Measured", "Limits")


@cache
def known_tests(file: str) -> dict[str, ast.FunctionDef]:
    """The tests of a file, by their names."""
    tree = ast.parse((documents.ROOT / file).read_text())
    return {
        each.name: each
        for each in tree.body
        if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")
    }


def place(named: str) -> tuple[str, str]:
    """File and test of a name in SECURITY.md, whose files may be short."""
    file, test = named.split("::")
    if "/" not in file:
        file = "tests/test_app.py" if file == "app" else f"tests/serving/test_{file}.py"
    return file, test


def starts_the_app(file: str, test: str) -> bool:
    """Whether a test runs the app by its own command."""
    found = known_tests(file)[test]
    kinds = [each.annotation for each in found.args.args if each.annotation]
    if "App" in map(ast.unparse, kinds):
        return True
    source = ast.unparse(found)
    return any(way in source for way in ("'app.py'", "started(", "changed(", "visitors.served("))


def claims() -> list[str]:
    """Rows of the tables that claim something."""
    text = (documents.ROOT / "SECURITY.md").read_text()
    rows = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        if section.splitlines()[0] not in NO_CLAIMS:
            section = re.sub(r"<!-- .*? -->.*<!-- /.*? -->", "", section, flags=re.DOTALL)
            tables = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
            rows += [row for table in tables for row in table.splitlines()[2:]]
    return rows


@pytest.mark.parametrize("row", claims(), ids=lambda row: row.split("|")[1].strip()[:40])
def test_each_claim_about_security_names_a_test_that_starts_the_app(row: str) -> None:
    named = [place(each) for each in re.findall(r"`([\w/.]+::test_\w+)`", row.split("|")[-2])]

    assert named
    for file, test in named:
        assert test in known_tests(file), f"{file} has no {test}"
    assert any(starts_the_app(file, test) for file, test in named)


def test_security_makes_many_claims_and_names_no_test_that_is_gone() -> None:
    assert len(claims()) > 50
    text = (documents.ROOT / "SECURITY.md").read_text()
    for file, test in map(place, re.findall(r"`([\w/.]+::test_\w+)`", text)):
        assert test in known_tests(file), f"{file} has no {test}"
