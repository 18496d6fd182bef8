"""Coverage-guided fuzzing of `models.images.open_photo`.

    python -m bench.fuzz --seconds 600

Atheris mutates good and hostile files, builds on those that reach new code in Pillow and tifffile,
and stops at the first file that gives anything but a photo or a `PhotoError`; that file is kept.
Sizes are limited to 1 megapixel, so that the time is spent on the decoders' many code paths rather
than on pixels.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SEED = 20_000  # bytes; larger files in the corpus add nothing new
SLOWEST = 30  # seconds a file may take, on a busy machine
MEMORY = 1000  # MB of memory for the process


def fuzz(arguments: Sequence[str]) -> None:
    """Run libFuzzer with its own arguments in this process; it exits when it ends."""
    import atheris

    libraries = ["PIL", "pillow_heif", "pillow_jxl", "tifffile", "models"]
    with atheris.instrument_imports(include=libraries):
        from PIL import Image

        from models.images import MAX_BYTES, PhotoError, open_photo, set_limits

        Image.init()
    set_limits(MAX_BYTES, 1_000_000)

    def try_file(content: bytes) -> None:
        try:
            photo = open_photo(content)
        except PhotoError as error:
            if str(error).count(". ") or not str(error).endswith("."):
                raise AssertionError(str(error)) from None
            return
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != "uint8" or not photo.size:
            raise AssertionError(photo.shape)

    atheris.Setup([sys.argv[0], *arguments], try_file)
    atheris.Fuzz()


def main(words: Sequence[str] | None = None) -> None:
    """Fuzz in a separate process, and report how it ended."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=600, help="how long")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"), help="for what is found")
    settings, arguments = parser.parse_known_args(words)
    if arguments and arguments[0].startswith("--"):  # libFuzzer's own have one dash
        parser.error(f"unrecognized arguments: {' '.join(arguments)}")
    if arguments:
        fuzz(arguments)
        return
    from bench import (
        hostile_files,  # not at the top: modules imported earlier cannot be instrumented
    )

    settings.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, file in enumerate(hostile_files.corpus(heavy=False)):
            content = file.make()
            if len(content) <= SEED:
                (Path(folder) / str(number)).write_bytes(content)
        command = [
            *(sys.executable, "-m", "bench.fuzz", folder),
            f"-max_total_time={settings.seconds}",
            f"-max_len={SEED}",
            f"-timeout={SLOWEST}",
            f"-rss_limit_mb={MEMORY}",
            f"-artifact_prefix={settings.out}/",
            "-print_final_stats=1",
            "-verbosity=0",
        ]
        done = subprocess.run(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
    said = done.stderr.splitlines()
    tried = next((line.split()[-1] for line in said if "number_of_executed_units" in line), "no")
    if done.returncode:
        print("\n".join(said[-60:]))
        sys.exit(f"A file was found; it lies in {settings.out}.")
    print(f"Nothing found in {tried} files and {settings.seconds} s.")


if __name__ == "__main__":
    commandline.run(main)
