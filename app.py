"""Petscope: a pet photo's brightness classes, its outline and its breed, on one web page.

    python app.py
    python app.py --port 8000 --share

Each option can be given as an environment variable instead; the option wins.
"""

import argparse
import ctypes
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from starlette.middleware import Middleware

LARGE = 4_000_000  # bytes of an array whose memory is not kept

# Gradio asks for news and counts users over the network unless told not to, when it is imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line and the environment."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def add(name: str, variable: str, help: str, **options: object) -> None:
        default = os.environ.get(variable, options.pop("default", None))
        parser.add_argument(name, default=default, help=f"{help} (${variable})", **options)

    add("--host", "PETSCOPE_HOST", "address to listen on; 0.0.0.0 for all")
    add("--port", "PETSCOPE_PORT", "port to listen on", type=int, default=7860)
    add("--models", "PETSCOPE_MODELS", "folder of models, or OWNER/REPO[@REVISION] on the Hub")
    add("--max-megabytes", "PETSCOPE_MAX_MEGABYTES", "largest upload", type=float, default=25)
    add("--max-megapixels", "PETSCOPE_MAX_MEGAPIXELS", "largest photo", type=float, default=50)
    add("--max-waiting", "PETSCOPE_MAX_WAITING", "longest queue", type=int, default=100)
    add("--per-minute", "PETSCOPE_PER_MINUTE", "requests of one visitor", type=int, default=600)
    add("--keep-minutes", "PETSCOPE_KEEP_MINUTES", "life of unused files", type=float, default=10)
    add(
        "--behind-proxy",
        "PETSCOPE_BEHIND_PROXY",
        "1 where all visitors come through a proxy that sets X-Forwarded-For",
        type=int,
        choices=(0, 1),
        default=int("SPACE_ID" in os.environ),  # a Space of the Hugging Face Hub
    )
    parser.add_argument(
        "--share", action="store_true", help="open a public link through gradio.live"
    )
    return parser.parse_args(words)


def keep_memory_small() -> None:
    """Let all threads allocate from two heaps, and large arrays go back as soon as they are freed.

    Each request runs in some thread of a pool. glibc gives every thread a heap of its own, and
    learns to keep in it what the largest photo there once needed. See mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt:  # glibc; other C libraries have no such heaps
        m_arena_max, m_mmap_threshold, m_trim_threshold = -8, -3, -1
        mallopt(m_arena_max, 2)
        mallopt(m_mmap_threshold, LARGE)
        mallopt(m_trim_threshold, LARGE)


def check_models() -> None:
    """Check the models that are used by default, as far as their files tell.

    Raises
    ------
    models.store.ModelError
        When a model is missing or its bytes are not those of its card.
    """
    from models import store

    for task in ("segmentation", "classification"):
        store.read_network(store.read_card(store.default(task)), store.source())


def load_models() -> None:
    """Load the models that are used by default, so that no visitor waits for them.

    Raises
    ------
    models.store.ModelError
        When a model is missing or damaged.
    """
    from models import breeds, segmentation, store

    segmentation.load(store.default("segmentation"))
    breeds.load(store.default("classification"))


def warm_up() -> None:
    """Import what takes long: when the page is served, and before the first photo comes."""
    from models import runtime
    from models.pipeline import analyze
    from models.thresholding import compare_all

    empty = np.zeros((2, 2, 3), np.uint8)
    analyze(empty)  # scikit-image, as all photos need it
    compare_all(np.eye(2, dtype=np.uint8))
    with runtime.running.share(runtime.usable_cores()):  # as when two photos come at a time
        analyze(empty)


def main(words: Sequence[str] | None = None) -> None:
    """Build the page and serve it until interrupted."""
    settings = parse_arguments(words)
    keep_memory_small()
    # `models` reads its settings when it is imported, so they are set first.
    if settings.models:
        os.environ["PETSCOPE_MODELS"] = settings.models
    os.environ["PETSCOPE_MAX_MEGABYTES"] = str(settings.max_megabytes)
    os.environ["PETSCOPE_MAX_MEGAPIXELS"] = str(settings.max_megapixels)

    from serving import temp_folder

    temp_folder.create()  # Gradio looks for it when it is imported
    from models import store
    from models.runtime import usable_cores

    try:
        check_models()  # before all that takes longer
        # Gradio is imported meanwhile.
        loading = ThreadPoolExecutor(1).submit(load_models)
        from serving import decoding

        decoding.start()
        from serving import lean

        lean.prepare()
        from serving import routes, server, zerogpu
        from ui import examples, page, texts, theme

        built = page.build()
        loading.result()
    except store.ModelError as error:
        raise SystemExit(str(error)) from None
    zerogpu.declare()
    # Read by Node, which renders the page where GRADIO_SSR_MODE says so.
    imports = (f"--import {module.as_uri()}" for module in (texts.NODE, routes.NODE))
    os.environ["NODE_OPTIONS"] = " ".join((os.environ.get("NODE_OPTIONS", ""), *imports)).strip()
    os.environ["PETSCOPE_HEADERS"] = routes.headers_for_node()
    limits = server.Limits(
        photo_bytes=int(settings.max_megabytes * 1_000_000),
        max_waiting=settings.max_waiting,
        per_minute=settings.per_minute,
        keep_seconds=60 * settings.keep_minutes,
        behind_proxy=bool(settings.behind_proxy or settings.share),
    )
    try:
        running = server.launch(
            built,
            limits,
            workers=usable_cores() + 1,  # one more, for the moments in which an answer waits
            translate=texts.say_to,
            server_name=settings.host,
            server_port=settings.port,
            share=settings.share,
            allowed_paths=[str(examples.FOLDER)],
            theme=theme.THEME,
            css_paths=theme.STYLES,
            head=theme.HEAD,
            footer_links=["api", "gradio", "settings"],
            mcp_server=True,
            app_kwargs={"middleware": [Middleware(texts.Translation, paths=page.PATHS)]},
        )
    except OSError as error:  # Gradio says which port is taken
        raise SystemExit(str(error)) from None
    running.wait(first=warm_up)


if __name__ == "__main__":
    main()
