"""What Gradio skips at its import, and that a differently built Gradio still works."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from serving import internals, lean

ROOT = Path(__file__).parent.parent.parent


def in_new_process(code: str) -> str:
    """The output of code that is run in a new process in the app's folder."""
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return finished.stdout.strip()


def test_the_page_is_built_without_what_it_does_not_use() -> None:
    written = [*ROOT.glob("ui/*.pyi")]
    code = """
import sys
from types import ModuleType
from ui import page
page.build()
loaded = [name for name in ("matplotlib", "pandas._libs", "skimage") if name in sys.modules]
print(loaded, sys.modules["gradio.component_meta"].create_or_modify_pyi.__module__)
"""
    assert in_new_process(code) == "[] serving.lean"
    assert [*ROOT.glob("ui/*.pyi")] == written


def test_a_deferred_module_works_when_it_is_used() -> None:
    code = """
import sys
from serving import lean
lean.prepare()
import gradio
import pandas
print("pandas._libs" in sys.modules, pandas.DataFrame({"a": [1, 2]}).a.sum())
from pandas.io.formats.style import Styler
"""
    assert in_new_process(code) == "False 3"


@pytest.fixture
def other_gradio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another package `gradio` in a new process's path."""
    (tmp_path / "gradio").mkdir()
    (tmp_path / "gradio" / "__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "gradio"


@pytest.mark.parametrize(
    ("source", "printed"),
    [("def create_or_modify_pyi(*a):\n    1 / 0\n", "None"), ("other = 1\n", "another Gradio")],
)
def test_a_gradio_without_the_changed_part_is_left_alone(
    source: str, printed: str, other_gradio: Path
) -> None:
    (other_gradio / "component_meta.py").write_text(source)
    code = """
from serving import lean
lean.prepare()
lean.prepare()
from gradio import component_meta
made = getattr(component_meta, "create_or_modify_pyi", lambda *a: "another Gradio")
print(made(object, "Image", []))
"""
    assert in_new_process(code) == printed


def test_a_gradio_that_was_already_imported_is_changed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = ModuleType(lean.COMPONENTS)
    monkeypatch.setattr(loaded, "create_or_modify_pyi", lambda *arguments: 1 / 0, raising=False)
    monkeypatch.setitem(sys.modules, lean.COMPONENTS, loaded)
    lean.prepare()
    assert loaded.create_or_modify_pyi(object, "Image", []) is None


def test_a_page_gets_its_routes_and_description_when_it_is_launched() -> None:
    import gradio as gr
    from gradio.blocks import Blocks
    from gradio.routes import App

    with internals.unlaunched(), gr.Blocks() as page:
        gr.Textbox(label="name")
    assert not page.app
    labels = [each["props"].get("label") for each in page.get_config_file()["components"]]
    assert "name" in labels
    assert App.create_app(page).routes
    for function in (App.create_app, Blocks.get_config_file):
        assert function.__module__.startswith("gradio.")


def test_a_gradio_with_other_names_builds_everything_immediately(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import gradio as gr
    from gradio.routes import App

    create = App.create_app
    monkeypatch.delattr(App, "create_app")
    with internals.unlaunched():
        assert not hasattr(App, "create_app")
    assert not hasattr(App, "create_app")
    monkeypatch.setattr(App, "create_app", staticmethod(create), raising=False)
    with gr.Blocks() as page:
        gr.Textbox()
    assert page.app


def test_events_import_no_plots() -> None:
    from gradio import utils

    internals.draw_no_plots()
    with utils.MatplotlibBackendMananger():
        pass
