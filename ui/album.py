"""The Many photos tab: up to a folder of photos at once, with all results to download."""

import html
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from models import album, runtime, store
from models.album import Entry, Spreadsheet
from models.images import PhotoError
from serving import decoding, zerogpu
from serving.routes import ALBUM_PHOTOS
from ui import markup, pets, result_files, theme
from ui.breed import SURE
from ui.texts import Language, language, mark, percent, say, say_breed, say_error, say_name

PREVIEW_SIDE = 480
# Spreadsheets expect the decimal point and the column separator of their language.
SPREADSHEETS: dict[Language, Spreadsheet] = {
    "en": Spreadsheet(tell=say_error),
    "de": Spreadsheet(";", ",", tell=say_error),
}
Result = TypeVar("Result")

REFRESH = 2.0  # seconds between two updates of the results so far


@dataclass
class Album:
    """The folder with the results' files, the results so far, and the names of all photos.

    `devices` counts the photos by device, and `refusal` says why, on ZeroGPU, the GPU did not take
    all of them.
    """

    folder: Path
    entries: list[Entry] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    devices: Counter[str] = field(default_factory=Counter)
    refusal: zerogpu.Refusal | None = None
    stopped: bool = False

    @property
    def left_out(self) -> list[Entry]:
        """The photos that were not analysed."""
        return [
            Entry(name, error=PhotoError("photo_left_out"))
            for name in self.names[len(self.entries) :]
        ]


@dataclass
class Run:
    """Whether a visitor has asked the run to stop: Gradio's own cancelling can end in an error."""

    stopped: bool = False


def stop(run: Run) -> None:
    """Let the run end after the current photo."""
    run.stopped = True


def build() -> None:
    """Lay out the tab."""
    files = gr.File(
        label=mark("album.files"),
        file_count="multiple",
        type="filepath",
        height=180,
        elem_id="album-files",
    )
    with gr.Row(equal_height=True):
        start = gr.Button(mark("album.start"), variant="primary", elem_id="album-start")
        cancel = gr.Button(mark("album.stop"), interactive=False, elem_id="album-stop")
        download = gr.DownloadButton(
            mark("album.download"), interactive=False, elem_id="album-download"
        )
    message = gr.HTML(
        markup.notice(mark("album.hint", limit=ALBUM_PHOTOS)),
        padding=False,
        elem_id="album-message",
        elem_classes=markup.SPOKEN,
    )
    gallery = gr.Gallery(
        label=mark("album.gallery"),
        columns=4,
        height="auto",
        object_fit="contain",
        interactive=False,
        visible=False,
        buttons=["fullscreen"],  # the archive has the files
        elem_id="album-gallery",
    )
    table = gr.HTML(padding=False, elem_id="album-table")
    results, run = gr.State(None), gr.State(Run())
    start.click(
        analyze_photos,
        [files, run],
        [results, message, gallery, table, cancel, download],
        show_progress="hidden",
        trigger_mode="once",
        concurrency_limit=1,  # it takes minutes, and single photos must not wait for it
        api_visibility="private",
    ).then(
        finish,
        [results],
        [message, gallery, table, cancel, download],
        show_progress="hidden",
        api_visibility="private",
    )
    cancel.click(stop, [run], show_progress="hidden", api_visibility="private")


def analyze_photos(
    files: list[str] | None, run: Run
) -> Iterator[tuple[Album | None, str, object, str, object, object]]:
    """Analyse the photos one by one; yield the results so far."""
    nothing = gr.DownloadButton(value=None, interactive=False)
    if not files:
        hint = markup.notice(say("album.nothing"), wrong=True)
        yield None, hint, gr.skip(), "", gr.skip(), nothing
        return
    run.stopped = False
    chosen = files[:ALBUM_PHOTOS]
    note = ""
    if len(files) > ALBUM_PHOTOS:
        note = say("album.too_many", files=len(files), taken=ALBUM_PHOTOS)
    found = Album(result_files.new_folder(), names=album.unique_names(files))
    mask_colors = list(theme.mask_colors(_classes()).values())
    cancel, start, shown = gr.Button(interactive=True), time.perf_counter(), -REFRESH
    yield found, progress(0, len(chosen), 0, note), gr.Gallery(visible=False), "", cancel, nothing

    def examine(path: str, name: str, share: zerogpu.Share) -> tuple[Entry, set[str]]:
        if not result_files.has_room(found.folder):
            return Entry(name, error=PhotoError("photo_no_room")), set()
        runtime.away.set(share)
        entry = album.examine(
            Path(path),
            name,
            found.folder,
            mask_colors,
            theme.SUBJECTS,
            pets.label,
            PREVIEW_SIDE,
            read=decoding.open_picture,
        )
        return entry, share.devices

    with zerogpu.Lease([Path(path) for path in chosen]) as lease:
        photos = takewhile(lambda _: not run.stopped, zip(chosen, found.names, strict=False))
        tasks = (partial(examine, path, name, lease.share()) for path, name in photos)
        for entry, devices in in_order(tasks, lease.photos_at_a_time):
            found.entries.append(entry)
            if devices:
                found.devices["GPU" if devices == {"GPU"} else "CPU"] += 1
            found.refusal = lease.refusal
            seconds = time.perf_counter() - start
            text = progress(len(found.entries), len(chosen), seconds, note)
            if seconds - shown < REFRESH:  # the results grow: sending them each time would be slow
                yield found, text, gr.skip(), gr.skip(), gr.skip(), gr.skip()
            else:
                shown = seconds
                yield (
                    found,
                    text,
                    preview_gallery(found.entries),
                    results_table(found.entries),
                    gr.skip(),
                    gr.skip(),
                )
    found.stopped = run.stopped


def in_order(tasks: Iterable[Callable[[], Result]], at_a_time: int) -> Iterator[Result]:
    """The results of tasks in order; `at_a_time` of them run at once, each in its own context."""
    with ThreadPoolExecutor(at_a_time) as pool:
        waiting: deque[Future[Result]] = deque()
        for task in tasks:
            waiting.append(pool.submit(copy_context().run, task))
            if len(waiting) == at_a_time:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def finish(found: Album | None) -> tuple[str, object, str, object, object]:
    """Show all results, and pack them."""
    cancel = gr.Button(interactive=False)
    if found is None or not found.entries:
        hint = markup.notice(say("album.nothing"), wrong=True)
        return hint, gr.Gallery(visible=False), "", cancel, gr.DownloadButton(interactive=False)
    entries = album.with_losses(found.entries, found.folder)
    bad = sum(entry.error is not None for entry in entries)
    sentence = say("album.done", count=len(entries) - bad)
    if found.stopped:
        sentence = say("album.stopped", done=len(entries), left=len(found.left_out))
    if bad:
        sentence += " " + say("album.bad", count=bad)
    if found.left_out and not found.stopped:
        sentence += " " + say("album.left_out", count=len(found.left_out))
    sentence += answered_by(found)
    archive = album.pack([*entries, *found.left_out], found.folder, SPREADSHEETS[language()])
    return (
        markup.notice(sentence),
        preview_gallery(entries),
        results_table(entries),
        cancel,
        gr.DownloadButton(value=str(archive), interactive=True),
    )


def answered_by(found: Album) -> str:
    """Says which device computed the results, and why a GPU was refused or ended early."""
    if len(found.devices) == 2:
        sentence = say("album.devices", gpu=found.devices["GPU"], cpu=found.devices["CPU"])
    else:
        sentence = "".join(say("album.device", device=device) for device in found.devices)
    if found.refusal:
        sentence += " " + say(f"album.gpu.{found.refusal}")
    return f" {sentence}" if sentence else ""


def progress(done: int, total: int, seconds: float, note: str) -> str:
    """A progress bar with the time that is left, as HTML."""
    said = say("album.progress", done=done, total=total)
    if done:
        left = duration(seconds / done * (total - done))
        said = say("album.progress_left", done=done, total=total, left=left)
    return markup.progress(f"{said} {note}".rstrip(), done, total, say("album.bar"))


def duration(seconds: float) -> str:
    """A time in words: "4 s", "3 min"."""
    if seconds < 90:
        return say("album.seconds", time=seconds)
    return say("album.minutes", time=seconds / 60)


def preview_gallery(entries: list[Entry]) -> object:
    """The gallery of the photos that could be used."""
    shown = [
        (str(entry.preview), entry.file)
        for entry in entries
        if entry.preview and entry.preview.exists()
    ]
    return gr.Gallery(value=shown, visible=bool(shown))


def results_table(entries: list[Entry]) -> str:
    """The results as an HTML table, one row per photo."""
    body = "".join(
        f"<tr><td>{html.escape(entry.file)}</td><td>{html.escape(summary(entry))}</td></tr>"
        for entry in entries
    )
    return (
        f'<table class="facts album"><thead><tr><th>{say("album.photo")}</th>'
        f"<th>{say('album.found')}</th></tr></thead><tbody>{body}</tbody></table>"
    )


def summary(entry: Entry) -> str:
    """What is in a photo, or why it is unknown."""
    if entry.error is not None:
        return say_error(entry.error)
    if not entry.facts or not entry.facts["pets"]:
        return say("album.none")
    return ", ".join(_name(pet) for pet in entry.facts["pets"])


def _name(pet: Mapping[str, Any]) -> str:
    """What a pet is, with the probability; or what it looks like, if its breed is refused."""
    if not pet["refused"]:
        best = pet["breeds"][0]
        return f"{say_breed(best['name'], both=True)} {percent(best['probability'], 0)}"
    other = pet["otherwise"]
    if other is None or other["probability"] < SURE:
        return say("pets.unsure")
    return f"{say_name('species', say_breed(other['name']))} {percent(other['probability'], 0)}"


def _classes() -> list[str]:
    default = store.default("segmentation")
    return [label.name for label in store.read_card(default).labels]
