"""The page for programs: what the app offers over HTTP and as an MCP server, and how to use it.

Each endpoint is a function of the same name, and a tool of the MCP server. The English texts of
`ui/texts` become its docstring, which Gradio parses and sends to programs.
"""

from dataclasses import asdict, replace
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from models import (
    breeds,
    drawing,
    matting,
    micrographs,
    object_files,
    pipeline,
    previews,
    segmentation,
    store,
    thresholding,
)
from models.images import Photo, PhotoError
from models.picture import Picture
from models.pipeline import Pet
from models.segmentation import Segmentation, Segmenter
from models.thresholding import ThresholdError
from serving import decoding
from ui import events, parameters, result_files, theme
from ui.memory import Memory
from ui.texts import mark, say
from ui.uploads import Upload

PATH = "programs"
ROOM = 100_000_000  # bytes, for all results of one question
PLACE = "ADDRESS"  # the browser puts the app's own in its place
OWN_ADDRESS = f"location.href.split(/[?#]/)[0].replace(/\\/{PATH}\\/?$/, '')"

PYTHON = f"""\
from gradio_client import Client, handle_file

client = Client("{PLACE}")
print(client.predict(handle_file("cat.jpg"), api_name="/analyze"))
"""
CURL = f"""\
FILE=$(curl -s -F files=@cat.jpg {PLACE}/gradio_api/upload | jq -r '.[0]')
DATA='{{"data": [{{"path": "'$FILE'", "meta": {{"_type": "gradio.FileData"}}}}, 3]}}'
EVENT=$(curl -s {PLACE}/gradio_api/call/analyze -H 'Content-Type: application/json' \\
    -d "$DATA" | jq -r .event_id)
curl -sN {PLACE}/gradio_api/call/analyze/$EVENT
"""
MCP = f"""\
{{"mcpServers": {{"petscope": {{"url": "{PLACE}/gradio_api/mcp/"}}}}}}
"""
COMMAND = "python -m models cat.jpg"
# An assistant can send no file; see `internals` for what MCP's tools say about it.
PHOTO = "The picture file as a data URL, as in data:image/jpeg;base64,/9j/4AAQSkZJRgABAQ..."


def read(photo: Upload) -> Picture:
    """Read an upload for a program, which gets one sentence when that fails.

    It is not kept: programs seldom ask twice about a photo.
    """
    try:
        return decoding.open_picture(photo.path)
    except PhotoError as error:
        raise gr.Error(str(error), print_exception=False) from None


def preview_of(photo: Upload, picture: Picture) -> Photo:
    """What networks see of it, as on the page."""
    try:
        return previews.of_file(photo.path, picture.photo, decoding.open_picture)
    except PhotoError as error:
        raise gr.Error(str(error), print_exception=False) from None


def analyze(photo: Upload, classes: int) -> dict[str, Any]:
    """Answer `/analyze`; `ui/texts` explains it to people and programs."""
    picture = read(photo)
    return pipeline.describe(
        picture.photo, classes, values=picture.counted, preview=preview_of(photo, picture)
    )


def threshold(
    photo: Upload, classes: int, channel: thresholding.Channel
) -> tuple[str, dict[str, Any]]:
    """Answer `/threshold`; `ui/texts` explains it to people and programs."""
    gray = thresholding.gray_channel(read(photo).counted, channel)
    counted = thresholding.histogram(gray)
    try:
        cuts = thresholding.multi_otsu(counted, classes)
    except ThresholdError as error:
        raise gr.Error(str(error), print_exception=False) from None
    colors = dict(enumerate(theme.class_colors(classes)))
    picture = drawing.indexed_picture(thresholding.classify(gray, cuts), colors)
    described = [asdict(each) for each in thresholding.describe_classes(counted, cuts)]
    file = result_files.picture_to_keep(picture, "classes")
    return file, {"cuts": cuts.tolist(), "classes": described}


def mask(photo: Upload, model: str) -> tuple[str, dict[str, float]]:
    """Answer `/mask`; `ui/texts` explains it to people and programs."""
    segmenter = segmentation.load(model)
    picture = read(photo)
    if segmenter.card.instances:
        found = micrographs.examine(picture, segmenter).found
        segmented, classes = found.segmentation, found.mask
    else:
        seen = preview_of(photo, picture)
        pets_meant = "pet" in segmenter.classes
        segmented, pets = _outline(seen, segmenter) if pets_meant else (segmenter.predict(seen), [])
        classes = segmented.resized(*picture.size).mask
        if pets_meant and not pets:
            classes = np.full_like(classes, segmented.classes.index("background") + 1)
    colors = dict(enumerate(theme.mask_colors(segmented.classes).values(), start=1))
    file = result_files.picture_to_keep(drawing.indexed_picture(classes, colors), "mask")
    return file, segmentation.shares(classes, segmented.classes)


def count(photo: Upload, model: str) -> tuple[str, dict[str, Any]]:
    """Answer `/count`; `ui/texts` explains it to people and programs."""
    examined = micrographs.examine(read(photo), segmentation.load(model))
    labels = object_files.label_tiff(examined.found.numbers, examined.objects.pixel_size)
    return result_files.content(labels, "labels.tif"), micrographs.describe(examined)


def cut_out(photo: Upload) -> str:
    """Answer `/cut_out`; `ui/texts` explains it to people and programs."""
    picture = read(photo)
    seen = preview_of(photo, picture)
    segmenter = segmentation.load(store.default("segmentation"))
    found, pets = _outline(seen, segmenter)
    # Otherwise things that look a little like a pet would leave a ghost.
    opaque = 255 if pets else 0
    foreground = np.round(found.foreground() * opaque).astype(np.uint8)
    cut = matting.extract(picture.photo, foreground, segmenter.card.input)
    return result_files.picture_to_keep(Image.fromarray(cut), "cut-out")


def _outline(seen: Photo, segmenter: Segmenter) -> tuple[Segmentation, list[Pet]]:
    return pipeline.outline(seen, segmenter, breeds.load(store.default("classification")))


def breed(photo: Upload) -> list[dict[str, Any]]:
    """Answer `/breed`; `ui/texts` explains it to people and programs."""
    try:
        return [asdict(each) for each in replace(photo, memory=Memory(ROOM)).ranking]
    except PhotoError as error:
        raise gr.Error(str(error), print_exception=False) from None


def build() -> None:
    """Lay out the page, and open the endpoints."""
    gr.HTML(f"<h1>{mark('page.programs')}</h1><p>{mark('programs.intro')}</p>")
    texts = [
        gr.Code(PYTHON, language="python", label=mark("programs.python"), interactive=False),
        gr.Code(CURL, language="shell", label=mark("programs.curl"), interactive=False),
        gr.Code(MCP, language="json", label=mark("programs.mcp"), interactive=False),
        gr.Code(COMMAND, language="shell", label=mark("programs.command"), interactive=False),
    ]
    with gr.Column(visible=False):  # endpoints need components; people have the other page
        photo = parameters.PhotoParameter(label="photo")
        classes = parameters.WholeNumberParameter(2, thresholding.MAX_CLASSES, 3, "classes")
        channel = parameters.ChoiceParameter(list(thresholding.CHANNELS), "luminance", "channel")
        default = store.default("segmentation")
        names = [card.name for card in store.cards("segmentation")]
        model = parameters.ChoiceParameter(names, default, "model")
        counting = [card.name for card in store.cards("segmentation") if card.instances]
        counter = parameters.ChoiceParameter(counting, next(iter(counting), ""), "model")
        picture, facts, call = gr.File(label="picture"), gr.JSON(label="facts"), gr.Button()
        endpoints = (
            (analyze, [photo, classes], [facts]),
            (threshold, [photo, classes, channel], [picture, facts]),
            (mask, [photo, model], [picture, facts]),
            (count, [photo, counter], [picture, facts]),
            (cut_out, [photo], [picture]),
            (breed, [photo], [facts]),
        )
        for function, inputs, outputs in endpoints:
            function.__doc__ = docstring(function.__name__, [str(each.label) for each in inputs])
            call.click(
                function,
                inputs,
                outputs,
                api_name=function.__name__,
                concurrency_id=events.INFERENCE,
            )
    described = "".join(
        endpoint(function.__name__, [str(component.label) for component in inputs])
        for function, inputs, _ in endpoints
    )
    gr.HTML(f"<h2>{mark('programs.endpoints')}</h2>{described}")
    gr.on(
        None,
        None,
        texts,
        texts,
        js=f"(...texts) => texts.map(text => text.replaceAll('{PLACE}', {OWN_ADDRESS}))",
        api_visibility="private",
    )


def docstring(name: str, parameters: list[str]) -> str:
    """The description of an endpoint for programs, in English, in the form that Gradio parses."""
    takes = "".join(
        f"    {each}: {PHOTO if each == 'photo' else say(f'programs.takes.{each}')}\n"
        for each in parameters
    )
    gives = say(f"programs.gives.{name}").replace(". ", ".\n    ")  # a line for each output
    return f"{say(f'programs.does.{name}')}\n\nArgs:\n{takes}\nReturns:\n    {gives}\n"


def endpoint(name: str, parameters: list[str]) -> str:
    """The description of an endpoint for people, as HTML."""
    takes = "".join(
        f"<li><code>{each}</code>: {mark(f'programs.takes.{each}')}</li>" for each in parameters
    )
    return (
        f"<h3>/{name}</h3><p>{mark(f'programs.does.{name}')}</p><p>{mark('programs.takes')}:</p>"
        f"<ul>{takes}</ul><p>{mark('programs.gives')}: {mark(f'programs.gives.{name}')}</p>"
    )
