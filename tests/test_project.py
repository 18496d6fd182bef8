"""Rules for the repository as a whole: imports, sizes, and the metadata of a Space."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import SpaceHardware
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parent.parent
MODELS = sorted((ROOT / "models").rglob("*.py"))
UI = sorted((ROOT / "ui").glob("*.py"))
SERVING = [ROOT / "app.py", *MODELS, *UI]

FRAMEWORKS = {"torch", "torchvision", "tensorflow", "keras", "fastai", "timm", "onnx", "tf2onnx"}
# All of these can run code contained in a file.
UNPICKLERS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}

# They convert networks for a GPU, and are imported nowhere else.
FOR_A_GPU = {"models/half.py", "models/onnx_graph.py"}

MEGABYTE = 1_000_000


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(), name(path)))


def imports(path: Path) -> set[str]:
    """The top-level names of all modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in tree(path):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_the_check_of_imports_sees_them_all() -> None:
    assert {"skimage", "numpy", "scipy", "models"} <= imports(
        ROOT / "models" / "thresholding" / "global_methods.py"
    )
    assert {"gradio", "models", "ui"} <= imports(ROOT / "ui" / "mask.py")


@pytest.mark.parametrize("path", MODELS, ids=name)
def test_models_know_neither_page_nor_training(path: Path) -> None:
    unwanted = FRAMEWORKS | {"gradio", "app", "ui", "training", "bench", "batch"}
    if name(path) in FOR_A_GPU:
        unwanted = unwanted - {"onnx"}
    assert not imports(path) & unwanted


@pytest.mark.parametrize("path", UI, ids=name)
def test_the_page_leaves_computing_to_the_models(path: Path) -> None:
    computing = {"skimage", "scipy", "cv2", "sklearn", "onnxruntime"}
    assert not imports(path) & (FRAMEWORKS | computing | {"app", "training", "bench"})


@pytest.mark.parametrize("path", SERVING, ids=name)
def test_serving_opens_no_file_that_can_bring_code(path: Path) -> None:
    assert not imports(path) & (UNPICKLERS | {"torch", "keras", "training", "importlib"})
    for node in tree(path):
        if isinstance(node, ast.keyword):
            assert node.arg != "allow_pickle"
        elif isinstance(node, ast.Attribute):
            assert node.attr not in {"read_pickle", "load_learner", "unsafe_load"}
        elif isinstance(node, ast.Name):
            assert node.id not in {"__import__", "eval", "exec", "compile"}


def test_importing_the_models_imports_no_framework() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in MODELS
        if name(path) not in FOR_A_GPU
    ]
    for noun in ("images", "thresholding", "segmentation", "breeds", "store", "drawing"):
        assert f"models.{noun}" in modules
    unwanted = FRAMEWORKS | {"gradio", "ui", "training"}
    code = f"import sys, {', '.join(modules)}; print({unwanted!r} & set(sys.modules))"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout == "set()\n"


def requirement_lines(path: str) -> list[str]:
    """The lines of a requirements file without comments."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / path).read_text().splitlines())
    return [line for line in lines if line]


@pytest.mark.parametrize(
    ("folder", "for_gpu", "for_cpu"),
    [
        ("", ["onnx", "onnxruntime-gpu"], ["onnxruntime"]),
        ("training/", ["tensorflow"], ["tensorflow-cpu"]),
    ],
)
def test_the_cpu_requirements_lack_only_what_a_gpu_needs(
    folder: str, for_gpu: list[str], for_cpu: list[str]
) -> None:
    gpu, cpu = (requirement_lines(f"{folder}requirements{kind}.txt") for kind in ("", "-cpu"))

    gpu_only = [Requirement(line) for line in gpu if line not in cpu]
    cpu_only = [Requirement(line) for line in cpu if line not in gpu]

    assert [each.name for each in gpu_only] == for_gpu
    assert [each.name for each in cpu_only] == for_cpu
    assert gpu_only[-1].specifier == cpu_only[-1].specifier
    assert {str(each.marker) for each in gpu_only} == {str(cpu_only[-1].marker)}


def test_packages_that_the_guard_reaches_into_are_of_the_minor_version_that_was_tested() -> None:
    pinned = {each.name: each for each in map(Requirement, requirement_lines("requirements.txt"))}

    for package in ("gradio", "starlette", "uvicorn", "h11"):
        tested = Version(version(package))
        following = Version(f"{tested.major}.{tested.minor + 1}")
        assert tested in pinned[package].specifier
        assert following not in pinned[package].specifier


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-cpu.txt"])
def test_a_space_can_install_the_requirements_before_it_has_the_repository(file: str) -> None:
    for line in requirement_lines(file):
        assert not line.startswith(("-", ".", "/", "git+", "http:", "https:")), line
        assert Requirement(line).url is None


@pytest.mark.parametrize(
    "file",
    [
        f"{folder}requirements{kind}.txt"
        for folder in ("", "batch/", "training/", "tests/")
        for kind in ("", "-cpu")
        if folder in ("", "training/") or not kind
    ],
)
def test_every_requirement_has_a_lower_and_an_upper_bound(file: str) -> None:
    for line in requirement_lines(file):
        operators = {specifier.operator for specifier in Requirement(line).specifier}
        assert "==" in operators or operators == {">=", "<"}, line


def committed_files() -> list[Path]:
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this copy is not a git repository")
    paths = (ROOT / path for path in listing.split("\0") if path)
    return [path for path in paths if path.is_file()]


def test_committed_files_are_small() -> None:
    sizes = {name(path): path.stat().st_size for path in committed_files()}

    assert "app.py" in sizes
    assert {path: size for path, size in sizes.items() if size >= 40 * MEGABYTE} == {}


def test_the_embedded_weights_are_small_together() -> None:
    files = [path for path in (ROOT / "models" / "weights").rglob("*") if path.is_file()]

    assert sum(path.stat().st_size for path in files) <= 40 * MEGABYTE


def test_nothing_made_by_machine_is_committed() -> None:
    unwanted = {".pyc", ".pyi", ".pth", ".pt", ".pkl", ".h5", ".keras", ".safetensors"}

    assert [path for path in map(name, committed_files()) if Path(path).suffix in unwanted] == []


@pytest.fixture(scope="module")
def front_matter() -> dict[str, Any]:
    """The YAML block at the top of the README, which configures the Space."""
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("there is no README yet")
    match = re.match(r"---\n(.*?)\n---\n", readme.read_text(), re.DOTALL)
    assert match, "the README does not begin with a YAML block"
    matter: dict[str, Any] = yaml.safe_load(match[1])
    return matter


def test_the_space_is_a_gradio_app_of_a_release_that_is_allowed(
    front_matter: dict[str, Any],
) -> None:
    [gradio] = [
        requirement
        for requirement in map(Requirement, requirement_lines("requirements.txt"))
        if requirement.name == "gradio"
    ]

    assert front_matter["sdk"] == "gradio"
    sdk_version = front_matter["sdk_version"]
    assert isinstance(sdk_version, str)  # unquoted, 6.10 would be read as 6.1
    assert re.fullmatch(r"\d+\.\d+\.\d+", sdk_version)
    assert Version(sdk_version) in gradio.specifier


def test_the_space_runs_the_app_on_a_python_that_the_project_allows(
    front_matter: dict[str, Any],
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert front_matter["app_file"] == "app.py"
    assert (ROOT / front_matter["app_file"]).is_file()
    assert isinstance(front_matter["python_version"], str)  # unquoted, 3.10 would be read as 3.1
    assert Version(front_matter["python_version"]) in SpecifierSet(project["requires-python"])


def test_the_space_presents_itself(front_matter: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert front_matter["title"]
    assert 0 < len(front_matter["short_description"]) <= 60
    assert front_matter["license"] == project["license"].lower()
    for key in ("models", "datasets", "tags"):
        values = front_matter[key]
        assert isinstance(values, list), key
        assert values, key
        assert all(isinstance(value, str) for value in values), key
    for repository in front_matter["models"] + front_matter["datasets"]:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", repository), repository
    assert front_matter["suggested_hardware"] in {kind.value for kind in SpaceHardware}
