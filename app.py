"""Petscope: a pet photo's brightness classes, its outline and its breed, on one web page.

    python app.py
    python app.py --port 8000 --share

Each option can be given as an environment variable instead; the option wins.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from starlette.middleware import Middleware

from serving import heap, settings

# Gradio asks for news and counts users over the network unless told not to, when it is imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")


def check_models() -> None:
    """Check every model that the page offers, as far as its files tell.

    Raises
    ------
    models.store.ModelError
        When one is missing or its bytes are not those of its card.
    """
    from models import store

    store.defaults()  # they must be there
    store.check()


def load_models() -> None:
    """Load the models that are used by default, so that no visitor waits for them.

    Raises
    ------
    models.store.ModelError
        When a model is missing or damaged.
    """
    from models import pipeline

    pipeline.load()


def warm_up() -> None:
    """Import what takes long: when the page is served, and before the first photo comes."""
    from models import runtime
    from models.pipeline import analyze
    from models.thresholding import compare_all
    from ui import opening

    empty = np.zeros((2, 2, 3), np.uint8)
    analyze(empty)  # scikit-image, as all photos need it
    compare_all(np.eye(2, dtype=np.uint8))
    with runtime.running.share(runtime.usable_cores()):  # as when two photos come at a time
        analyze(empty)
    opening.shown()  # in English; another language takes what was found


def main(words: Sequence[str] | None = None) -> None:
    """Build the page and serve it until interrupted."""
    chosen = settings.parse(words, __doc__)
    heap.keep_small()

    from serving import sockets, temp_folder, zerogpu

    temp_folder.create()  # Gradio looks for it when it is imported
    from models import images, runtime, store

    if zerogpu.here():  # where functions that are forked alone see a GPU
        runtime.no_gpu.set()
    images.set_limits(chosen.photo_bytes, chosen.photo_pixels)
    store.choose(chosen.models)
    try:
        check_models()  # before all that takes longer
        listening = sockets.take_port(chosen.host, chosen.port)
        # Gradio is imported meanwhile.
        loading = ThreadPoolExecutor(1).submit(load_models)
        from serving import decoder_packages, decoding

        in_space = "SPACE_ID" in os.environ  # whose set-up knows requirements.txt alone
        if (decoder_packages.install() if in_space else decoder_packages.find()) is None:
            print(
                "The decoders use the app's own Pillow, which has known holes: "
                "python -m serving.decoder_packages gives them a newer one.",
                file=sys.stderr,
            )
        decoding.start()
        from serving import lean

        lean.prepare()
        from serving import server
        from ui import examples, page, texts, theme

        built = page.build()
        loading.result()
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
            workers=runtime.usable_cores()
            + 1,  # one more, for the moments in which an answer waits
            translate=texts.say_to,
            listening=listening,
        )
    except (store.ModelError, settings.CannotStart) as error:
        raise SystemExit(str(error)) from None
    running.wait(first=warm_up)


if __name__ == "__main__":
    commandline.run(main)
