"""Score the edge of the cut-out on held-out pets: the network's answer enlarged, and refined.

    python -m training.edges pet-fine
    python -m training.edges pet-fine --names NAMES.txt     # only these, one name per line

A pixel of the cut-out is foreground if it is more than half opaque. The true outline is the middle
of the trimap's border: a border pixel belongs to the pet or the background, whichever is nearer.
"Soft" is the share of pixels that are neither almost transparent nor almost opaque.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt

from models import matting, store
from models.preprocessing import grain
from models.segmentation import Segmentation, at_photo_size
from training import command_line, data_sets, pets
from training.evaluation.models import open_model, predictions
from training.metrics import BOUNDARY_TOLERANCE, boundary_scores

TOLERANCES = {"boundary F": BOUNDARY_TOLERANCE, "boundary F within a pixel": 0.0}
SURE = 0.05  # below it a pixel is almost transparent, above 1 minus it almost opaque


def outline_in_the_middle(trimap: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """A trimap's foreground, `(height, width)` bool, with its border divided between both sides."""
    to_pet, to_background = (
        distance_transform_edt(trimap != value) for value in (pets.PET, pets.BACKGROUND)
    )
    return to_pet <= to_background


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_line.parser(__doc__)
    parser.add_argument("model", help="as for training.evaluate")
    parser.add_argument("--models", type=Path, default=store.EMBEDDED, help="folder of the model")
    parser.add_argument("--names", type=Path, help="text file: only these pictures, one a line")
    data_sets.add_arguments(parser)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Print one table row for each way to enlarge the answer."""
    arguments = parse_arguments(words)
    model = open_model(arguments.model, arguments.models)
    data = data_sets.open_pets(arguments.root, arguments.source)
    examples = data_sets.held_out_by(data, model.training, "validation")
    if arguments.names:
        examples = data_sets.choose(examples, arguments.names)
    examples = data.check(examples, masks=True, skip_damaged=arguments.skip_damaged)
    scores: dict[str, list[list[float]]] = {"nearest": [], "bilinear": [], "refined": []}
    photos = [example.photo for example in examples]
    for example, (photo, small) in zip(examples, predictions(model, photos), strict=True):
        height, width = photo.shape[:2]
        coarse = Image.fromarray(Segmentation(small, model.labels).foreground())
        full = at_photo_size(small, model.labels, model.input, height, width).foreground()
        foreground = np.round(full * 255).astype(np.uint8)
        refined = matting.refine(photo, foreground, grain(height, width, model.input))
        truth = outline_in_the_middle(pets.read_trimap(example.trimap))
        for name, opacity in (
            ("nearest", np.asarray(coarse.resize((width, height), Image.Resampling.NEAREST))),
            ("bilinear", full),
            ("refined", refined / 255),
        ):
            mask, soft = opacity > 0.5, (opacity > SURE) & (opacity < 1 - SURE)
            found = [boundary_scores(truth, mask, share)[2] for share in TOLERANCES.values()]
            scores[name].append([*found, float(soft.mean())])
    print(f"{len(examples)} pictures\n")
    print(f"| enlarged | {' | '.join(TOLERANCES)} | soft |\n|---|{'---|' * len(TOLERANCES)}---|")
    for name, values in scores.items():
        means = " | ".join(f"{mean:.3f}" for mean in np.mean(values, axis=0))
        print(f"| {name} | {means} |")


if __name__ == "__main__":
    command_line.run(main)
