"""Photos that visitors agree to have kept: limits, the owner's commands, the Hub, and the app."""

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import pet_folders
from serving import feedback, feedback_hub
from serving.clients import TokenBuckets
from serving.feedback import Keeper, Refused
from serving.settings import CannotStart
from tests.hub import FakeHub
from tests.serving.real_app import OpenPage, started
from ui import examples

ROOT = Path(__file__).parent.parent.parent
PHOTO = np.full((60, 80, 3), 90, np.uint8)
TRIMAP = np.repeat(np.array([1, 3, 2], np.uint8), 1600).reshape(60, 80)
DATA_SET = "datasets/me/corrected"
PLACE = f"hf://{DATA_SET}"


@pytest.fixture
def pending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where photos wait for their upload."""
    monkeypatch.setattr(feedback, "PENDING", tmp_path / "pending")
    yield tmp_path / "pending" / "me" / "corrected"
    feedback.start(None)


def kept(keeper: Keeper, client: str = "1.2.3.4", breed: str | None = "Beagle") -> str:
    return keeper.keep(client, PHOTO, TRIMAP, breed, "dog")


def run(*words: str) -> tuple[int, str, str]:
    """Exit code and output of the owner's command."""
    done = subprocess.run(
        [sys.executable, "-m", "serving.feedback", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_visitor_may_send_so_many_in_an_hour_and_others_too(tmp_path: Path) -> None:
    keeper, now = Keeper(tmp_path), [0.0]
    keeper._buckets = TokenBuckets(feedback.PER_HOUR, feedback.PER_HOUR / 3600, lambda: now[0])
    for _ in range(feedback.PER_HOUR):
        kept(keeper)

    with pytest.raises(Refused) as refused:
        kept(keeper)

    assert (refused.value.key, refused.value.values) == ("often", {"minutes": 3})
    kept(keeper, "5.6.7.8")
    now[0] += 180
    kept(keeper)
    assert len(pet_folders.entries(tmp_path)) == feedback.PER_HOUR + 2


def test_the_folder_and_the_disk_have_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(tmp_path)
    kept(keeper)
    for name, value in (("LARGEST", pet_folders.size(tmp_path) + 100), ("RESERVE", 10**18)):
        with monkeypatch.context() as patch:
            patch.setattr(feedback, name, value)
            with pytest.raises(Refused) as refused:
                kept(keeper)
        assert refused.value.key == "full"
    kept(keeper)


def test_a_photo_that_cannot_be_written_is_refused_and_the_app_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(pet_folders, "_write_list", lambda *_: (_ for _ in ()).throw(OSError(5, "")))
        with pytest.raises(Refused) as refused:
            kept(keeper)
    assert refused.value.key == "failed"
    assert not list((tmp_path / "images").iterdir())
    kept(keeper)


def test_a_place_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place, said in (
        (str(tmp_path / "file"), "Photos cannot be kept in"),
        (str(examples.FOLDER / "kept"), "Everybody may see"),
        ("hf://models/me/x", "a folder or hf://datasets/OWNER/NAME"),
        ("s3://me/x", "a folder or hf://datasets/OWNER/NAME"),
    ):
        with pytest.raises(CannotStart, match=said) as error:
            feedback.start(place, [examples.FOLDER])
        assert str(error.value).endswith(".")
    assert not (examples.FOLDER / "kept").exists()


def test_the_owner_lists_and_deletes_by_id(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    known, other = kept(keeper), kept(keeper, breed=None)

    code, listed, _ = run("list", str(tmp_path))
    assert code == 0
    assert listed == f"{known}\tBeagle\tdog\n{other}\tanother breed\tdog\n"
    assert run("delete", str(tmp_path), known)[0] == 0

    assert [each.name for each in pet_folders.entries(tmp_path)] == [other]
    assert [each.stem for each in (tmp_path / "images").iterdir()] == [other]
    assert [each.stem for each in (tmp_path / "annotations" / "trimaps").iterdir()] == [other]
    for words in (("delete", str(tmp_path), known), ("list", str(tmp_path / "none"))):
        code, _, said = run(*words)
        assert code == 1
        assert re.fullmatch(r"There is no [^\n]+\.\n", said)


def on_hub(hub: FakeHub) -> list[str]:
    """The lines of the data set's list, without comments."""
    text = hub.repositories[DATA_SET].files["annotations/list.txt"].decode()
    return [line for line in text.splitlines() if line[0] != "#"]


def test_a_data_set_of_the_hub_gets_what_is_kept_and_the_disk_loses_it(
    hub: FakeHub, pending: Path
) -> None:
    feedback.start(PLACE)
    keeper = feedback.keeper()
    assert keeper is not None
    assert keeper.data_set == "me/corrected"
    assert hub.repositories[DATA_SET].private
    first = kept(keeper)

    feedback.stop()

    assert on_hub(hub) == [f"{first} 5 2 4"]
    files = hub.repositories[DATA_SET].files
    photo = Image.open(io.BytesIO(files[f"images/{first}.jpg"]))
    assert photo.size == (80, 60)
    trimap = Image.open(io.BytesIO(files[f"annotations/trimaps/{first}.png"]))
    np.testing.assert_array_equal(np.asarray(trimap), TRIMAP)
    assert pet_folders.entries(pending) == []
    assert not list((pending / "images").iterdir())


def test_the_hub_s_list_counts_whoever_changed_it_meanwhile(hub: FakeHub, pending: Path) -> None:
    other = "Beagle_1 5 2 4"
    hub.add(DATA_SET, {"annotations/list.txt": other.encode(), "README.md": b"ours"})
    feedback.start(PLACE)
    keeper = feedback.keeper()
    assert keeper is not None
    hub.faults["commit"] = 412  # as if others always were faster
    name = kept(keeper)
    feedback.stop()
    assert on_hub(hub) == [other]
    assert [each.name for each in pet_folders.entries(pending)] == [name]
    assert sum("commit/main" in call for call in hub.requests) >= feedback_hub.TRIES

    del hub.faults["commit"]
    feedback.start(PLACE)  # the next start finds what waits
    feedback.stop()

    assert on_hub(hub) == [other, f"{name} 5 2 4"]
    assert hub.repositories[DATA_SET].files["README.md"] == b"ours"
    assert pet_folders.entries(pending) == []


def test_a_list_that_cannot_be_read_is_not_taken_for_an_empty_one(
    hub: FakeHub, pending: Path
) -> None:
    hub.add(DATA_SET, {"annotations/list.txt": b"Beagle_1 5 2 4\n"})
    feedback.start(PLACE)
    keeper = feedback.keeper()
    assert keeper is not None
    hub.faults["resolve"] = 403  # the library has one kind of error for it and for a missing file
    kept(keeper)
    feedback.stop()
    hub.faults.clear()

    assert on_hub(hub) == ["Beagle_1 5 2 4"]
    assert len(pet_folders.entries(pending)) == 1


def test_what_is_deleted_from_the_hub_is_in_no_commit_and_no_storage(
    hub: FakeHub, pending: Path
) -> None:
    feedback.start(PLACE)
    keeper = feedback.keeper()
    assert keeper is not None
    gone, stays = kept(keeper), keeper.keep("1.2.3.4", PHOTO, 4 - TRIMAP, None, "cat")
    feedback.stop()

    code, listed, said = run("list", PLACE)
    assert (code, said) == (0, "")
    assert listed == f"{gone}\tBeagle\tdog\n{stays}\tanother breed\tcat\n"
    code, _, said = run("delete", PLACE, gone)
    assert (code, said) == (0, f"Deleted {gone}.\n")

    repository = hub.repositories[DATA_SET]
    assert on_hub(hub) == [f"{stays} 0 1 0"]
    assert not any(gone in path for files in repository.commits.values() for path in files)
    assert repository.large[f"annotations/trimaps/{gone}.png"] not in hub.objects
    assert repository.large[f"annotations/trimaps/{stays}.png"] in hub.objects


def test_without_the_hub_the_app_does_not_start_and_says_why(hub: FakeHub, pending: Path) -> None:
    for status, said in ((401, "log in with"), (503, "error 503")):
        hub.faults[""] = status
        with pytest.raises(CannotStart, match=said) as error:
            feedback.start(PLACE)
        assert "\n" not in str(error.value)
        assert run("list", PLACE)[0] == 1


def cat() -> bytes:
    """A photo that says where it was taken."""
    content, exif = io.BytesIO(), Image.Exif()
    exif[0x010E] = "Muster Street 5"
    picture = Image.open(examples.FOLDER / "cat_chelsea.png").convert("RGB")
    picture.save(content, "JPEG", exif=exif)
    return content.getvalue()


def lines(folder: Path) -> list[str]:
    """The lines of a folder's list, without comments."""
    listed = folder / "annotations" / "list.txt"
    read = listed.read_text().splitlines() if listed.exists() else []
    return [line for line in read if line[0] != "#"]


def file_data(path: str) -> dict[str, object]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def test_the_started_app_keeps_what_a_visitor_agreed_to_and_shows_it_to_nobody(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "kept"
    given = {"PETSCOPE_FEEDBACK": str(folder), "PETSCOPE_BEHIND_PROXY": "1"}
    with started(tmp_path / "log", tmp_path / "files", **given) as app:
        page, other = OpenPage(app), OpenPage(app)
        page.send("show_pets", [file_data(page.upload(cat(), "my-cat.jpg")), None])
        form = str(page.send("answer_feedback", [None, {"step": "open", "pet": 1}])[0])
        asked = dict(re.findall(r'data-(photo|shown)="([^"]*)"', form)) | {"step": "send", "pet": 1}
        for mine, said in ((page, asked), (page, asked | {"agreed": "on"}), (other, asked)):
            answer = str(mine.send("answer_feedback", [None, said])[0])
            assert "feedback-kept" not in answer
        assert lines(folder) == []

        agreed = asked | {"agreed": True, "breed": "Bengal"}
        assert "feedback-form" not in str(other.send("answer_feedback", [None, agreed])[0])
        thanks = str(page.send("answer_feedback", [None, agreed])[0])

        (line,) = lines(folder)
        name = line.split()[0]
        assert name in thanks
        assert line == f"{name} 6 1 2"
        content = (folder / "images" / f"{name}.jpg").read_bytes()
        assert b"Muster" not in content
        for path in (folder / "images" / f"{name}.jpg", folder / "annotations" / "list.txt"):
            for tried in (path, f"{folder}/../kept/{path.relative_to(folder)}"):
                found = app.ask("GET", f"/gradio_api/file={tried}")
                assert found.status in (400, 403, 404)
                assert content not in found.body
        for _ in range(feedback.PER_HOUR - 1):
            page.send("answer_feedback", [None, agreed])
        refused = str(page.send("answer_feedback", [None, agreed])[0])
        assert "as many photos as one visitor may send in an hour" in refused
        assert len(lines(folder)) == feedback.PER_HOUR
        told = app.log.read_text()
        assert name not in told
        assert str(folder) not in told
        page.close()
        other.close()
    assert len(list((folder / "images").iterdir())) == feedback.PER_HOUR
