"""Tables are written between their marks, and nowhere else."""

import re
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
