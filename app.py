"""Petscope: a pet photo's brightness classes, its outline and its breed, on one web page.

    python app.py
    python app.py --port 8000 --share

Each option can be given as an environment variable instead; the option wins.
"""

from models import commandline
from models.cards import ModelError

if __name__ == "__main__":
    commandline.quiet_interrupts()

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from starlette.middleware import Middleware

from serving import heap, settings

# When it is imported, Gradio checks for news and counts users over the network unless told not to.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")


def check_models() -> None:
    """Check the files of every model that the page offers.

    Raises
    ------
    models.cards.ModelError
        If one is missing, or its checksum is not the card's.
    """
    from models import store

    store.defaults()  # they must be there
    store.check()


def load_models() -> None:
    """Load the default models, so that no visitor waits for them.

    Raises
    ------
    models.cards.ModelError
        When a model is missing or damaged.
    """
    from models import pipeline

    pipeline.load()


def warm_up() -> None:
    """Import slow modules, once the page is served and before the first photo arrives."""
    from models import runtime
    from models.pipeline import analyze
    from models.thresholding import compare_all
    from ui import opening

    empty = np.zeros((2, 2, 3), np.uint8)
    analyze(empty)  # scikit-image, as all photos need it
    compare_all(np.eye(2, dtype=np.uint8))
    with runtime.running.share(runtime.usable_cores()):  # as if two photos come at the same time
        analyze(empty)
    opening.shown()  # in English; another language uses the same results


def main(words: Sequence[str] | None = None) -> None:
    """Build the page and serve it until interrupted."""
    chosen = settings.parse(words, __doc__)
    heap.keep_small()

    from serving import sockets, temp_folder, zerogpu

    temp_folder.create()  # Gradio reads it when it is imported
    from models import images, runtime, store

    if zerogpu.here():  # where only functions in a forked process see a GPU
        runtime.no_gpu.set()
    images.set_limits(chosen.photo_bytes, chosen.photo_pixels)
    store.choose(chosen.models)
    try:
        check_models()  # before everything that takes longer
        listening = sockets.take_port(chosen.host, chosen.port)
        # Gradio is imported in the meantime.
        loading = ThreadPoolExecutor(1).submit(load_models)
        from serving import decoder_packages, decoding

        in_space = "SPACE_ID" in os.environ  # whose set-up installs only requirements.txt
        if (decoder_packages.install() if in_space else decoder_packages.find()) is None:
            print(
                "The decoders use the app's own Pillow, which has known vulnerabilities: "
                "python -m serving.decoder_packages gives them a newer one.",
                file=sys.stderr,
            )
        decoding.start()
        from serving import lean

        lean.prepare()
        from serving import feedback, server
        from ui import examples, page, texts, theme

        feedback.start(chosen.feedback, public=[examples.FOLDER])
        built = page.build()
        loading.result()
        runtime.answering.set()
        zerogpu.declare()
        running = server.launch(
            built,
            chosen,
            server.Look(
                theme=theme.THEME,
                css_paths=theme.STYLES,
                head=theme.HEAD,
                preview=theme.PREVIEW,
                allowed_paths=[str(examples.FOLDER)],
                middleware=[Middleware(texts.Translation, paths=page.PATHS)],
                node_imports=[texts.NODE],
            ),
            workers=runtime.usable_cores() + 1,  # one more, for moments when an answer waits
            translate=texts.say_to,
            listening=listening,
        )
    except (ModelError, settings.CannotStart) as error:
        raise SystemExit(str(error)) from None
    running.wait(first=warm_up)
    feedback.stop()


if __name__ == "__main__":
    commandline.run(main)
