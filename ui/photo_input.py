"""Where a photo comes in: upload, paste, webcam or example, and a sentence where it is unusable."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData
from PIL import Image

from models import drawing
from models.images import PhotoError, open_file, open_photo
from ui import examples, markup, result_files
from ui.events import INFERENCE
from ui.texts import mark, say_error
from ui.uploads import Upload

THUMBNAIL_SIDE = 240
# How the files begin that browsers show, of those that can be read here.
SHOWN_BY_BROWSERS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM")


class PhotoInput(gr.Image):
    """An image input whose value is an `Upload`: the file as it came, not decoded.

    Gradio's own would decode the file before our code sees it, and answer a damaged one with an
    exception.
    """

    is_template = True  # Gradio's word for "displayed by the base class's front end"

    def preprocess(self, payload: ImageData | None) -> Upload | None:  # type: ignore[override]
        """Return the upload that the browser names."""
        return Upload(payload.path) if payload and payload.path else None

    def postprocess(self, value: Any) -> Any:  # noqa: ANN401 -- whatever Gradio's own takes
        """Show an upload, or what Gradio's own shows."""
        return super().postprocess(value.path if isinstance(value, Upload) else value)


def build() -> tuple[PhotoInput, gr.HTML]:
    """Lay out the photo input and the examples.

    Returns
    -------
    The input, and the message that says what is wrong with a photo: both are for `keep_usable`.
    """
    photo = PhotoInput(
        label=mark("photo.label"),
        sources=["upload", "webcam", "clipboard"],
        format="png",
        height=340,
        placeholder=markup.placeholder(mark("photo.drop")),
        buttons=["fullscreen"],
        alt_text=mark("photo.alt"),
        elem_id="photo",
    )
    message = gr.HTML(visible=False, padding=False, elem_id="message")
    shown = examples.examples()
    gr.HTML(f'<p class="hint">{mark("examples.try")}</p>', padding=False, elem_id="examples-try")
    gallery = gr.Gallery(
        value=[(_thumbnail(example.path), example.title) for example in shown],
        label=mark("examples.label"),
        show_label=False,
        columns=4,
        height="auto",
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="examples",
    )

    def pick(event: gr.SelectData) -> str:
        return str(shown[event.index].path)

    gallery.select(pick, None, photo, show_progress="hidden", api_visibility="private")
    return photo, message


def keep_usable(
    photo: PhotoInput,
    accepted: gr.State,
    message: gr.HTML,
    answer: Callable[[Upload | None], Sequence[object]] = lambda upload: (),
    answers: Sequence[gr.Component] = (),
) -> None:
    """Keep the upload that was accepted last, and answer it in the same event.

    A picture that cannot be used is replaced by the one before.

    Parameters
    ----------
    photo
        The photo input.
    accepted
        The upload, or None.
    message
        Says what is wrong with a picture.
    answer, answers
        What a visitor waits for most, and where it is shown. It has no event of its own, because
        each event takes the browser and the server some time.
    """

    def take(upload: Upload | None, before: Upload | None) -> tuple[object, ...]:
        shown, kept, said = _accept(upload, before)
        if kept is None or isinstance(kept, Upload):
            return shown, kept, said, *answer(kept)
        return shown, kept, said, *[gr.skip()] * len(answers)

    take.__name__ = answer.__name__ if answers else _accept.__name__  # for logs and metrics
    # Only "change" brings the new value for uploads, the webcam, the clipboard and removal. When
    # one photo replaces another it fires twice, both times with the new one; the path in `arrived`
    # changes once.
    arrived = gr.Textbox(visible="hidden")
    photo.change(None, photo, arrived, js="(photo) => photo?.path ?? ''", api_visibility="private")
    arrived.change(
        take,
        [photo, accepted],
        [photo, accepted, message, *answers],
        show_progress="minimal" if answers else "hidden",
        show_progress_on=list(answers) or None,
        trigger_mode="always_last",
        concurrency_id=INFERENCE,
        api_visibility="private",
    )


def _accept(upload: Upload | None, before: Upload | None) -> tuple[object, object, object]:
    """What the photo input, the accepted upload and the message become."""
    if upload == before:  # the echo of what was set below
        return gr.skip(), gr.skip(), gr.skip()
    hidden = gr.HTML(visible=False)
    if upload is None:
        return gr.skip(), None, hidden
    try:
        upload.preview  # noqa: B018 -- decodes it
        if not _browser_can_show(upload):
            shown = result_files.picture_to_keep(Image.fromarray(upload.whole), "photo")
            return shown, gr.skip(), hidden  # comes again as a PNG, and is then accepted
    except PhotoError as error:
        # The photo before comes back; its results never left.
        return before, gr.skip(), gr.HTML(markup.notice(say_error(error), wrong=True), visible=True)
    return gr.skip(), upload, hidden


def _thumbnail(path: Path) -> Image.Image:
    return Image.fromarray(drawing.reduced(open_photo(path), THUMBNAIL_SIDE))


def _browser_can_show(upload: Upload) -> bool:
    with open_file(upload.path) as file:  # looked at without a decoder, which may be harmed by it
        beginning = file.read(12)
    return beginning.startswith(SHOWN_BY_BROWSERS) or beginning[4:] == b"ftypavif"
