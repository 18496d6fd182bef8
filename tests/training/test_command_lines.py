"""Every option of every script at the smallest size, and user errors in one sentence."""

import argparse
import http.server
import json
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import keras
import numpy as np
import pytest
import timm
from PIL import Image
from safetensors.torch import save_file

from tests.hub import FakeHub
from training import breed_classifier, command_line, fastai_runs, pets, pretrained, train_breeds
from training.runs import read_facts

TRAININGS = ("train_baseline", "train_breeds", "train_encoder_unet", "train_masks", "train_unet")
SCRIPTS = (
    *TRAININGS,
    *("export", "compress", "evaluate", "publish", "refusal", "evidence", "edges", "systems"),
    *("pets", "nuclei", "others", "train_detector", "convert_detector", "evaluate_pets"),
    "fit_clicks",
    *("turns", "calibrate", "second_opinion", "candidates"),
)
ARCH = "test_vit"  # the fastest of timm's networks for tests
CNN = "test_efficientnet"


def main_of(script: str) -> Callable[[list[str]], object]:
    return import_module(f"training.{script}").main


def parser_of(script: str, monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    """The script's parser, intercepted when it reads the command line."""
    caught: list[argparse.ArgumentParser] = []

    def catch(parser: argparse.ArgumentParser, *_: object) -> None:
        caught.append(parser)
        raise LookupError

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", catch)
        with pytest.raises(LookupError):
            main_of(script)([])
    return caught[0]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_help_explains_each_option_and_shows_its_default(
    script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = parser_of(script, monkeypatch)
    assert f"python -m training.{script}" in whole.format_help()
    parsers = [whole]
    for action in whole._actions:
        if isinstance(action, argparse._SubParsersAction):
            parsers += action.choices.values()
    for parser in parsers:
        shown = "".join(parser.format_help().split())  # lines may be broken within words
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                continue
            assert action.help, action.option_strings
            plain = isinstance(action.default, int | float | str | Path)
            unsaid = isinstance(action.default, bool) or action.default in ("", argparse.SUPPRESS)
            if plain and not unsaid:
                assert f"(default:{action.default})" in shown, action.option_strings


# Training: each row is one run; together they use every option.


@pytest.fixture(scope="module")
def places(tiny_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files that the rows use: data, random weights, a finished run, own pictures."""
    folder = tmp_path_factory.mktemp("places")
    weights = {name: folder / f"{name}.safetensors" for name in (ARCH, CNN)}
    for name, path in weights.items():
        save_file(timm.create_model(name).state_dict(), path)
    encoder = keras.applications.MobileNetV2(
        input_shape=(None, None, 3), include_top=False, weights=None
    )
    encoder.save_weights(folder / "encoder.weights.h5")
    random = np.random.default_rng(0)
    for number in range(12):
        photo = random.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        own = folder / "own" / "ab"[number % 2] / f"{number}.jpg"
        own.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(own)
        mask = np.zeros((40, 40), np.uint8)
        mask[8:30, 8:30] = 255
        Image.fromarray(mask).save(own.with_suffix(".png"))
    teacher = train_breeds.train(
        folder / "teacher",
        root=tiny_pets,
        arch=ARCH,
        size=64,
        pretrained=False,
        dry_run=True,
        skip_damaged=True,
    )
    return {
        "ROOT": str(tiny_pets),
        "CFG": json.dumps({"file": str(weights[ARCH])}),
        "ENCODER": str(weights[CNN]),
        "KERAS": str(folder / "encoder.weights.h5"),
        "OWN": str(folder / "own"),
        "MORE": str(_corrected(folder / "more")),
        "TEACHER": str(teacher),
        "NONE": str(folder / "nothing"),
    }


def _corrected(folder: Path) -> Path:
    """Two corrected photos, one of them of the first breed."""
    (folder / "images").mkdir(parents=True)
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    (folder / "annotations" / "list.txt").write_text("one 1 1 1\nother 0 2 0\n")
    for name in ("one", "other"):
        Image.new("RGB", (40, 30), "grey").save(folder / "images" / f"{name}.jpg")
        trimap = np.full((30, 40), 2, np.uint8)
        trimap[5:25, 5:35] = 1
        Image.fromarray(trimap).save(folder / "annotations" / "trimaps" / f"{name}.png")
    return folder


BREEDS = f"--root ROOT --arch {ARCH} --size 64"
UNETS = f"--root ROOT --encoder tu-{CNN} --size 32"
KERAS = "--root ROOT --size 32 --verbose 0"
SCRATCH = f"{KERAS} --network scratch --filters 2 --depth 1"
ROWS = {
    "train_baseline": [
        "hog --root ROOT --source NONE --split random --dry-run --skip-damaged --overwrite",
    ],
    "train_breeds": [
        f"{BREEDS} --pretrained --pretrained-cfg CFG --dry-run --more MORE",
        f"{BREEDS} --pretrained-cfg CFG --split trainval --frozen 0 --tuned 1 --mix cutmix "
        "--dry-run",
        f"{BREEDS} --pretrained-cfg CFG --folder OWN --fold 1 --epochs 1 --batch 4 --rate 1e-3",
        f"{BREEDS} --no-pretrained --teachers TEACHER --split random --dry-run",
        f'{BREEDS} --no-pretrained --find-rate --model-args {{"drop_path_rate":0.1}} --batch 4',
    ],
    "train_encoder_unet": [
        f"{UNETS} --encoder-weights ENCODER --dry-run --more MORE --sample 8",
        f"{UNETS} --encoder-weights none --folder OWN --fold 1 --epochs 1 --batch 4 --rate 1e-3 "
        '--seed 1 --encoder-args {"output_stride":32}',
    ],
    "train_unet": [
        f"{KERAS} --network mobilenet --encoder-weights KERAS --bottom block_16_expand_relu "
        "--split random --dry-run",
        f"{SCRATCH} --dry-run --more MORE",
        f"{SCRATCH} --folder OWN --epochs 1 --batch 4 --rate 1e-3 --seed 1",
    ],
    "train_masks": [
        "--root ROOT --size 32 --dry-run --batch 4 --more MORE",
    ],
}
# These have their own tests.
ELSEWHERE = {
    *("--help", "--out", "--resume", "--overwrite", "--source", "--skip-damaged", "--seed"),
    *("--start-from", "--deeplab", "--others-root", "--others-source", "--find-rate", "--epochs"),
    *("--rate", "--half-size"),
}


@pytest.mark.parametrize("script", TRAININGS)
def test_the_rows_use_every_option(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {
        option
        for action in parser_of(script, monkeypatch)._actions
        for option in action.option_strings
        if option.startswith("--")
    }
    assert options - set(" ".join(ROWS[script]).split()) - ELSEWHERE == set()


@pytest.mark.parametrize(
    ("script", "row"), [(script, row) for script, rows in ROWS.items() for row in rows]
)
def test_a_small_run_ends_with_its_results_and_asks_no_hub(
    script: str,
    row: str,
    places: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(socket.socket, "connect", _no_network)
    words = [places.get(word, word) for word in row.split()]
    out = tmp_path / "runs" / "run"
    main_of(script)([*words, "--out", str(out)])
    said = capsys.readouterr().out
    if "--find-rate" in words:
        plot = out.with_name("run-find-rate") / "rate.png"
        assert plot.stat().st_size > 0
        assert f"{plot}: a peak learning rate of about" in said
        return
    run = out.with_name("run-dry-run") if "--dry-run" in words else out
    facts = read_facts(run)
    assert facts["held_out"]["pictures"] or "trainval" in words
    if "--more" in words:
        assert facts["more"]["pictures"] == (1 if script == "train_breeds" else 2)
    for split in {"random", "trainval"} & set(words):
        assert facts["split"] == split
    assert (run / "predictions.png").exists() != ("trainval" in words)
    assert [path.name for path in out.parent.iterdir()] == [run.name]
    assert str(run) in said


def _no_network(*_: object) -> None:
    raise AssertionError("the network was asked")


def test_a_dry_run_whose_pictures_lack_a_class_starts_from_the_others(
    places: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first(examples: list[pets.Example], count: int) -> list[pets.Example]:
        return sorted(examples, key=lambda example: example.label)[:count]

    monkeypatch.setattr(breed_classifier, "few", first)
    words = f"{BREEDS} --pretrained-cfg CFG --dry-run".split()
    train_breeds.main([*(places.get(word, word) for word in words), "--out", str(tmp_path / "run")])
    assert len(read_facts(tmp_path / "run-dry-run")["labels"]) == 6


# User errors


def ends(script: str, words: list[str], capsys: pytest.CaptureFixture[str], code: int = 1) -> str:
    """What the script prints when it is run as a command line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        command_line.run(lambda: main_of(script)(words))
    said = capsys.readouterr().err
    assert stopped.value.code == code, said
    assert "Traceback" not in said
    return said.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("script", "words", "sentence"),
    [
        ("train_breeds", "--arch mobilenetv2_10", "did you mean mobilenetv2_1"),
        ("train_breeds", "--arch test_vit.nonsense", "test_vit.nonsense cannot be made: Invalid"),
        ("train_breeds", '--pretrained-cfg {"file":"NONE"}', "names NONE, which is not a file."),
        ("train_breeds", '--pretrained-cfg {"file":"OWN/a/0.jpg"}', "use a .safetensors file."),
        ("train_breeds", '--no-pretrained --model-args {"nose":1}', "unexpected keyword"),
        ("train_breeds", "--folder NONE", "--folder NONE is not a folder."),
        ("train_breeds", "--teachers NONE --no-pretrained", "NONE is not a finished training run"),
        ("train_breeds", "--teachers TEACHER --mix mixup", "leave --mix out."),
        ("train_breeds", "--fold 7 --folder OWN", "--fold must be below 5"),
        ("train_breeds", "--split random --folder OWN", "--split random is a protocol of the pets"),
        ("train_breeds", "--resume", "holds no run to resume"),
        ("train_breeds", "--root NONE --source NONE", "--source must hold images.tar.gz"),
        ("train_encoder_unet", "--encoder resnet35", "did you mean resnet50 or resnet34"),
        ("train_encoder_unet", "--encoder tu-resnet3", "did you mean resnet"),
        ("train_encoder_unet", "--encoder-weights NONE", "names NONE, which is not a file."),
        ("train_encoder_unet", "--size 100", "--size must be divisible by 32, not 100."),
        ("train_encoder_unet", "--encoder-weights none --start-from NONE", "is not a finished"),
        ("train_encoder_unet", "--encoder-weights none --start-from TEACHER", "its own --encoder."),
        (
            "train_encoder_unet",
            "--encoder resnet18 --encoder-weights ENCODER",
            "weights of resnet18",
        ),
        ("train_masks", "--deeplab NONE", "--deeplab names NONE, which is not a file."),
        (
            "train_unet",
            "--encoder-weights NONE",
            "--encoder-weights names NONE, which is not a file.",
        ),
        ("train_unet", "--encoder-weights ENCODER", "The network cannot be made:"),
        ("train_unet", "nuclei --folder OWN", "--folder replaces the pets"),
        ("train_unet", "nuclei --more NONE", "--more adds photos to the pets"),
        ("train_masks", "--more NONE", "--more NONE is not a folder."),
        ("train_breeds", "--more OWN", "has no annotations/list.txt"),
        ("export", "NONE x", "NONE is not a finished training run"),
        ("evaluate", "none", "There is no model 'none'"),
        ("evaluate", "TEACHER --names NONE", "cannot be read as text"),
        ("compress", "none", "There is no model 'none'"),
        ("refusal", "pet", "pet is for segmentation"),
        ("refusal", "none", "There is no model 'none'"),
        ("evidence", "none", "There is no model 'none'"),
        ("turns", "pet", "pet is for segmentation"),
        ("turns", "none", "There is no model 'none'"),
        ("edges", "none", "There is no model 'none'"),
        ("publish", "model none --repo me/pets", "There is no model 'none'"),
        ("publish", "model breeds --repo pets", "'pets' is not the name of a repository"),
    ],
)
def test_a_mistake_is_reported_in_one_sentence_and_leaves_nothing(
    script: str,
    words: str,
    sentence: str,
    places: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(socket.socket, "connect", _no_network)
    monkeypatch.chdir(tmp_path)
    given = words.split()
    for name, place in places.items():
        given = [word.replace(name, place) if name != "CFG" else word for word in given]
        sentence = sentence.replace(name, place) if name == "NONE" else sentence
    if script.startswith("train_") or script in ("evaluate", "export"):
        given += [] if "--root" in given else ["--root", places["ROOT"]]
    if script.startswith("train_"):
        if script == "train_breeds" and "--arch" not in given:
            given += ["--arch", ARCH]
        if script == "train_encoder_unet" and "--encoder" not in given:
            given += ["--encoder", f"tu-{CNN}"]
        given += ["--out", "runs/run"]
    assert sentence in ends(script, given, capsys)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "words", ["--epochs 0", "--batch -1", "--rate nan", "--tuned 2", "--model-args [1]", "--fold x"]
)
def test_an_invalid_value_is_reported_with_the_option_s_name(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words.split()[0] in ends("train_breeds", words.split(), capsys, code=2)


# Without a network


class Silent(http.server.BaseHTTPRequestHandler):
    """A server that accepts a request and never answers."""

    def do_HEAD(self) -> None:
        time.sleep(30)


@pytest.fixture
def silent() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.mark.parametrize(
    ("script", "words", "otherwise"),
    [
        ("train_breeds", f"--arch {ARCH}.r160_in1k", "--no-pretrained"),
        ("train_encoder_unet", f"--encoder tu-{CNN}", "--encoder-weights none"),
        ("train_encoder_unet", "--encoder resnet18", "--encoder-weights none"),
    ],
)
def test_weights_that_cannot_be_downloaded_are_reported_with_alternatives(
    script: str,
    words: str,
    otherwise: str,
    hub: FakeHub,
    places: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [*words.split(), "--root", places["ROOT"], "--out", str(tmp_path / "run")]
    for fault in (404, 429, 503, "cut"):
        hub.faults["GET /api"] = fault
        before = len(hub.requests)
        said = ends(script, given, capsys)
        assert len(hub.requests) == before + 1  # it gives up at once
        assert "cannot be downloaded (the Hub" in said, fault
        assert otherwise in said
    assert not (tmp_path / "run").exists()


def test_a_silent_server_is_soon_given_up(
    silent: str,
    places: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pretrained, "ANSWER_TIMEOUT", 0.5)
    monkeypatch.setattr(pretrained, "KERAS_WEIGHTS", f"{silent}/mobilenet.h5")
    words = ["--root", places["ROOT"], "--out", str(tmp_path / "run")]
    said = ends("train_unet", words, capsys)
    assert "cannot be downloaded (timed out)" in said
    assert "--encoder-weights FILE" in said


# Ctrl-C


def test_ctrl_c_names_the_command_that_goes_on(
    places: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    words = [*BREEDS.replace("ROOT", places["ROOT"]).split(), "--no-pretrained"]
    words += ["--out", str(tmp_path / "my run"), "--overwrite"]
    monkeypatch.setattr("sys.argv", ["train_breeds", *words])
    monkeypatch.setattr(fastai_runs, "fit", stop)
    said = ends("train_breeds", words, capsys, code=130)
    typed = said.partition("Go on with: ")[2].split()[0]
    found = shutil.which(typed)
    assert found is not None
    assert Path(found).absolute() == Path(sys.executable)
    assert f"--out '{tmp_path / 'my run'}' --resume" in said
    assert "--overwrite" not in said
    monkeypatch.setattr("fastai.vision.all.set_seed", stop)  # before the run has begun
    said = ends("train_breeds", [*words[:-1], "--out", str(tmp_path / "new")], capsys, code=130)
    assert said == "Stopped."
    assert not (tmp_path / "new").exists()
