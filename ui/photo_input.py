"""The photo input: upload, paste, webcam or example, and a sentence about unusable files."""

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData
from PIL import Image

from models.images import PhotoError, open_file
from models.picture import AXES, FIRST, Axis, AxisName, Place
from ui import markup, result_files
from ui.events import LATEST
from ui.texts import mark, say, say_error
from ui.uploads import Upload

# How files begin that can be read here and shown by browsers.
SHOWN_BY_BROWSERS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM")

CHOOSE_ANOTHER = """element.querySelector("button").addEventListener("click", () =>
  document.querySelector("#photo input[type=file]").click());"""


# The path of the file that has come. While it lies on the server, the same tab of the browser gets
# it back when the page is opened again. What is only shown of a file (`_shown`) is not remembered.
ARRIVED = "(photo) => photo?.path ?? ''"
REMEMBER = """(photo) => {
  try {
    if (!photo) sessionStorage.removeItem("photo");
    else if (!/\\/photo-[^/]*\\.png$/.test(photo.path)) {
      sessionStorage.setItem("photo", JSON.stringify({ ...photo, is_stream: false }));
    }
  } catch {} // a browser may forbid it
  return photo?.path ?? "";
}"""
RECALL = """async () => {
  try {
    const kept = sessionStorage.getItem("photo");
    if (!kept || new URLSearchParams(location.search).has("example")) return "";
    const there = await fetch(JSON.parse(kept).url, { method: "HEAD" });
    return there.ok ? kept : "";
  } catch {
    return "";
  }
}"""


class PhotoInput(gr.Image):
    """An image input whose value is an `Upload`: the file as it was sent, not decoded.

    Gradio's own would decode the file before this code sees it, and raise an exception for a
    damaged one.
    """

    is_template = True  # Gradio's way to say "displayed by the base class's front end"

    def preprocess(self, payload: ImageData | None) -> Upload | None:  # type: ignore[override]
        """Return the upload that the browser names."""
        return Upload(payload.path) if payload and payload.path else None

    def postprocess(self, value: Any) -> Any:  # noqa: ANN401 -- whatever Gradio's own takes
        """Show an upload, or what Gradio's own input shows."""
        return super().postprocess(value.path if isinstance(value, Upload) else value)


@dataclass(frozen=True)
class Chooser:
    """Chooses one of a file's pictures: sliders that count from 1, and a sentence."""

    sliders: Mapping[AxisName, gr.Slider]
    said: gr.HTML

    @property
    def components(self) -> list[gr.Component]:
        """The sliders, and the sentence."""
        return [*self.sliders.values(), self.said]


def build() -> tuple[PhotoInput, gr.HTML, Chooser]:
    """Lay out the photo input and the choice of a file's pictures.

    Returns
    -------
    The input, the message for unusable photos, and the choice of a picture, for `keep_usable`.
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
    # Shown if the photo is a narrow strip without room for an invitation; see the styles.
    gr.HTML(
        f'<button type="button">{mark("photo.another")}</button>',
        padding=False,
        js_on_load=CHOOSE_ANOTHER,
        elem_id="another-photo",
    )
    message = gr.HTML(padding=False, elem_id="message", elem_classes="refusal")
    gr.HTML(padding=False, elem_id="arrival", elem_classes="refusal")  # see arrivals.js
    chooser = Chooser(
        {
            name: gr.Slider(
                1, 2, 1, step=1, label=mark(f"axis.{name}"), visible=False, elem_id=f"axis-{name}"
            )
            for name in AXES
        },
        gr.HTML(visible=False, padding=False, elem_id="picture-said", elem_classes=markup.SPOKEN),
    )
    return photo, message, chooser


def keep_usable(
    photo: PhotoInput,
    accepted: gr.State,
    message: gr.HTML,
    answer: Callable[[Upload | None], Sequence[object]] = lambda upload: (),
    answers: Sequence[gr.Component] = (),
    chooser: Chooser | None = None,
    turner: gr.Button | None = None,
) -> None:
    """Keep the last accepted upload, and answer it in the same event.

    An unusable picture is replaced by the previous one.

    Parameters
    ----------
    photo
        The photo input.
    accepted
        The upload, or None.
    message
        The component for the message about an unusable picture.
    answer, answers
        The function with the answer that a visitor waits for first, and the components that show
        it. It has no event of its own, because each event costs the browser and the server some
        time.
    chooser
        Chooses one of the file's pictures.
    turner
        Turns it upright, or back.
    """
    # The photo and the sliders are not outputs of these events: Gradio rebuilds every component
    # that an event changes, which takes as long as the rest of its work. These states seldom
    # change.
    replacement, pictures = gr.State(None), gr.State(NO_PICTURES)
    replacement.change(
        lambda replacement: replacement.picture if replacement else gr.skip(),
        replacement,
        photo,
        show_progress="hidden",
        api_visibility="private",
    )
    made = _Answers(answer, len(answers))
    shown: dict[str, Any] = {
        "outputs": [replacement, accepted, message, pictures, *answers],
        "show_progress": "minimal",
        "show_progress_on": list(answers) or None,
        **LATEST,
    }

    def take(upload: Upload | None, before: Upload | None) -> tuple[object, ...]:
        return made.take(upload, before)

    take.__name__ = answer.__name__ if answers else _accept.__name__  # for logs and metrics
    hidden = {} if answers else {"show_progress": "hidden"}
    arrived = _arrived(photo, remembered=chooser is not None)
    arrived.change(take, [photo, accepted], **(shown | hidden))
    if turner:
        turner.click(made.turn, [accepted], **shown)
    if chooser:
        sliders = list(chooser.sliders.values())
        changes = [slider.input for slider in sliders]
        gr.on(changes, made.choose, [accepted, *sliders], **shown)
        pictures.change(
            _choices,
            pictures,
            chooser.components,
            show_progress="hidden",
            api_visibility="private",
        )


@dataclass(frozen=True)
class _Answers:
    """What the events of the photo change.

    Each gives the photo's replacement, the accepted upload, the message, the file's pictures, and
    the values of `answer`, of which there are `count`.
    """

    answer: Callable[[Upload | None], Sequence[object]]
    count: int

    def take(self, upload: Upload | None, before: Upload | None) -> tuple[object, ...]:
        """A photo has arrived, or was removed."""
        instead, kept, said = _accept(upload, before)
        if kept is None or isinstance(kept, Upload):
            return instead, kept, said, Pictures.of(kept), *self.answer(kept)
        return instead, kept, said, *self._unchanged(1)

    def choose(self, before: Upload | None, *numbers: float) -> tuple[object, ...]:
        """Another picture of the file was chosen."""
        return self._other(lambda: _chosen(before, numbers)) if before else self._unchanged(4)

    def turn(self, before: Upload | None) -> tuple[object, ...]:
        """The photo is turned upright, or back."""
        return self._other(lambda: _turned(before)) if before else self._unchanged(4)

    def _other(self, change: Callable[[], Upload]) -> tuple[object, ...]:
        try:
            upload = change()
            instead = Replacement(_shown(upload))
        except PhotoError as error:
            said = markup.notice(say_error(error), wrong=True)
            return gr.skip(), gr.skip(), said, *self._unchanged(1)
        return instead, upload, "", Pictures.of(upload), *self.answer(upload)

    def _unchanged(self, more: int) -> tuple[object, ...]:
        return (gr.skip(),) * (more + self.count)


def _arrived(photo: PhotoInput, remembered: bool) -> gr.Textbox:
    """A component that changes once for each photo that arrives: it holds the file's path.

    Only the input's "change" brings the new value for uploads, the webcam, the clipboard and
    removal, but when one photo replaces another it fires twice, both times with the new one. The
    page's own photo is remembered until the browser's tab is closed.
    """
    arrived = gr.Textbox(visible="hidden")
    js = REMEMBER if remembered else ARRIVED
    photo.change(None, photo, arrived, js=js, api_visibility="private")
    if remembered:
        kept = gr.Textbox(visible="hidden")
        gr.on(None, None, None, kept, js=RECALL, api_visibility="private")  # when the page opens
        kept.change(None, kept, photo, js="(kept) => JSON.parse(kept)", api_visibility="private")
    return arrived


@dataclass(eq=False)  # so that each one is a change
class Replacement:
    """What the photo input shows instead of a picture that is unusable or unknown to browsers."""

    picture: Upload | str | None


@dataclass(frozen=True)
class Pictures:
    """The pictures of a file, which of them is shown, and its range of values.

    The fields are those of `models.picture.Picture`.
    """

    axes: tuple[Axis, ...] = ()
    stretch: str | None = None
    shown: tuple[float, float] | None = None

    @classmethod
    def of(cls, upload: Upload | None) -> "Pictures":
        """Those of an upload."""
        if upload is None:
            return NO_PICTURES
        picture = upload.picture
        return cls(picture.axes, picture.stretch, picture.shown)


NO_PICTURES = Pictures()


def _choices(pictures: Pictures) -> list[object]:
    """The sliders for an upload, and the sentence about its pictures and their range."""
    axes = {axis.name: axis for axis in pictures.axes}
    sliders: list[object] = [
        gr.Slider(maximum=axes[name].count, value=axes[name].index + 1, visible=True)
        if name in axes
        else gr.Slider(visible=False)
        for name in AXES
    ]
    sentences = [
        say("axis.of", name=say(f"axis.{name}"), number=axis.index + 1, count=axis.count)
        for name, axis in axes.items()
    ]
    if pictures.stretch and pictures.shown:
        low, high = (f"{value:.6g}" for value in pictures.shown)
        sentences.append(say(f"stretch.{pictures.stretch}", low=low, high=high))
    text = "".join(f'<p class="hint">{html.escape(each)}</p>' for each in sentences)
    return [*sliders, gr.HTML(text, visible=bool(text))]


def _chosen(before: Upload, numbers: Sequence[float]) -> Upload:
    """Another picture of the same file; strokes were for the one before."""
    axes = [axis.name for axis in before.picture.axes]
    wanted = {n: int(i) - 1 for n, i in zip(AXES, numbers, strict=True) if n in axes}
    return replace(before, place=Place(**wanted), strokes=())


def _turned(before: Upload) -> Upload:
    """The photo turned upright, or turned back if it was turned; without its strokes."""
    return replace(before, turn=0 if before.turn else before.pets.turn, strokes=())


def _accept(upload: Upload | None, before: Upload | None) -> tuple[object, object, object]:
    """What replaces the photo, the accepted upload, and the message."""
    plain = before and before.uncorrected
    if upload == plain or (upload and before and _is_shown(upload, before)):
        return gr.skip(), gr.skip(), gr.skip()  # the echo of the value set below
    if upload is None:
        return gr.skip(), None, ""
    try:
        upload.preview  # noqa: B018 -- decodes it
        instead = gr.skip() if _browser_can_show(upload) else Replacement(_shown(upload))
    except PhotoError as error:
        # The previous photo is shown again; its results are still there.
        said = markup.notice(say_error(error), wrong=True)
        return Replacement(before and _shown(before)), gr.skip(), said
    return instead, upload, ""


def _shown(upload: Upload) -> str | Upload:
    """What the photo input shows for an upload: the file, or a PNG if browsers cannot show that.

    The PNG's name identifies the upload, because the browser sends it back as if it were uploaded.
    """
    if upload.turn:  # made for this alone: the preview is enough
        return result_files.picture_to_keep(Image.fromarray(upload.preview), _shown_name(upload))
    if upload.place == FIRST and _browser_can_show(upload):
        return upload
    return result_files.picture_to_keep(Image.fromarray(upload.whole), _shown_name(upload))


def _shown_name(upload: Upload) -> str:
    return f"photo-{upload.key}"


def _is_shown(upload: Upload, before: Upload) -> bool:
    """Whether a file is what was shown for the previous upload."""
    return Path(upload.path).name == f"{_shown_name(before)}.png"


def _browser_can_show(upload: Upload) -> bool:
    with open_file(upload.path) as file:  # inspected without decoding, which could be unsafe
        beginning = file.read(12)
    return beginning.startswith(SHOWN_BY_BROWSERS) or beginning[4:] == b"ftypavif"
