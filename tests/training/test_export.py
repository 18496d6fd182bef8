"""From a dry run of each training script through export to figures, as a user would do it."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from safetensors.torch import save_file
from scipy.special import log_softmax, softmax

import documents
from models import store
from models.images import open_photo
from models.preprocessing import InputSpec, prepare
from models.segmentation import Segmenter
from training import calibration, evaluate, export, pets, summary, train_breeds, train_unet
from training.errors import UserError
from training.evaluation import tables
from training.exporting import common, of_timm
from training.runs import read_facts, write_facts


@pytest.fixture(scope="module")
def unet_run(tiny_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "unet"
    words = ["--dry-run", "--root", str(tiny_pets), "--out", str(run), "--size", "64"]
    words += ["--network", "scratch", "--filters", "2", "--depth", "2", "--verbose", "0"]
    return train_unet.train(**vars(train_unet.parse_arguments(words)))


# Blocks like those of the embedded networks, but a third as many, because each takes time to
# export.
CNN = "test_efficientnet"


def train_breed_run(root: Path, run: Path, arch: str, *more: str) -> Path:
    words = ["--dry-run", "--root", str(root), "--out", str(run), "--size", "160"]
    words += ["--no-pretrained", "--arch", arch, *more]
    return train_breeds.train(**vars(train_breeds.parse_arguments(words)))


@pytest.fixture(scope="module")
def breeds_run(tiny_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_breed_run(tiny_pets, tmp_path_factory.mktemp("runs") / "breeds", CNN)


@pytest.fixture(scope="module")
def exported(
    tiny_pets: Path, unet_run: Path, breeds_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for run, name in ((unet_run, "pet"), (breeds_run, "breeds")):
        export.main([str(run), name, "--models", str(folder), "--root", str(tiny_pets)])
    return folder


def test_the_file_is_the_one_that_its_card_names(exported: Path) -> None:
    for name, task in (("pet", "segmentation"), ("breeds", "classification")):
        card = store.read_card(name, exported)
        content = (exported / f"{name}.onnx").read_bytes()
        assert card.sha256 == hashlib.sha256(content).hexdigest()
        assert card.task == task
        assert card.facts["export"]["largest_difference"] < 1e-3
        assert card.facts["parameters"] > 1_000
        assert card.facts["training"]["command"]


def answers(path: Path, batch: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path)
    return session.run(None, {session.get_inputs()[0].name: batch})[0]


def test_masks_export_with_dynamic_batch_and_size(exported: Path) -> None:
    for shape in ((1, 64, 64, 3), (3, 96, 32, 3)):
        output = answers(exported / "pet.onnx", np.zeros(shape, np.float32))
        assert output.shape == shape
        np.testing.assert_allclose(output.sum(axis=-1), 1, atol=1e-5)


def test_breeds_export_with_dynamic_batch(exported: Path) -> None:
    for batch in (1, 5):
        zeros = np.zeros((batch, 3, 160, 160), np.float32)
        output = answers(exported / "breeds.onnx", zeros)
        assert output.shape == (batch, 6)
        np.testing.assert_allclose(output.sum(axis=-1), 1, atol=1e-5)


def test_a_mask_model_s_card_says_that_it_also_sees_the_mirror_image(
    unet_run: Path, tiny_pets: Path, tmp_path: Path
) -> None:
    words = [str(unet_run), "both", "--models", str(tmp_path), "--root", str(tiny_pets), "--mirror"]
    export.main([*words, "--title", "With mirror"])
    card, network = store.load("both", "segmentation", tmp_path)
    assert card.facts["title"] == "With mirror"
    photo = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype(np.float32)
    straight, flipped = (
        answers(tmp_path / "both.onnx", np.ascontiguousarray(seen))
        for seen in (photo, photo[:, :, ::-1])
    )
    assert np.abs(straight - flipped[:, :, ::-1]).max() > 0.01
    served = Segmenter(card, network).run(photo)
    np.testing.assert_allclose(served, (straight + flipped[:, :, ::-1]) / 2, atol=1e-5)


def test_several_classifiers_become_their_calibrated_mean(
    breeds_run: Path, tiny_pets: Path, tmp_path: Path
) -> None:
    other = train_breed_run(tiny_pets, tmp_path / "other", "test_vit")
    words = ["--models", str(tmp_path), "--root", str(tiny_pets), "--mirror"]
    export.main([str(breeds_run), str(other), "mean", *words])
    card = store.read_card("mean", tmp_path)
    photo = open_photo(pets.split(tiny_pets, "test")[0].photo)
    logits = []
    for run in (breeds_run, other):
        model = timm.create_model(f"local-dir:{run}", pretrained=True).eval()
        spec = read_facts(run)["input"]  # the two were trained with different means
        for picture in (photo, photo[:, ::-1]):
            batch = torch.from_numpy(prepare(np.ascontiguousarray(picture), spec))
            with torch.inference_mode():
                logits.append(model(batch).numpy())
    assert read_facts(breeds_run)["input"].mean != read_facts(other)["input"].mean
    mean = np.mean(logits, axis=0) / card.facts["output"]["temperature"]
    expected = softmax(mean, axis=1)
    np.testing.assert_allclose(
        answers(tmp_path / "mean.onnx", prepare(photo, card.input)), expected, atol=1e-4
    )
    # One of the two ends in tokens, so there are no maps.
    assert len(onnxruntime.InferenceSession(tmp_path / "mean.onnx").get_outputs()) == 1
    assert "second" not in card.facts["output"]


def test_the_second_output_says_where_each_breed_s_evidence_lies(
    exported: Path, breeds_run: Path, tiny_pets: Path, tmp_path: Path
) -> None:
    words = ["--models", str(tmp_path), "--root", str(tiny_pets), "--mirror"]
    export.main([str(breeds_run), str(breeds_run), "twice", *words])
    batch = np.random.default_rng(0).normal(size=(3, 3, 160, 160)).astype(np.float32)
    model: Any = timm.create_model(f"local-dir:{breeds_run}", pretrained=True).eval()
    linear = model.get_classifier()

    def by_hand(photos: np.ndarray) -> np.ndarray:
        """The classifier's weights over the last feature maps."""
        with torch.inference_mode():
            features = model.forward_features(torch.from_numpy(photos))
            weighted = torch.einsum("nchw,kc->nkhw", features, linear.weight)
            return (weighted + linear.bias[:, None, None]).numpy()

    straight = by_hand(batch)
    both = (straight + by_hand(batch[..., ::-1].copy())[..., ::-1]) / 2
    for folder, name, expected in ((exported, "breeds", straight), (tmp_path, "twice", both)):
        session = onnxruntime.InferenceSession(folder / f"{name}.onnx")
        probabilities, maps = session.run(None, {"photo": batch})
        assert maps.shape == (3, 6, 5, 5)
        # Class-activation maps average to the logits, including the bias.
        means = maps.mean(axis=(2, 3))
        np.testing.assert_allclose(softmax(means, axis=1), probabilities, atol=1e-5)
        temperature = store.read_card(name, folder).facts["output"]["temperature"]
        np.testing.assert_allclose(maps, expected / temperature, atol=1e-4)


def test_the_classifier_before_fine_tuning_becomes_a_second_head(
    breeds_run: Path, tiny_pets: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    start: Any = timm.create_model(CNN, num_classes=1000).eval()
    save_file(start.state_dict(), tmp_path / "start.safetensors")
    words = ["--models", str(tmp_path), "--root", str(tiny_pets), "--temperature", "2"]
    words += ["--otherwise", str(tmp_path / "start.safetensors")]
    export.main([str(breeds_run), "heads", *words, "--mirror"])

    facts = store.read_card("heads", tmp_path).facts
    assert facts["output"]["temperature"] == 2
    assert len(facts["otherwise"]["names"]) == 1000
    tuned: Any = timm.create_model(f"local-dir:{breeds_run}", pretrained=True).eval()
    batch = np.random.default_rng(0).normal(size=(3, 3, 160, 160)).astype(np.float32)
    with torch.inference_mode():
        both = [torch.from_numpy(batch), torch.from_numpy(batch[..., ::-1].copy())]
        pooled = [
            tuned.forward_head(tuned.forward_features(each), pre_logits=True) for each in both
        ]
        expected = torch.stack([start.get_classifier()(each) for each in pooled]).mean(dim=0)
    session = onnxruntime.InferenceSession(tmp_path / "heads.onnx")
    assert [each.name for each in session.get_outputs()] == [
        "probabilities",
        "class_activation",
        "otherwise",
    ]
    np.testing.assert_allclose(session.run(["otherwise"], {"photo": batch})[0], expected, atol=1e-4)

    with pytest.raises(UserError, match="no body in common"):
        export.main([str(breeds_run), str(breeds_run), "more", *words])


def test_only_a_classifier_of_timm_has_another_head(
    unet_run: Path, tiny_pets: Path, tmp_path: Path
) -> None:
    words = ["pet", "--models", str(tmp_path), "--root", str(tiny_pets), "--otherwise", "imagenet"]
    with pytest.raises(UserError, match="Only classifiers of timm take --otherwise"):
        export.main([str(unet_run), *words])


def test_only_a_network_of_any_size_has_another_size_for_closer_looks(
    unet_run: Path, tiny_pets: Path, tmp_path: Path
) -> None:
    words = ["pet", "--models", str(tmp_path), "--root", str(tiny_pets), "--close-size", "64"]
    with pytest.raises(UserError, match="take --close-size"):
        export.main([str(unet_run), *words])


def test_a_run_on_all_of_trainval_takes_its_temperature_from_one_that_held_photos_out(
    breeds_run: Path,
    exported: Path,
    tiny_pets: Path,
    tmp_path: Path,
) -> None:
    run = train_breed_run(tiny_pets, tmp_path / "whole", CNN, "--split", "trainval")
    assert read_facts(run)["held_out"] == {"pictures": 0, "size": 160}
    words = ["whole", "--models", str(tmp_path), "--root", str(tiny_pets)]
    with pytest.raises(UserError, match="held nothing out"):
        export.main([str(run), *words])
    export.main([str(run), *words, "--calibrate", str(breeds_run)])
    whole = store.read_card("whole", tmp_path).facts
    part = store.read_card("breeds", exported).facts
    assert whole["output"]["temperature"] == pytest.approx(part["output"]["temperature"])
    assert whole["training"]["split"] == "trainval"
    assert whole["metrics"] == {}
    # Figures on its training pictures would be meaningless.
    words = [str(tmp_path / "whole.onnx"), "--root", str(tiny_pets), "--out", str(tmp_path)]
    with pytest.raises(UserError, match="trained on trainval"):
        evaluate.main([*words, "--split", "validation"])
    evaluate.main([*words, "--split", "test"])
    assert json.loads((tmp_path / "figures.json").read_text())["split"] == "test"


@pytest.fixture(scope="module")
def fold_run(tiny_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "fold"
    return train_breed_run(tiny_pets, run, CNN, "--fold", "1")


def test_the_temperature_may_come_from_the_held_out_photos_of_several_folds(
    breeds_run: Path,
    fold_run: Path,
    tiny_pets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logits, truth = [], []
    for fold, folder in enumerate((breeds_run, fold_run)):
        model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        for example in pets.split(tiny_pets, "validation", fold=fold):
            photo = prepare(open_photo(example.photo), read_facts(folder)["input"])
            with torch.inference_mode():
                logits.append(model(torch.from_numpy(photo)).numpy()[0])
            truth.append(example.label)

    def fit_temperature(some: np.ndarray, theirs: np.ndarray) -> float:
        np.testing.assert_allclose(some, np.array(logits), atol=1e-4)
        np.testing.assert_array_equal(theirs, truth)
        return 1.25

    words = ["--models", str(tmp_path), "--root", str(tiny_pets)]
    with monkeypatch.context() as patch:
        patch.setattr(of_timm, "fit_temperature", fit_temperature)
        calibrate = ["--calibrate", str(breeds_run), str(fold_run)]
        export.main([str(fold_run), "pooled", *words, *calibrate])
    assert store.read_card("pooled", tmp_path).facts["output"]["temperature"] == 1.25
    # The figures of a fold's run are for the photos that it held out.
    evaluate.main([str(fold_run), "--root", str(tiny_pets), "--out", str(tmp_path)])
    measured = json.loads((tmp_path / "figures.json").read_text())["negative_log_likelihood"]
    half = len(truth) // 2
    own = -log_softmax(np.array(logits[half:]), axis=1)[range(half), truth[half:]]
    assert measured == pytest.approx(own.mean(), rel=1e-3)


def test_runs_that_do_not_fit_together_give_no_temperature(
    breeds_run: Path, fold_run: Path, tiny_pets: Path, tmp_path: Path
) -> None:
    words = ["mean", "--models", str(tmp_path), "--root", str(tiny_pets)]
    with pytest.raises(UserError, match="held out different pictures"):
        export.main([str(breeds_run), str(fold_run), *words])
    with pytest.raises(UserError, match="1 runs of each fold"):
        export.main([str(fold_run), *words, "--calibrate", str(breeds_run), str(breeds_run)])


def test_only_runs_of_networks_are_exported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a finished training run"):
        export.main([str(tmp_path), "breeds"])
    write_facts(
        tmp_path,
        framework="scikit-learn",
        input_spec=InputSpec(8, 8, "squash", "bilinear", (0.5,) * 3, (0.5,) * 3, "NHWC"),
    )
    with pytest.raises(UserError, match="have no network"):
        export.main([str(tmp_path), "breeds"])


def test_a_model_of_the_same_name_is_replaced_only_on_request(
    breeds_run: Path, tiny_pets: Path, tmp_path: Path
) -> None:
    card = tmp_path / "breeds.json"
    card.write_text('{"refusal": "the rule"}')
    words = [str(breeds_run), "breeds", "--models", str(tmp_path), "--root", str(tiny_pets)]
    with pytest.raises(UserError, match=r"breeds\.json already exists: replace it"):
        export.main(words)
    assert card.read_text() == '{"refusal": "the rule"}'
    assert not (tmp_path / "breeds.onnx").exists()

    export.main([*words, "--overwrite"])
    assert store.read_card("breeds", tmp_path).refusal is None


def test_masks_are_not_averaged(unet_run: Path, tiny_pets: Path, tmp_path: Path) -> None:
    words = [str(unet_run), str(unet_run), "pet", "--models", str(tmp_path / "weights")]
    with pytest.raises(UserError, match="give one run"):
        export.main([*words, "--root", str(tiny_pets)])
    assert not (tmp_path / "weights").exists()


def test_an_export_that_disagrees_with_its_framework_is_stopped(
    breeds_run: Path,
    exported: Path,
    tiny_pets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def off_by_little(runs: object, target: Path, *_: object) -> common.Exported:
        shutil.copy(exported / "breeds.onnx", target)
        return common.Exported(
            lambda batch: answers(target, batch) + np.float32(2e-3), parameters=1
        )

    monkeypatch.setattr(export, "exporter", lambda framework: off_by_little)
    with pytest.raises(UserError, match="not exported"):
        export.export([breeds_run], "breeds", tmp_path / "weights", root=tiny_pets)
    assert not (tmp_path / "weights").exists()


def test_evaluation_writes_the_figures_into_card_and_readme(
    exported: Path, tiny_pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{tables.START}\nold\n{tables.END}\nafter\n")
    (tmp_path / "SHORT.md").write_text(f"{summary.START}{summary.END}")
    (tmp_path / "WEIGHTS.md").write_text(f"{tables.START_OF_WEIGHTS}{tables.END_OF_WEIGHTS}")
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    monkeypatch.setattr(store, "EMBEDDED", exported)
    for name in ("pet", "breeds"):
        words = [name, "--split", "test", "--root", str(tiny_pets), "--write"]
        evaluate.main([*words, "--out", str(tmp_path / name)])
    figures = json.loads((exported / "breeds.json").read_text())["metrics"]["test"]
    examples = pets.split(tiny_pets, "test")
    assert figures["pictures"] == len(examples)
    table = readme.read_text()
    assert table.startswith("before\n")
    assert table.endswith("after\n")
    assert "old" not in table
    assert f"top-1 {figures['top1']:.2%}" in table
    assert table.count("| pet |") == 3  # at the input size, at 128 px, at the photo's own size


def test_the_readme_s_results_are_those_of_the_cards() -> None:
    cards = [store.read_card(name, store.EMBEDDED) for name in store.names(folder=store.EMBEDDED)]
    assert tables.results_table(cards) in documents.find(tables.START).read_text()


@pytest.mark.parametrize("scale", [0.3, 4.0])
def test_the_temperature_undoes_a_wrong_scale_of_the_logits(scale: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(20_000, 5))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (chances.cumsum(axis=1) > random.random((20_000, 1))).argmax(axis=1)
    assert calibration.fit_temperature(logits * scale, truth) == pytest.approx(scale, rel=0.05)
