"""Models of a Hub repository are used if they are complete, and otherwise the embedded ones."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from models import store
from models.cards import ModelError
from models.hub import ANSWER_TIMEOUT, PATIENCE
from models.hub import main as download
from tests.hub import FakeHub, Fault


@pytest.fixture(autouse=True)
def fresh_store() -> Iterator[None]:
    """No folder is remembered."""
    store.resolve.cache_clear()
    yield
    store.resolve.cache_clear()


@pytest.fixture
def files(tiny_models: Path) -> dict[str, bytes]:
    """A published breed model, beside files of timm and an ensemble."""
    return {
        **{name: (tiny_models / name).read_bytes() for name in ("breeds.onnx", "breeds.json")},
        "config.json": b'{"architecture": "test_vit"}',
        "member-2/config.json": b"{}",
        "model.safetensors": b"weights",
    }


def use(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    """What a process with this setting does first."""
    store.resolve.cache_clear()
    monkeypatch.setenv(store.SOURCE_VARIABLE, setting)


def cached(hub: FakeHub, files: dict[str, bytes]) -> str:
    """Put the files into a repository and into the cache; return their commit."""
    commit = hub.add("me/pets", files)
    download(["me/pets"])
    hub.requests.clear()
    return commit


def loads_published_breeds() -> bool:
    card, network = store.load("breeds", "classification")
    output = network.run(np.zeros((1, 3, 16, 24), np.float32))
    return card.facts["architecture"] == "a mean" and output.shape == (1, 3)


@pytest.mark.parametrize("setting", ["me/pets", "hf://me/pets", "hf://me/pets@main"])
def test_a_repository_s_models_are_completed_by_the_embedded_ones(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes], setting: str
) -> None:
    hub.add("me/pets", files)
    use(monkeypatch, setting)

    assert loads_published_breeds()
    assert store.notice() is None
    assert store.names() == [
        "breeds",
        *(name for name in store.names(folder=store.EMBEDDED) if name != "breeds"),
    ]
    assert not any("safetensors" in call or "member-2" in call for call in hub.requests)

    hub.requests.clear()
    store.source()
    assert hub.requests == []  # a process looks only once


def test_a_commit_in_the_cache_needs_no_network(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]
) -> None:
    commit = cached(hub, files)
    use(monkeypatch, f"me/pets@{commit}")

    assert loads_published_breeds()
    assert store.notice() is None
    assert hub.requests == []


def test_a_branch_is_taken_from_the_cache_when_the_hub_fails(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]
) -> None:
    cached(hub, files)
    hub.faults[""] = 503
    use(monkeypatch, "me/pets@main")

    assert loads_published_breeds()
    assert store.notice() is None
    assert hub.requests


def test_a_branch_is_taken_from_the_cache_in_offline_mode(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]
) -> None:
    cached(hub, files)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    use(monkeypatch, "me/pets")

    assert loads_published_breeds()
    assert hub.requests == []


def test_a_branch_that_moved_is_downloaded_anew(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]
) -> None:
    cached(hub, files)
    hub.add("me/pets", {**files, "breeds.json": files["breeds.json"].replace(b"Pug", b"Poodle")})
    use(monkeypatch, "me/pets")

    assert store.read_card("breeds").labels[2].name == "Poodle"


def embedded_with_notice(monkeypatch: pytest.MonkeyPatch, name: str, reason: str) -> None:
    use(monkeypatch, name)
    sentence = f"The models of {name} are not available ({reason}), so the built-in ones are used."
    assert store.notice() == sentence
    assert store.source() == store.EMBEDDED


def test_a_hub_that_fails_leaves_the_embedded_models(
    hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub.add("me/pets", files)
    hub.faults["GET /api/models"] = 503
    embedded_with_notice(monkeypatch, "me/pets@main", "the Hub answers with error 503")
    assert store.notice() in caplog.messages


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (401, "the Hub has no such repository or revision, or it is private"),
        (403, "the Hub refuses access to it"),
        (404, "the Hub has no such repository or revision, or it is private"),
        (429, "the Hub has too many requests at the moment"),
        (500, "the Hub answers with error 500"),
        ("cut", "the Hub cannot be reached, or the connection was cut"),
    ],
)
def test_a_download_says_at_once_why_it_failed(
    fault: Fault, reason: str, hub: FakeHub, files: dict[str, bytes]
) -> None:
    hub.add("me/pets", files)
    hub.faults["GET /api/models"] = fault
    with pytest.raises(SystemExit, match=f"^{reason}$"):
        download(["me/pets@main"])
    assert len(hub.requests) == 1


def test_an_unreachable_hub_is_reported(hub: FakeHub) -> None:
    hub.stop()
    with pytest.raises(SystemExit, match=r"^the Hub cannot be reached, or the connection was cut$"):
        download(["me/pets"])


@pytest.mark.parametrize(
    ("call", "fault"), [("GET /api", "silent"), ("GET /api", "drip"), (r"resolve.*onnx", "drip")]
)
def test_a_hub_that_is_too_slow_is_given_up(
    call: str,
    fault: Fault,
    hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, bytes],
) -> None:
    monkeypatch.setattr("models.hub.PATIENCE", 1.0)
    hub.add("me/pets", files)
    hub.faults[call] = fault
    embedded_with_notice(monkeypatch, "me/pets", "the Hub does not answer, or too slowly")


def test_the_app_does_not_wait_long() -> None:
    assert ANSWER_TIMEOUT < PATIENCE <= 15


def test_a_download_that_is_cut_off_leaves_nothing_behind(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)  # between the attempts
    hub.add("me/pets", files)
    hub.faults["GET .*onnx"] = "cut"
    with pytest.raises(SystemExit, match="the Hub cannot be reached, or the connection was cut"):
        download(["me/pets"])

    hub.faults.clear()
    use(monkeypatch, "me/pets")
    assert loads_published_breeds()  # no half file is left behind


def test_a_network_that_is_not_its_card_s_is_never_used(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]
) -> None:
    damaged = files["breeds.onnx"][:-1] + b"\0"
    commit = hub.add("me/pets", {**files, "breeds.onnx": damaged})
    embedded_with_notice(monkeypatch, f"me/pets@{commit}", "its model 'breeds' is damaged")
    downloads = [call for call in hub.requests if call.startswith("GET") and "onnx" in call]
    assert len(downloads) == 2  # once more than expected


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"breeds.json": b"{}"}, "its model 'breeds' is damaged"),
        ({"breeds.json": b"\xff"}, "its model 'breeds' is damaged"),
        ({"breeds.onnx": None}, "it holds no models"),
    ],
    ids=["a card that says nothing", "a card that is none", "no network"],
)
def test_a_malformed_set_of_models_is_never_used(
    changes: dict[str, bytes | None],
    reason: str,
    hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, bytes],
) -> None:
    changed = {**files, **changes}
    commit = cached(hub, {path: file for path, file in changed.items() if file is not None})
    embedded_with_notice(monkeypatch, f"me/pets@{commit}", reason)


def test_a_file_damaged_in_the_cache_is_downloaded_once_more(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]
) -> None:
    commit = cached(hub, files)
    (blob,) = Path(constants.HF_HUB_CACHE).rglob("breeds.onnx")
    blob.resolve().write_bytes(b"damaged")
    use(monkeypatch, f"me/pets@{commit}")

    assert loads_published_breeds()
    assert store.notice() is None


def test_a_file_damaged_in_the_cache_is_not_used_without_a_network(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]
) -> None:
    commit = cached(hub, files)
    (blob,) = Path(constants.HF_HUB_CACHE).rglob("breeds.onnx")
    blob.resolve().write_bytes(b"damaged")
    hub.faults[""] = 503
    embedded_with_notice(monkeypatch, f"me/pets@{commit}", "its model 'breeds' is damaged")


def test_the_first_of_several_sources_wins(
    hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, bytes],
    tiny_models: Path,
    tmp_path: Path,
) -> None:
    for name in ("pet", "breeds"):
        for suffix in (".onnx", ".json"):
            content = (tiny_models / f"{name}{suffix}").read_bytes()
            (tmp_path / f"{name}{suffix}").write_bytes(content.replace(b"Beagle", b"Basset"))
    commit = cached(hub, files)
    firsts = []
    for setting in (f"me/pets@{commit}, {tmp_path}", f"{tmp_path},me/pets@{commit}"):
        use(monkeypatch, setting)
        firsts.append(store.read_card("breeds").labels[0].name)
        assert store.read_card("pet").facts["architecture"] == "a mean"
    assert firsts == ["Beagle", "Basset"]

    use(monkeypatch, f"me/none,{tmp_path}")
    assert "The models of me/none are not available" in str(store.notice())
    assert store.read_card("breeds").labels[0].name == "Basset"


def test_writing_figures_into_a_card_leaves_the_cache_alone(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]
) -> None:
    commit = cached(hub, files)
    use(monkeypatch, f"me/pets@{commit}")
    (store.source() / "breeds.json").write_text("{}")
    (kept,) = Path(constants.HF_HUB_CACHE).rglob("breeds.json")
    assert kept.read_bytes() == files["breeds.json"]


@pytest.mark.parametrize(
    "setting",
    ["/no/such/folder", "breeds", "a/b/c", "me/pets@", "a b/c", ".,x", "hf://", "hf:///x"],
)
def test_what_is_neither_folder_nor_repository_is_an_error(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, setting)
    with pytest.raises(ModelError, match="is neither a folder nor a repository of the Hub"):
        store.source()


def test_a_misspelt_folder_is_reported_as_missing(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    use(monkeypatch, "runs/exportd")
    assert str(store.notice()).startswith("There is no folder runs/exportd. The models of runs/exp")


def test_a_folder_without_any_model_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, str(tmp_path))
    with pytest.raises(ModelError, match="There is no model in the folder"):
        store.load("pet", "segmentation")


def test_models_can_be_downloaded_in_advance(
    hub: FakeHub, files: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    commit = hub.add("me/pets", files)
    download([f"me/pets@{commit}"])
    folder = Path(capsys.readouterr().out.strip())
    assert (folder / "breeds.onnx").read_bytes() == files["breeds.onnx"]
