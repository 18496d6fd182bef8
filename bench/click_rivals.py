"""Two classic methods that let a mask follow strokes, for comparison with `models.correcting`.

Both get the mask network's answer as the app's own method does: where it is sure and no stroke is
near, it is a seed; what lies around a stroke is open.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.correcting import Stroke
from models.images import Photo
from models.segmentation import Segmentation

NEAR = 4.0  # depths of the error around a stroke that are open, ...
LEAST_NEAR = 16.0  # ... but at least these places
SURE = 0.95  # probability from which the network's opinion is a seed
SEED = 0.6  # depths around a stroke that are as it says


class Rival:
    """What `GraphCut` and `RandomWalker` share; used like `models.correcting.Corrector`."""

    def __init__(self, found: Segmentation, photo: Photo) -> None:
        rows, columns = found.answer.shape[:2]
        self.found = found
        small = Image.fromarray(photo).resize((columns, rows), Image.Resampling.BILINEAR)
        self.photo = np.asarray(small)
        self.background = found.answer[:, :, found.classes.index("background")]

    def correct(self, strokes: Sequence[Stroke]) -> Segmentation:
        """The mask corrected by all strokes together."""
        from scipy.ndimage import distance_transform_edt

        inside = self.background < 0.5
        seeds, opened = np.full(inside.shape, -1, np.int8), np.zeros(inside.shape, bool)
        for stroke in strokes:
            away = np.ones(inside.shape, bool)
            away[tuple(stroke.path(*inside.shape).T)] = False
            distance = distance_transform_edt(away)
            error = np.pad(inside != stroke.keep, 1)
            depth = float(distance_transform_edt(error)[1:-1, 1:-1][~away].max())
            opened |= distance <= max(NEAR * depth, LEAST_NEAR)
            seeds[distance <= max(SEED * depth, 1)] = stroke.keep
        corrected = np.where(opened, self.label(seeds, opened), inside)
        corrected[seeds >= 0] = seeds[seeds >= 0]
        answer = self.found.answer.copy()
        changed = corrected != inside
        answer[changed] = np.eye(len(self.found.classes), dtype=np.float32)[
            np.where(corrected[changed], 0, self.found.classes.index("background"))
        ]
        return Segmentation(answer, self.found.classes, self.found.size)

    def label(self, seeds: NDArray[np.int8], opened: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Decide what belongs to the subject.

        Parameters
        ----------
        seeds
            `(rows, columns)`: 1 subject, 0 background, -1 unknown.
        opened
            Likewise, what the strokes may change.
        """
        raise NotImplementedError


class GraphCut(Rival):
    """OpenCV's GrabCut (Rother, Kolmogorov, Blake, SIGGRAPH 2004)."""

    def label(self, seeds: NDArray[np.int8], opened: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """One round of colour models and graph cut."""
        import cv2

        inside = self.background < 0.5
        labels = np.where(inside, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        fixed = ~opened
        labels[fixed] = np.where(inside[fixed], cv2.GC_FGD, cv2.GC_BGD)
        labels[seeds == 1], labels[seeds == 0] = cv2.GC_FGD, cv2.GC_BGD
        kept = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
        if kept.all() or not kept.any():
            return kept
        bgr = np.ascontiguousarray(self.photo[:, :, ::-1])
        outside, subject = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(bgr, labels, (0, 0, 0, 0), outside, subject, 1, cv2.GC_INIT_WITH_MASK)
        return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


class RandomWalker(Rival):
    """scikit-image's random walker (Grady, PAMI 2006)."""

    def label(self, seeds: NDArray[np.int8], opened: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Walk from places whose label is open to the seeds of both kinds."""
        from skimage.segmentation import random_walker

        labels = np.zeros(seeds.shape, np.int32)
        sure = ~opened & (np.maximum(self.background, 1 - self.background) > SURE)
        labels[sure] = np.where(self.background[sure] < 0.5, 2, 1)
        labels[seeds == 1], labels[seeds == 0] = 2, 1
        if len(np.unique(labels[labels > 0])) < 2:
            return labels == 2
        walked = random_walker(
            self.photo / 255, labels, beta=130, mode="cg_j", prob_tol=0.01, channel_axis=-1
        )
        return np.asarray(walked) == 2
