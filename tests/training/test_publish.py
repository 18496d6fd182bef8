"""What is published, what is refused, and downloading it again with the Hub's own client."""

import json
import pickle
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard, RepoCard, constants
from safetensors.numpy import save, save_file

import training.torchvision_ops  # noqa: F401  (before timm)
from tests.hub import FakeHub, Fault, Repository

import timm  # isort: skip
from timm.models import save_for_hf  # isort: skip

from models import store
from models.cards import ModelError
from models.preprocessing import InputSpec
from training import publish
from training.errors import UserError
from training.half_size_unet import HalfSizeUnet
from training.publishing import code, files, readme
from training.publishing.errors import PublishError
from training.runs import write_facts

ROOT = Path(__file__).parent.parent.parent
LABELS = ["Beagle", "Boxer", "Pug"]
SPEC = InputSpec(16, 24, "squash", "bilinear", (0.5,) * 3, (0.5,) * 3, "NCHW", "RGB")


@pytest.fixture(scope="module")
def timm_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs of an ensemble, as from `training.train_breeds`."""
    runs = []
    for seed in range(2):
        torch.manual_seed(seed)
        run = tmp_path_factory.mktemp("timm")
        model = timm.create_model("test_vit", num_classes=len(LABELS))
        save_for_hf(model, str(run), model_config={"label_names": LABELS}, safe_serialization=True)
        runs.append(_finish(run, "timm"))
        (run / "epoch_1.pth").write_bytes(pickle.dumps({}))  # checkpoints are not published
    return runs


def _finish(run: Path, framework: str) -> Path:
    write_facts(run, input_spec=SPEC, framework=framework)
    (run / "history.csv").write_text("epoch,loss\n0,1.5\n")
    (run / "curves.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return run


@pytest.fixture
def other_run(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a run of another framework, without the framework."""

    def make(framework: str) -> Path:
        run = tmp_path / framework
        run.mkdir()
        if framework == "keras":
            write_keras(run / "model.keras", "Conv2D")
        else:
            save_file({"weight": np.ones(3, np.float32)}, run / "model.safetensors")
            (run / "config.json").write_text('{"_model_class": "Unet"}')
        return _finish(run, framework)

    return make


def write_keras(path: Path, layer: str) -> None:
    config = {"class_name": "Functional", "config": {"layers": [{"class_name": layer}]}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", b"weights")


@pytest.fixture
def publish_breeds(tiny_models: Path, timm_runs: list[Path]) -> Callable[..., None]:
    """Publishes the tiny breed model with one run to me/pets."""

    def run(*words: str) -> None:
        fixed = ["model", "breeds", "--repo", "me/pets", "--models", str(tiny_models)]
        publish.main([*fixed, "--run", str(timm_runs[0]), *words])

    return run


def refusal(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence with which it exits."""
    with pytest.raises((UserError, ModelError)) as stopped:
        publish.main(words)
    sentence = str(stopped.value)
    assert sentence.endswith(".")
    assert not sentence.endswith("..")
    assert "\n" not in sentence
    assert "Published" not in capsys.readouterr().out
    return sentence


def metadata_of(page: str) -> Any:  # noqa: ANN401
    """The Hub's metadata of a README, whose attributes are created when it is read."""
    return ModelCard(page).data


# A model


def test_an_ensemble_goes_up_in_one_commit_and_comes_back(
    hub: FakeHub,
    publish_breeds: Callable[..., None],
    tiny_models: Path,
    timm_runs: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    publish_breeds("--run", str(timm_runs[1]))

    repository = hub.repositories["me/pets"]
    assert repository.messages == ["initial commit", "Publish breeds"]
    weights = ("config.json", "curves.png", "history.csv", "model.safetensors")
    assert sorted(repository.files) == sorted(
        [
            *(".gitattributes", "README.md", "breeds.json", "breeds.onnx"),
            *weights,
            *(f"member-2/{name}" for name in weights),
        ]
    )
    for number, run in enumerate(timm_runs):
        place = f"member-{number + 1}/" if number else ""
        for name in weights:
            assert repository.files[f"{place}{name}"] == (run / name).read_bytes()
    assert any(call.startswith("PUT /lfs/") for call in hub.requests)

    # timm loads the networks from the repository.
    model: Any = timm.create_model("hf-hub:me/pets", pretrained=True)
    ours = timm.create_model(f"local-dir:{timm_runs[0]}", pretrained=True)
    assert model.pretrained_cfg["label_names"] == LABELS
    for name, weight in ours.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight), name

    # The app loads the model from the printed commit.
    published = capsys.readouterr().out.split()[-1]
    store.resolve.cache_clear()
    monkeypatch.setenv(store.SOURCE_VARIABLE, published)
    card, network = store.load("breeds", "classification")
    assert store.notice() is None
    assert replace(card, facts={}, default=False) == replace(
        store.read_card("breeds", tiny_models), facts={}
    )
    assert network.run(np.zeros((1, 3, 16, 24), np.float32)).shape == (1, 3)


@pytest.mark.parametrize(
    ("framework", "weights"),
    [("keras", {"model.keras"}), ("smp", {"model.safetensors", "config.json"})],
)
def test_runs_of_other_frameworks_bring_their_own_weights(
    framework: str,
    weights: set[str],
    hub: FakeHub,
    tiny_models: Path,
    other_run: Callable[[str], Path],
) -> None:
    words = ["model", "pet", "--repo", "me/masks", "--models", str(tiny_models), "--private"]
    publish.main([*words, "--run", str(other_run(framework))])

    repository = hub.repositories["me/masks"]
    ours = {"pet.onnx", "pet.json", "README.md", "history.csv", "curves.png", ".gitattributes"}
    assert set(repository.files) == ours | weights
    assert repository.private
    page = repository.files["README.md"].decode()
    assert metadata_of(page).library_name == readme.LIBRARIES[framework]
    assert {"keras": "keras.models.load_model", "smp": "smp.from_pretrained"}[framework] in page


def test_a_network_that_its_package_does_not_know_is_loaded_by_its_class(
    tiny_models: Path, other_run: Callable[[str], Path]
) -> None:
    run = other_run("smp")
    network = HalfSizeUnet("tu-test_efficientnet", encoder_weights=None, classes=3).eval()
    network.save_pretrained(run)
    published = files.model_files("pet", tiny_models, [run], str(run))
    page = bytes(published["README.md"]).decode()
    assert "smp.from_pretrained" not in page
    # What it says is run as it stands; a folder stands for the repository.
    code = page.split("```python\n")[1].split("```")[0]
    known: dict[str, Any] = {}
    exec(code, known)  # noqa: S102
    photo = torch.randn(1, 3, 64, 64)
    assert torch.equal(known["model"](photo), network(photo))


def test_a_second_run_updates_and_commits_only_what_changed(
    hub: FakeHub, publish_breeds: Callable[..., None]
) -> None:
    publish_breeds()
    first = len(hub.repositories["me/pets"].messages)
    publish_breeds()
    assert len(hub.repositories["me/pets"].messages) == first


def test_a_branch_is_made_and_a_tag_is_given(
    hub: FakeHub, publish_breeds: Callable[..., None]
) -> None:
    publish_breeds("--revision", "next", "--tag", "v1")
    repository = hub.repositories["me/pets"]
    assert "breeds.onnx" not in repository.files
    assert repository.references["next"] == repository.references["v1"]
    assert "breeds.onnx" in repository.commits[repository.references["v1"]]


def test_large_files_go_up_by_xet_where_it_can_be_had(
    hub: FakeHub,
    publish_breeds: Callable[..., None],
    tiny_models: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    publish_breeds()
    assert "POST /me/pets.git/info/lfs/objects/batch" not in hub.requests
    sha256 = store.read_card("breeds", tiny_models).sha256
    assert hub.repositories["me/pets"].large["breeds.onnx"] == sha256
    assert any(path.is_file() for path in hub.xet.rglob("xorbs/*"))


def test_a_dry_run_lists_all_files_and_asks_no_network(
    hub: FakeHub, publish_breeds: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    publish_breeds("--dry-run")
    assert hub.requests == []
    listed = capsys.readouterr().out
    for name in ("README.md", "breeds.json", "breeds.onnx", "model.safetensors", "curves.png"):
        assert re.search(rf"[\d.]+ kB  {re.escape(name)}$", listed, re.MULTILINE), name
    assert "epoch_1.pth" not in listed


def test_what_the_hub_takes_as_a_large_file_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    publish.show({"small": bytes(publish.LARGE - 1), "large": bytes(publish.LARGE)})
    large, small = capsys.readouterr().out.splitlines()
    assert large.endswith("large  (large file)")
    assert small.endswith("small")


# Its README


def test_the_readme_says_what_the_card_says(tiny_models: Path) -> None:
    card = store.read_card("breeds", tiny_models)
    text = readme.model_readme(card, "me/pets", ["timm", "timm"], ["curves.png", "config.json"])
    metadata = metadata_of(text)
    assert metadata.license == "apache-2.0"
    assert metadata.library_name == "timm"
    assert metadata.pipeline_tag == "image-classification"
    assert metadata.datasets == ["oxford-iiit-pet"]
    (result,) = metadata.eval_results
    assert (result.dataset_split, result.metric_type) == ("test", "top1")
    assert result.metric_value == card.facts["metrics"]["test"]["top1"]
    for part in (
        "| top1 | 0.8929 |",
        "3,669 pictures, 288 px, `python -m training.evaluate breeds --split test --write`",
        "<details><summary>top1 per breed</summary>",
        "| breed 36 | 0.9000 |",
        'timm.create_model("hf-hub:me/pets", pretrained=True)',
        "python app.py --models me/pets",
        "averages 2 networks",
        "![curves.png](curves.png)",
        "- command: `python -m training.x`",
    ):
        assert part in text, part


def test_figures_at_all_depths_are_found(tiny_models: Path) -> None:
    metrics = store.read_card("pet", tiny_models).facts["metrics"]
    training_end, test = readme.measurements(metrics)
    assert (training_end.split, test.split) == ("validation", "test")
    assert test.figures == {
        "at 128 px: pixel accuracy": 0.920760400043948,
        "at 128 px: iou: pet": 0.86128024,
    }
    (new,) = readme.measurements({"test": {"anything_new": {"at": {"last": 0.25}}, "ok": True}})
    assert new.figures == {"anything new: at: last": 0.25}


@pytest.mark.parametrize("card", sorted(store.EMBEDDED.glob("*.json")), ids=lambda card: card.stem)
def test_the_embedded_models_readmes_hold_all_their_figures(card: Path) -> None:
    def numbers(entry: object) -> Iterator[float]:
        if isinstance(entry, dict):
            for value in entry.values():
                yield from numbers(value)
        elif isinstance(entry, float):
            yield entry

    facts = store.read_card(card.stem, card.parent)
    text = readme.model_readme(facts, "me/pets", [], [])
    assert metadata_of(text).library_name == "onnx"
    for number in numbers(facts.facts["metrics"]):
        assert f"| {number:.4f} |" in text


def test_plots_are_linked_whatever_their_names_are(
    hub: FakeHub, copied: tuple[Path, Path, list[str]]
) -> None:
    _, run, words = copied
    for name in ("loss [all] of a (long) run.png", "größe.png", "._curves.png", ".DS_Store"):
        (run / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    publish.main(words)
    repository = hub.repositories["me/pets"]
    assert not [name for name in repository.files if name.startswith(("._", ".DS"))]
    page = repository.files["README.md"].decode()
    linked = [unquote(link) for link in re.findall(r"^!\[.*\]\((\S+)\)$", page, re.MULTILINE)]
    plots = sorted(name for name in repository.files if name.endswith(".png"))
    assert sorted(linked) == plots
    assert len(plots) == 3


# What is refused


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return print, ("unpickled",)


def pickled(protocol: int) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(pickle.dumps(Evil(), protocol))


def torch_saved(zipped: bool) -> Callable[[Path], None]:
    weights = {"weight": torch.ones(3)}
    return lambda path: torch.save(weights, path, _use_new_zipfile_serialization=zipped)


NAME, CONTENT = "is a pickle by its name", "is a pickle by its content"
LAMBDA = "is a Keras model with a Lambda layer"


@pytest.mark.parametrize(
    ("name", "write", "reason"),
    [
        ("model.pkl", Path.touch, NAME),
        ("model.pth", Path.touch, NAME),
        *((f"protocol {protocol}", pickled(protocol), CONTENT) for protocol in range(6)),
        ("a.png", lambda path: path.write_bytes(pickle.dumps([1, 2]) + b"\0" * 9), CONTENT),
        ("old torch", torch_saved(zipped=False), CONTENT),
        ("new torch", torch_saved(zipped=True), "is an archive with a pickle in it"),
        ("model.safetensors", torch_saved(zipped=True), "is not a safetensors file"),
        ("a.npy", lambda path: np.save(path, np.array([{}])), "holds pickled objects"),
        ("a.keras", lambda path: write_keras(path, "Lambda"), LAMBDA),
        ("b.keras", lambda path: write_keras(path, "__lambda__"), LAMBDA),
        ("c.keras", pickled(4), "is not a complete archive"),
    ],
)
def test_what_could_run_code_is_refused(
    name: str, write: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    write(tmp_path / name)
    sentence = re.escape(f"{tmp_path / name} {reason}, so it is not published as file.")
    with pytest.raises(PublishError, match=f"^{sentence}$"):
        code.refuse_code({"a": b"", "file": tmp_path / name})


def test_harmless_files_are_published(tmp_path: Path) -> None:
    write_keras(tmp_path / "model.keras", "Conv2D")
    np.save(tmp_path / "a.npy", np.ones(3))
    # Its first two bytes are those of a pickle: a header of 640 bytes.
    name = "x" * next(n for n in range(999) if save({"x" * n: np.ones(1)})[:2] == b"\x80\x02")
    save_file({name: np.ones(1)}, tmp_path / "model.safetensors")
    (tmp_path / "short").write_bytes(b"\x80\x02\0\0")
    (tmp_path / "empty").touch()
    (tmp_path / ".gitignore").write_text(".venv/\n")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    tracked = [ROOT / path for path in listing.stdout.split("\0") if (ROOT / path).is_file()]
    code.refuse_code({str(path): path for path in [*tmp_path.iterdir(), *tracked]})


@pytest.fixture
def copied(
    tiny_models: Path, timm_runs: list[Path], tmp_path: Path
) -> tuple[Path, Path, list[str]]:
    """A models' folder and a run to damage, and the arguments that publish them."""
    folder = shutil.copytree(tiny_models, tmp_path / "models")
    run = shutil.copytree(timm_runs[0], tmp_path / "run")
    words = ["model", "breeds", "--repo", "me/pets", "--models", str(folder), "--run", str(run)]
    return folder, run, words


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder, run: (run / "run.json").unlink(), "is not a finished training run"),
        (lambda folder, run: (run / "run.json").write_text("{}"), "is not a finished training run"),
        (lambda folder, run: (run / "config.json").unlink(), "has no config.json"),
        (lambda folder, run: (run / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda folder, run: (run / "history.csv").write_bytes(pickle.dumps(1)), "is a pickle"),
        (lambda folder, run: (folder / "breeds.json").unlink(), "no model 'breeds'"),
        (lambda folder, run: (folder / "breeds.onnx").unlink(), "cannot be read"),
        (lambda folder, run: (folder / "breeds.onnx").write_bytes(b"x"), "SHA-256 is not"),
    ],
)
def test_an_incomplete_set_of_files_is_never_uploaded(
    damage: Callable[[Path, Path], object],
    reason: str,
    hub: FakeHub,
    copied: tuple[Path, Path, list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, run, words = copied
    damage(folder, run)
    assert reason in refusal(words, capsys)
    assert hub.requests == []


@pytest.mark.parametrize("repo", ["breeds", "a/b/c", "me/a--b", "me/pets.git", "me/"])
def test_a_name_that_the_hub_cannot_have_is_refused(
    repo: str, hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is not the name of a repository" in refusal(["space", "--repo", repo], capsys)
    assert hub.requests == []


# When the Hub fails


@pytest.mark.parametrize(
    ("call", "fault", "reason"),
    [
        ("repos/create", 401, "the Hub does not know you; log in with `hf auth login` and run"),
        ("repos/create", 403, "your login may not write there; `hf auth login` with a token"),
        ("repos/create", 429, "too many requests at the moment; wait a few minutes and run"),
        ("repos/create", 503, "answers with error 503; wait a little and run this again"),
        ("repos/create", "cut", "cannot be reached, or the connection was cut; run this again"),
        ("preupload", 404, "the Hub has no me/pets, or not that revision; check the names"),
        ("preupload", 503, "answers with error 503"),
        ("objects/batch", 429, "too many requests"),
        ("PUT /lfs", 403, "your login may not write there"),
        ("PUT /lfs", "cut", "cannot be reached, or the connection was cut"),
        ("commit/main", 403, "your login may not write there"),
        ("commit/main", 412, "the Hub refuses it with error 412: Precondition Failed."),
        ("commit/main", "cut", "cannot be reached, or the connection was cut"),
    ],
)
def test_a_failure_is_reported_in_one_sentence_with_advice(
    call: str,
    fault: Fault,
    reason: str,
    hub: FakeHub,
    copied: tuple[Path, Path, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)  # between the client's own attempts
    hub.faults[call] = fault
    sentence = refusal(copied[2], capsys)
    assert sentence.startswith("me/pets was not published: ")
    assert reason in sentence


def test_an_unreachable_hub_is_reported_in_one_sentence(
    copied: tuple[Path, Path, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    assert "the Hub cannot be reached" in refusal(copied[2], capsys)


# A Space


@pytest.fixture
def checkout(
    tiny_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """A small checkout of the app that Git tracks; further files can be written into it."""
    root = tmp_path / "app"
    monkeypatch.setattr(files, "ROOT", root)

    def write(content: Mapping[str, bytes], tracked: bool = True) -> None:
        for path, some in content.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(some)
        if tracked:
            subprocess.run(["git", "add", "--force", *content], cwd=root, check=True)

    root.mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    names = ("app.py", "ui/page.py", "models/store.py", "serving/guard.py", "examples/cat.jpg")
    write(
        {
            **dict.fromkeys(
                (*names, "requirements.txt", "LICENSE", "training/train.py", "tests/test_app.py"),
                b"content",
            ),
            **{f"models/weights/{path.name}": path.read_bytes() for path in tiny_models.iterdir()},
            "README.md": (ROOT / "README.md").read_bytes(),
        }
    )
    write({"ui/secret.txt": b"", "data/x": b"", "runs/y": b"", "app.pyc": b""}, tracked=False)
    return write


CODE = {
    *("LICENSE", "README.md", "app.py", "requirements.txt"),
    *("ui/page.py", "models/store.py", "serving/guard.py", "examples/cat.jpg"),
}
MODELS = ("breeds.json", "breeds.onnx", "pet.json", "pet.onnx")
WEIGHTS = {f"models/weights/{name}" for name in MODELS}


def space(hub: FakeHub) -> Repository:
    return hub.repositories["spaces/me/app"]


def test_a_space_holds_what_git_tracks_of_the_app(
    hub: FakeHub, checkout: Callable[..., None]
) -> None:
    publish.main(["space", "--repo", "me/app"])
    assert set(space(hub).files) == CODE | WEIGHTS | {".gitattributes"}
    assert space(hub).files["README.md"] == (ROOT / "README.md").read_bytes()
    assert space(hub).messages == ["initial commit", "Publish the app"]
    assert space(hub).variables == {}


def test_a_new_space_is_on_the_hardware_that_costs_nothing_and_another_keeps_its_own(
    hub: FakeHub, checkout: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    publish.main(["space", "--repo", "me/app"])
    assert space(hub).hardware == "zero-a10g"
    publish.main(["space", "--repo", "me/app", "--hardware", "t4-small"])
    assert space(hub).hardware == "t4-small"
    publish.main(["space", "--repo", "me/app"])
    assert space(hub).hardware == "t4-small"

    capsys.readouterr()
    hub.faults["POST /api/repos/create"] = 402
    sentence = refusal(["space", "--repo", "me/new", "--hardware", "cpu-basic"], capsys)
    assert "`--hardware zero-a10g` needs none" in sentence


def test_a_file_that_the_app_lost_leaves_the_space_too(
    hub: FakeHub, checkout: Callable[..., None]
) -> None:
    publish.main(["space", "--repo", "me/app"])
    hub.add("spaces/me/app", {**space(hub).files, "ui/old.py": b"", "notes.md": b""})
    publish.main(["space", "--repo", "me/app"])
    assert set(space(hub).files) == CODE | WEIGHTS | {".gitattributes", "notes.md"}


def test_a_space_can_load_its_models_from_a_repository(
    hub: FakeHub,
    checkout: Callable[..., None],
    tiny_models: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    publish.main(["space", "--repo", "me/app"])
    pet, breeds = (
        {f"{name}{end}": (tiny_models / f"{name}{end}").read_bytes() for end in (".json", ".onnx")}
        for name in ("pet", "breeds")
    )
    both = hub.add("me/both", {**pet, **breeds, "config.json": b"{}"})
    publish.main(["space", "--repo", "me/app", "--models", "me/both@main"])

    assert set(space(hub).files) == CODE | {".gitattributes"}
    assert space(hub).variables == {"PETSCOPE_MODELS": f"me/both@{both}"}
    page, before = (  # their attributes are created when they are read
        cast(Any, RepoCard(text.decode()))
        for text in (space(hub).files["README.md"], (ROOT / "README.md").read_bytes())
    )
    entry = f"me/both breeds.json,breeds.onnx,pet.json,pet.onnx {both}"
    assert page.data.preload_from_hub == [entry]
    assert page.data.models == [*before.data.models, "me/both"]
    changed = {"models", "preload_from_hub"}
    for key, value in before.data.to_dict().items():
        assert key in changed or page.data.to_dict()[key] == value
    assert page.text == before.text

    first, second = hub.add("me/pet", pet), hub.add("me/breeds", breeds)
    publish.main(["space", "--repo", "me/app", "--models", "me/pet, me/breeds"])
    assert space(hub).variables == {"PETSCOPE_MODELS": f"me/pet@{first},me/breeds@{second}"}

    capsys.readouterr()
    sentence = refusal(["space", "--repo", "me/new", "--models", "me/pet"], capsys)
    assert sentence.startswith("The app needs breeds too, which me/pet lacks")
    assert "spaces/me/new" not in hub.repositories
    missing = refusal(["space", "--repo", "me/new", "--models", "me/none"], capsys)
    assert "the Hub has no me/none" in missing


def test_a_dry_run_of_a_space_asks_no_network(
    hub: FakeHub, checkout: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    publish.main(["space", "--repo", "me/app", "--dry-run"])
    assert {line.split("  ")[-1] for line in capsys.readouterr().out.splitlines()} == CODE | WEIGHTS
    publish.main(["space", "--repo", "me/app", "--models", "me/both@v1", "--dry-run"])
    assert {line.split("  ")[-1] for line in capsys.readouterr().out.splitlines()} == CODE
    assert hub.requests == []


def test_a_space_without_all_its_parts_is_refused(
    hub: FakeHub, checkout: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["space", "--repo", "me/app"]
    checkout({"ui/model.pkl": pickle.dumps(1)})
    assert "ui/model.pkl is a pickle by its name" in refusal(words, capsys)
    (files.ROOT / "ui" / "model.pkl").unlink()
    (files.ROOT / "models" / "weights" / "pet.onnx").write_bytes(b"another")
    assert "SHA-256 is not the card's" in refusal(words, capsys)
    (files.ROOT / "requirements.txt").unlink()
    assert "A Space needs requirements.txt" in refusal(words, capsys)
    shutil.rmtree(files.ROOT / ".git")
    assert "cannot be listed" in refusal(words, capsys)
    assert hub.requests == []


def test_the_app_s_own_space_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this copy is not a git repository")
    publish.main(["space", "--repo", "me/app", "--dry-run"])
    listed = {line.split("  ")[-1] for line in capsys.readouterr().out.splitlines()}
    assert {"app.py", "ui/page.py", "models/store.py", "examples/CREDITS.csv"} <= listed
    left_out = r"(tests|training|bench|batch|data|runs|docs)/"
    assert not any(re.match(left_out, path) for path in listed)
    imported = {
        name
        for path in listed
        if path.endswith(".py")
        for name in re.findall(r"^ *(?:from|import) (\w+)", (ROOT / path).read_text(), re.MULTILINE)
    }
    assert "models" in imported
    assert {name for name in imported if (ROOT / name).is_dir()} <= set(files.SPACE)
