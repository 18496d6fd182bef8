"""Analyze photos from the command line: one line of JSON for each photo.

python -m models cat.jpg dog.jpg
python -m models *.jpg --classes 4 | jq .pets[0].breeds[0].name
python -m models cells.tif --count nuclei | jq .count
"""

from models import commandline
from models.cards import ModelError

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import json
import os
import sys
from collections.abc import Sequence
from functools import partial

from models import images, micrographs, pipeline, previews, segmentation, store, thresholding
from models.images import PhotoError, open_picture
from models.picture import AXES, Place


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="a picture file")
    parser.add_argument(
        "--classes",
        type=int,
        choices=range(2, thresholding.MAX_CLASSES + 1),
        default=3,
        metavar="N",
        help=f"brightness classes, 2 to {thresholding.MAX_CLASSES} (default: %(default)s)",
    )
    parser.add_argument(
        "--models",
        metavar="FOLDER",
        help="a folder of models, or OWNER/REPO of the Hugging Face Hub; what it lacks comes from "
        "the built-in ones (default: $PETSCOPE_MODELS, or only the built-in ones)",
    )
    parser.add_argument(
        "--count",
        metavar="MODEL",
        help="also count and measure objects, with a mask model that separates them: nuclei",
    )
    for axis in AXES:
        parser.add_argument(
            f"--{axis}", type=_ordinal, metavar="N", help=f"{axis} of a stack, counted from 1"
        )
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Print what is in each photo; report unusable ones on stderr, and continue with the others.

    Returns
    -------
    0, or 1 if any photo could not be used.
    """
    parser = _parser()
    arguments = parser.parse_args(words)
    chosen = {axis: getattr(arguments, axis) for axis in AXES}
    place = Place(**{axis: number - 1 for axis, number in chosen.items() if number})
    try:
        images.set_limits(*images.limits_in(os.environ))
    except ValueError as error:
        parser.error(str(error))
    store.choose(arguments.models)
    counter = None
    if arguments.count:
        try:
            counter = segmentation.load(arguments.count)
        except ModelError as error:
            print(error, file=sys.stderr)
            return 1
        if not counter.card.instances:
            parser.error(f"--count: {arguments.count} does not tell objects apart.")
    failed = False
    for path in arguments.photos:
        try:
            picture = open_picture(path, place=place)
            seen = previews.of_file(path, picture.photo, partial(open_picture, place=place))
            described = pipeline.describe(
                picture.photo, arguments.classes, values=picture.counted, preview=seen
            )
            if counter:
                described |= micrographs.describe(micrographs.examine(picture, counter))
        except PhotoError as error:
            print(f"{path}: {error}", file=sys.stderr)
            failed = True
        except ModelError as error:
            print(error, file=sys.stderr)
            return 1
        else:
            print(json.dumps({"photo": path, **described}), flush=True)
    return int(failed)


def _ordinal(word: str) -> int:
    number = int(word)
    if not 1 <= number < 2**31:
        raise argparse.ArgumentTypeError("the first is 1")
    return number


if __name__ == "__main__":
    commandline.run(main)
