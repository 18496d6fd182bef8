import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.images import open_photo
from models.preprocessing import normalize, prepare
from training import breed_classifier, distillation, fastai_runs, pets, train_breeds
from training.pictures import decode
from training.runs import read_facts

ROOT = Path(__file__).parents[2]
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
SPEC = breed_classifier.input_spec(HALF, 64)


def words(root: Path, run: Path, *more: str) -> list[str]:
    """A tiny run from random weights, with two epochs by default."""
    return [
        *("--root", str(root), "--out", str(run), "--size", "64", "--no-pretrained"),
        *("--arch", "test_vit", "--batch", "4", "--epochs", "2"),
        *more,
    ]


def run_of(arguments: list[str]) -> Path:
    return train_breeds.train(**vars(train_breeds.parse_arguments(arguments)))


@pytest.fixture(scope="module")
def dry_run(tiny_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "dry"
    return run_of(words(tiny_pets, run, "--dry-run"))


def test_held_out_pictures_are_prepared_as_at_serving(tiny_pets: Path) -> None:
    held_out = pets.split(tiny_pets, "validation")
    labels = [breed.name for breed in pets.breeds(tiny_pets)]
    photos = decode(held_out, SPEC, "photos")
    breeds = [labels[example.label] for example in held_out]
    loaders = breed_classifier.data_loaders(photos, photos, breeds * 2, labels, SPEC, 4)
    batch, their_breeds = next(iter(loaders.valid))
    served = np.concatenate([prepare(open_photo(example.photo), SPEC) for example in held_out])
    np.testing.assert_allclose(batch.numpy(), served[: len(batch)], atol=1e-4)
    assert their_breeds.tolist() == [example.label for example in held_out[: len(batch)]]


def test_training_pictures_are_augmented_at_the_input_size(tiny_pets: Path) -> None:
    example = pets.split(tiny_pets, "train")[0]
    photos = decode([example] * 8, fastai_runs.presized(SPEC), "photos")
    assert photos.shape == (8, 80, 80, 3)
    loaders = breed_classifier.data_loaders(photos, photos[:1], ["a"] * 9, ["a", "b"], SPEC, 8)
    batch, _ = next(iter(loaders.train))
    assert batch.shape == (8, 3, 64, 64)
    assert not torch.allclose(batch[0], batch[1])


def test_fewer_pictures_than_a_batch_are_learnt_from(tiny_pets: Path) -> None:
    example = pets.split(tiny_pets, "train")[0]
    photos = decode([example] * 5, fastai_runs.presized(SPEC), "photos")
    loaders = breed_classifier.data_loaders(photos, photos[:1], ["a"] * 6, ["a", "b"], SPEC, 32)
    assert [len(batch) for batch, _ in loaders.train] == [5]


@pytest.mark.parametrize("frozen", [0.0, 0.5])
def test_layer_groups_hold_every_parameter_once(frozen: float) -> None:
    model = timm.create_model("test_vit", num_classes=3)
    groups = breed_classifier.layer_groups(model, frozen)
    assert len(groups) == 4
    grouped = [id(parameter) for group in groups for parameter in group]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    assert len(groups[0]) == round(frozen * (len(grouped) - 2))
    assert groups[0] == list(model.parameters())[: len(groups[0])]
    assert len(groups[3]) == 2


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_result_lies_between_the_start_and_the_fine_tuned_weights(share: float) -> None:
    model, other = (timm.create_model("test_byobnet", num_classes=3) for _ in range(2))
    tuned = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    start = dict(other.named_parameters())
    statistics = {name: buffer.clone() for name, buffer in model.named_buffers()}

    breed_classifier.go_back(model, start, share)

    for name, parameter in model.named_parameters():
        expected = (1 - share) * start[name] + share * tuned[name]
        torch.testing.assert_close(parameter, expected)
    torch.testing.assert_close(dict(model.named_buffers()), statistics)


def test_accuracies_count_the_first_and_the_first_five() -> None:
    logits = torch.randn((40, 8), generator=torch.Generator().manual_seed(1))
    breeds = torch.arange(40) % 8
    loader = [(logits[:25], breeds[:25]), (logits[25:], breeds[25:])]

    top_1, top_5 = breed_classifier.accuracies(torch.nn.Identity(), loader)

    best = (-logits).argsort(dim=1)
    assert top_1 == (best[:, 0] == breeds).float().mean()
    assert top_5 == (best[:, :5] == breeds[:, None]).any(dim=1).float().mean()
    assert 0 < top_1 < top_5 < 1


def test_fine_tuning_starts_from_the_best_linear_classifier() -> None:
    random = np.random.default_rng(0)
    breeds = random.integers(0, 3, 60)
    photos = random.integers(0, 90, (60, 32, 32, 3), dtype=np.uint8)
    photos[np.arange(60), :, :, breeds] += 100
    torch.manual_seed(0)
    model: Any = timm.create_model("mobilenetv2_050", num_classes=3)
    breed_classifier.fit_classifier(model, photos, breeds, SPEC)
    inputs = torch.from_numpy(normalize(photos, SPEC))
    with torch.inference_mode():
        features = model.forward_head(model.forward_features(inputs), pre_logits=True).numpy()
        answers = model(inputs).softmax(dim=1).numpy()
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=breed_classifier.PROBE_COST))
    expected = reference.fit(features, breeds).predict_proba(features)
    assert np.abs(answers - expected).max() < 0.1  # features in mixed precision
    assert np.mean(answers.argmax(axis=1) == breeds) > 0.9


@pytest.mark.parametrize("present", [(0, 1, 2, 3), (0, 3), (1, 2, 3)])
def test_the_linear_probe_is_scikit_learns_also_when_classes_are_missing(
    present: tuple[int, ...],
) -> None:
    random = np.random.default_rng(0)
    labels = np.array(present)[random.integers(0, len(present), 80)]
    features = random.normal(size=(80, 6)).astype(np.float32)
    features[np.arange(80), labels] += 2
    weights, biases = breed_classifier.linear_probe(features, labels, 4)
    logits = features @ weights.T + biases
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=breed_classifier.PROBE_COST))
    expected = reference.fit(features, labels).predict_proba(features)
    chosen = softmax(logits[:, present], axis=1)
    np.testing.assert_allclose(chosen, expected, atol=1e-3)
    missing = sorted(set(range(4)) - set(present))
    assert not weights[missing].any()
    assert (biases[missing] == biases[list(present)].min()).all()


def test_distillation_asks_the_teachers_about_the_mixed_pictures() -> None:
    class Teacher(torch.nn.Module):
        def forward(self, photos: torch.Tensor) -> torch.Tensor:
            self.seen = photos
            return photos.mean(dim=(2, 3))

    teachers = [Teacher(), Teacher()]
    callback = distillation.Distillation(teachers)
    photos = torch.rand(4, 3, 8, 8)

    learn: Any = SimpleNamespace(training=True, x=photos)
    callback.learn = learn
    callback.before_batch()
    (mixed,), (answers,) = learn.xb, learn.yb
    assert not torch.equal(mixed, photos)
    assert all(torch.equal(teacher.seen, mixed) for teacher in teachers)
    torch.testing.assert_close(answers, mixed.mean(dim=(2, 3)).softmax(dim=1))


def test_a_teacher_answers_about_pictures_that_are_normalised_for_its_student(
    dry_run: Path,
) -> None:
    own = read_facts(dry_run)["input"]
    student = breed_classifier.input_spec({"mean": (0.2, 0.3, 0.4), "std": (0.1, 0.2, 0.3)}, 64)
    photos = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    teacher = distillation.Teacher(dry_run, student)
    with torch.inference_mode():
        answers = teacher(torch.from_numpy(normalize(photos, student)))
        expected = teacher.network(torch.from_numpy(normalize(photos, own)))
    torch.testing.assert_close(answers, expected, rtol=1e-4, atol=1e-4)


def test_a_body_that_is_not_tuned_at_all_gets_a_fitted_classifier_without_any_epoch(
    tiny_pets: Path, tmp_path: Path
) -> None:
    start = timm.create_model("test_efficientnet", num_classes=6).state_dict()
    save_file(start, tmp_path / "start.safetensors")
    config = json.dumps({"file": str(tmp_path / "start.safetensors")})
    more = ("--arch", "test_efficientnet", "--pretrained", "--pretrained-cfg", config)
    run = run_of(words(tiny_pets, tmp_path / "run", *more, "--tuned", "0"))
    assert read_facts(run)["epochs"] == 0
    found = load_file(run / "model.safetensors")
    changed = {name for name, values in found.items() if not torch.equal(values, start[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_a_resumed_run_ends_like_one_that_was_not_interrupted(
    tiny_pets: Path, tmp_path: Path
) -> None:
    whole = run_of(words(tiny_pets, tmp_path / "whole", "--mix", "mixup"))
    interrupted = words(tiny_pets, tmp_path / "resumed", "--mix", "mixup")
    write = fastai_runs.History.after_epoch

    def write_then_stop(callback: fastai_runs.History) -> None:
        write(callback)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastai_runs.History, "after_epoch", write_then_stop)
        with pytest.raises(KeyboardInterrupt):
            run_of(interrupted)
    resumed = run_of([*interrupted, "--resume"])
    epochs = [line.split(",")[0] for line in (resumed / "history.csv").read_text().splitlines()]
    assert epochs == ["epoch", "0", "1"]
    ends = [load_file(run / "model.safetensors") for run in (whole, resumed)]
    for name, values in ends[0].items():
        torch.testing.assert_close(values, ends[1][name], rtol=1e-3, atol=1e-4)


def test_a_run_ends_in_a_standard_timm_checkpoint_and_pictures(dry_run: Path) -> None:
    config = json.loads((dry_run / "config.json").read_text())
    assert config["architecture"] == "test_vit"
    assert config["label_names"] == ["Siamese", "Beagle", "Pug", "Bengal", "Boxer", "Persian"]
    model = timm.create_model(f"local-dir:{dry_run}", pretrained=True)
    assert model.num_classes == 6
    for name in ("curves.png", "predictions.png", "run.json"):
        assert (dry_run / name).stat().st_size > 0
    assert list((dry_run / "tensorboard").glob("events.*"))


TRAIN_AND_LIST_THREADS = """
from pathlib import Path
from training import train_breeds
train_breeds.main()
names = Path("/proc/self/task").glob("*/comm")
print("threads:", *(name.read_text().strip() for name in names))
"""


def test_two_processes_train_together(tiny_pets: Path, tmp_path: Path) -> None:
    run = tmp_path / "run-dry-run"
    script = tmp_path / "train.py"
    script.write_text(TRAIN_AND_LIST_THREADS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    launch += ["--standalone"]
    arguments = words(tiny_pets, tmp_path / "run", "--dry-run")
    done = subprocess.run(
        [*launch, str(script), *arguments],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "ACCELERATE_USE_CPU": "true",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("held-out top-1") == 1
    lines = done.stdout.splitlines()
    assert all(line.strip() for line in lines), "progress bars leave blank lines"
    assert any("epoch 1 of 1, train_loss" in line for line in lines)
    # A thread of Gloo that is still at work aborts its process at the end, now and then.
    assert done.stdout.count("threads:") == 2
    assert "gloo" not in done.stdout
    assert json.loads((run / "run.json").read_text())["processes"] == 2
    assert len((run / "history.csv").read_text().splitlines()) == 2
    assert timm.create_model(f"local-dir:{run}", pretrained=True).num_classes == 6


@pytest.mark.parametrize("arch", ["resnet34", "convnext_tiny.fb_in22k"])
def test_the_published_networks_train(arch: str, tiny_pets: Path, tmp_path: Path) -> None:
    arguments = [*words(tiny_pets, tmp_path / "run", "--dry-run"), "--arch", arch]
    config = json.loads((run_of(arguments) / "config.json").read_text())
    assert config["architecture"] == arch.partition(".")[0]
