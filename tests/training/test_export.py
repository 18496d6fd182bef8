"""From a dry run of each training script over the export to figures, as a user would go."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from models import breeds, segmentation, store
from training import evaluate, export, pets, train_breeds, train_unet

ROOT = Path(__file__).parent.parent.parent


def run_module(*words: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def unet_run(tiny_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "unet"
    words = ["--dry-run", "--root", str(tiny_pets), "--out", str(run), "--size", "64"]
    words += ["--encoder-weights", "none", "--verbose", "0"]
    return train_unet.train(train_unet.parse_arguments(words))


@pytest.fixture(scope="module")
def breeds_run(tiny_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "breeds"
    words = ["--dry-run", "--root", str(tiny_pets), "--out", str(run), "--size", "64"]
    words += ["--no-pretrained", "--workers", "0"]
    return train_breeds.train(train_breeds.parse_arguments(words))


@pytest.fixture(scope="module")
def exported(
    tiny_pets: Path, unet_run: Path, breeds_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for run, name in ((unet_run, "pet"), (breeds_run, "breeds")):
        export.main([str(run), name, "--to", str(folder), "--root", str(tiny_pets)])
    return folder


def test_the_file_is_the_one_that_its_card_names(exported: Path) -> None:
    for name, task in (("pet", "segmentation"), ("breeds", "classification")):
        card = store.read_card(name, exported)
        content = (exported / f"{name}.onnx").read_bytes()
        assert card.sha256 == hashlib.sha256(content).hexdigest()
        assert card.task == task
        assert card.facts["export"]["largest_difference"] < 1e-3
        assert card.facts["parameters"] > 1_000_000
        assert card.facts["training"]["command"]


def test_masks_export_with_dynamic_batch_and_size(exported: Path) -> None:
    session = onnxruntime.InferenceSession(exported / "pet.onnx")
    name = session.get_inputs()[0].name
    for shape in ((1, 64, 64, 3), (3, 96, 32, 3)):
        (output,) = session.run(None, {name: np.zeros(shape, np.float32)})
        assert output.shape == shape
        np.testing.assert_allclose(output.sum(axis=-1), 1, atol=1e-5)


def test_breeds_export_with_dynamic_batch(exported: Path) -> None:
    session = onnxruntime.InferenceSession(exported / "breeds.onnx")
    name = session.get_inputs()[0].name
    for batch in (1, 5):
        (output,) = session.run(None, {name: np.zeros((batch, 3, 64, 64), np.float32)})
        assert output.shape == (batch, 6)
        np.testing.assert_allclose(output.sum(axis=-1), 1, atol=1e-5)


def test_an_export_that_disagrees_with_its_framework_is_stopped(
    breeds_run: Path,
    tiny_pets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = export.export_timm

    def off_by_little(*arguments: object) -> export.Exported:
        exported = honest(*arguments)
        return replace(exported, predict=lambda batch: exported.predict(batch) + 2e-3)

    monkeypatch.setitem(export.EXPORTERS, "timm", off_by_little)
    with pytest.raises(export.ParityError, match="not exported"):
        export.export(
            breeds_run, "breeds", tmp_path / "weights", pets.split(tiny_pets, "validation")
        )
    assert not (tmp_path / "weights").exists()


def test_evaluation_writes_the_figures_into_card_and_readme(
    exported: Path, tiny_pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{evaluate.TABLE_START}\nold\n{evaluate.TABLE_END}\nafter\n")
    monkeypatch.setattr(evaluate, "README", readme)
    monkeypatch.setenv(store.SOURCE_VARIABLE, str(exported))
    for load in (segmentation.load, breeds.load):
        load.cache_clear()
    try:
        for name in ("pet", "breeds"):
            evaluate.main([name, "--split", "test", "--root", str(tiny_pets), "--write"])
    finally:
        for load in (segmentation.load, breeds.load):
            load.cache_clear()
    figures = json.loads((exported / "breeds.json").read_text())["metrics"]["test"]
    examples = pets.split(tiny_pets, "test")
    assert figures["pictures"] == len(examples)
    table = readme.read_text()
    assert table.startswith("before\n")
    assert table.endswith("after\n")
    assert "old" not in table
    assert f"top-1 {figures['top1']:.2%}" in table
    assert table.count("| pet |") == 2


def test_the_readme_s_results_are_those_of_the_cards() -> None:
    cards = [store.read_card(name, store.EMBEDDED) for name in store.names(folder=store.EMBEDDED)]
    assert evaluate.results_table(cards) in evaluate.README.read_text()


def test_mask_figures_against_counting_by_hand() -> None:
    truth = np.array([[0, 0, 1], [1, 2, 2]])
    prediction = np.array([[0, 1, 1], [1, 2, 0]])
    figures = evaluate.mask_figures(
        evaluate.confusion_matrix(truth, prediction, 3), ("pet", "background", "border")
    )
    assert figures["pixel_accuracy"] == pytest.approx(4 / 6)
    assert figures["iou"] == pytest.approx({"pet": 1 / 3, "background": 2 / 3, "border": 1 / 2})
    assert figures["mean_iou"] == pytest.approx((1 / 3 + 2 / 3 + 1 / 2) / 3)
    assert figures["dice"] == pytest.approx({"pet": 1 / 2, "background": 4 / 5, "border": 2 / 3})
    assert figures["binary_iou"] == pytest.approx(3 / 4)


def test_breed_figures_against_counting_by_hand() -> None:
    probabilities = np.array([[0.5, 0.3, 0.1, 0.05, 0.03, 0.02]] * 4)
    figures = evaluate.breed_figures(probabilities, np.array([0, 0, 4, 5]))
    assert figures == {"top1": 0.5, "top5": 0.75}


@pytest.mark.parametrize("scale", [0.3, 4.0])
def test_the_temperature_undoes_a_wrong_scale_of_the_logits(scale: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(20_000, 5))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (chances.cumsum(axis=1) > random.random((20_000, 1))).argmax(axis=1)
    assert export.fit_temperature(logits * scale, truth) == pytest.approx(scale, rel=0.05)


@pytest.mark.parametrize("module", ["pets", "train_unet", "train_breeds", "export", "evaluate"])
def test_every_script_explains_itself(module: str) -> None:
    assert f"training.{module}" in run_module(f"training.{module}", "--help")
