"""The Many photos tab: a folder's worth of photos at once, and all results to download."""

import html
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr

from models import album, store
from models.album import Entry
from ui import photos, theme

HINT = "Drop up to {} photos. Each is looked at by itself; a bad file does not stop the rest."
TOO_MANY = "These are {} files; the first {} are taken."
LARGEST = 200  # photos
PREVIEW_SIDE = 480
RENEWED = 2.0  # seconds between two looks at the results so far


@dataclass
class Album:
    """The results so far, and the folder that holds their files."""

    folder: Path
    entries: list[Entry] = field(default_factory=list)


@dataclass
class Wish:
    """What a visitor wants of the run that goes on: Gradio's own cancelling can end in an error."""

    stop: bool = False


def stop(wish: Wish) -> None:
    """Let the run end after the photo that it is at."""
    wish.stop = True


def build() -> None:
    """Lay out the tab."""
    files = gr.File(
        label="Photos", file_count="multiple", type="filepath", height=180, elem_id="album-files"
    )
    with gr.Row():
        start = gr.Button("Look at all of them", variant="primary", elem_id="album-start")
        cancel = gr.Button("Stop", interactive=False, elem_id="album-stop")
        download = gr.DownloadButton(
            "Download masks, cut-outs and table (ZIP)", interactive=False, elem_id="album-download"
        )
    message = gr.HTML(photos.notice(HINT.format(LARGEST)), padding=False, elem_id="album-message")
    gallery = gr.Gallery(
        label="Photos with their pets",
        columns=4,
        height="auto",
        object_fit="contain",
        interactive=False,
        visible=False,
        elem_id="album-gallery",
    )
    table = gr.HTML(padding=False, elem_id="album-table")
    results, wish = gr.State(None), gr.State(Wish())
    start.click(
        look_at,
        [files, wish],
        [results, message, gallery, table, cancel, download],
        show_progress="hidden",
        trigger_mode="once",
        concurrency_limit=1,  # it takes minutes: single photos must not wait for it
        api_visibility="private",
    ).then(
        finish,
        [results],
        [message, gallery, table, cancel, download],
        show_progress="hidden",
        api_visibility="private",
    )
    cancel.click(stop, [wish], show_progress="hidden", api_visibility="private")


def look_at(
    files: list[str] | None, wish: Wish
) -> Iterator[tuple[Album | None, str, object, str, object, object]]:
    """Look at each photo in turn; yield what is known so far."""
    nothing = gr.DownloadButton(value=None, interactive=False)
    if not files:
        hint = photos.notice(HINT.format(LARGEST))
        yield None, hint, gr.skip(), "", gr.skip(), nothing
        return
    wish.stop = False
    chosen = files[:LARGEST]
    note = TOO_MANY.format(len(files), LARGEST) if len(files) > LARGEST else ""
    found = Album(photos.result_folder())
    mask_colors = list(theme.mask_colors(_classes()).values())
    cancel, start, shown = gr.Button(interactive=True), time.perf_counter(), -RENEWED
    yield found, progress(0, len(chosen), 0, note), gr.Gallery(visible=False), "", cancel, nothing
    for path, name in zip(chosen, album.unique_names(chosen), strict=True):
        if wish.stop:
            return
        found.entries.append(
            album.examine(Path(path), name, found.folder, mask_colors, theme.SUBJECTS, PREVIEW_SIDE)
        )
        seconds = time.perf_counter() - start
        text = progress(len(found.entries), len(chosen), seconds, note)
        if seconds - shown < RENEWED:  # the results grow: sending them each time would be slow
            yield found, text, gr.skip(), gr.skip(), gr.skip(), gr.skip()
        else:
            shown = seconds
            yield found, text, previews(found.entries), rows(found.entries), gr.skip(), gr.skip()


def finish(found: Album | None) -> tuple[str, object, str, object, object]:
    """Show all results, and pack them."""
    cancel = gr.Button(interactive=False)
    if found is None or not found.entries:
        hint = photos.notice(HINT.format(LARGEST))
        return hint, gr.Gallery(visible=False), "", cancel, gr.DownloadButton(interactive=False)
    bad = sum(entry.facts is None for entry in found.entries)
    done = len(found.entries) - bad
    sentence = f"{done} photo{'s' * (done != 1)} looked at."
    if bad:
        sentence += f" {bad} file{'s' * (bad != 1)} could not be used; the table says why."
    archive = album.pack(found.entries, found.folder)
    return (
        photos.notice(sentence),
        previews(found.entries),
        rows(found.entries),
        cancel,
        gr.DownloadButton(value=str(archive), interactive=True),
    )


def progress(done: int, total: int, seconds: float, note: str) -> str:
    """A bar with what is done and the time that is left, as HTML."""
    left = f", about {duration(seconds / done * (total - done))} left" if done else ""
    said = f"{done} of {total}{left}. {note}".rstrip()
    return (
        f'<div class="notice-text" role="status">{html.escape(said)}'
        f'<progress value="{done}" max="{total}" aria-label="Photos looked at"></progress></div>'
    )


def duration(seconds: float) -> str:
    """A time for people: "4 s", "3 min"."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def previews(entries: list[Entry]) -> object:
    """The gallery of the photos that could be used."""
    shown = [(str(entry.preview), entry.file) for entry in entries if entry.preview]
    return gr.Gallery(value=shown, visible=bool(shown))


def rows(entries: list[Entry]) -> str:
    """The results as an HTML table: a row a photo."""
    body = "".join(
        f"<tr><td>{html.escape(entry.file)}</td><td>{html.escape(summary(entry))}</td></tr>"
        for entry in entries
    )
    return (
        '<table class="facts album"><thead><tr><th>Photo</th><th>What is in it</th></tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def summary(entry: Entry) -> str:
    """What is in a photo, or why that cannot be said."""
    if entry.facts is None:
        return str(entry.error)
    if not entry.facts["pets"]:
        return "no pet found"
    return ", ".join(
        "not sure" if pet["refused"] else f"{best['name']} {best['probability']:.0%}"
        for pet in entry.facts["pets"]
        for best in pet["breeds"][:1]
    )


def _classes() -> list[str]:
    default = store.default("segmentation")
    return [label.name for label in store.read_card(default).labels]
