"""Separates what a mask shows into single objects: marker-controlled watershed.

The method is that of Meyer, Beucher, "Morphological segmentation", J. Vis. Commun. Image Represent.
1990, on distances, with the floods of Vincent, Soille, "Watersheds in digital spaces", PAMI 1991:
each peak of the distance to the edge is a marker, and the other pixels go to the marker whose flood
reaches them first.
"""

import numpy as np
from numpy.typing import NDArray

LARGEST_FLOOD = 1_500_000  # pixels; larger photos are separated into objects at this size

# Probabilities of the interior at which distances to its edge are measured, and how much deeper, in
# pixels, two parts must be than the neck between them to count as two. Anything that is nowhere
# that deep is noise.
INTERIOR_LEVELS = (0.5, 0.7, 0.85, 0.95)
NECK = 0.5

# Unlike nuclei, pets are few and have necks, legs and tails. All but the first and the last are
# shares.
REGION_SIDE = 256  # pixels; longer side of the mask on which they are separated
SMALLEST_OF_PHOTO = 0.01  # a smaller region is taken as an error of the mask
SMALLEST_OF_LARGEST = 0.1  # likewise, of the largest region's area
THINNEST_NECK = 0.2  # of a part's thickness: parts joined by less are separate
SMALLEST_PART = 0.3  # of the region's area: smaller parts are heads, legs and tails
SMOOTHING_REACH = 4  # pixels: `gaussian_filter` ends after four standard deviations of one pixel


def instances(interior: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Separate the foreground into many objects of one kind, such as nuclei.

    A pixel's depth is its distance from the edge of the interior, averaged over several
    probability thresholds for the interior: so a weak border between two objects counts, and so
    does the waist of their common outline.

    Parameters
    ----------
    interior
        `(height, width)` float32 in [0, 1]: how probably each pixel is inside an object, and not
        on its border. At most `LARGEST_FLOOD` pixels, or it takes seconds.
    inside
        `(height, width)` bool: the foreground, borders included.

    Returns
    -------
    `(height, width)` int32, 0 background, else 1 to n.
    """
    from scipy.ndimage import distance_transform_edt, gaussian_filter
    from skimage.measure import label
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    interior, inside = np.pad(interior, 1), np.pad(inside, 1)
    distances = [distance_transform_edt(interior > level) for level in INTERIOR_LEVELS]
    depth = gaussian_filter(np.mean(distances, axis=0), 1)  # roughness of the pixel grid
    seeds = (h_maxima(depth, NECK) > 0) & (depth >= NECK) & inside
    numbers = watershed(-depth, label(seeds, connectivity=2), mask=inside)
    return numbers[1:-1, 1:-1].astype(np.int32)


def pets(interior: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Separate the foreground into pets, numbered by falling area.

    They are its connected regions that are large enough, divided where only a thin neck connects
    two parts, as with two pets that touch.

    Parameters
    ----------
    interior, inside
        As for `instances`, of a photo reduced to `REGION_SIDE`.

    Returns
    -------
    `(height, width)` uint8, 0 background, else 1 to n. Pets are up to two pixels larger than the
    foreground, which cuts them at the photo's size.
    """
    from skimage.segmentation import expand_labels

    window = _window(inside)
    parts = np.zeros(inside.shape, np.int32)
    parts[window] = _parts(interior[window], inside[window])
    areas = np.bincount(parts.ravel())[1:]
    smallest = max(SMALLEST_OF_PHOTO * parts.size, SMALLEST_OF_LARGEST * max(areas, default=0))
    order = [index for index in np.argsort(-areas, kind="stable") if areas[index] >= smallest]
    ranks = np.zeros(len(areas) + 1, np.int32)
    ranks[np.array(order, int) + 1] = np.arange(1, len(order) + 1)
    # A pixel at the edge of the photo's own mask may have fallen between the pixels of this one.
    kept = np.zeros(parts.shape, np.uint8)  # each covers at least a hundredth, so there are few
    near = ranks[parts[window]]
    kept[window] = np.where(parts[window] > 0, near, expand_labels(near, distance=2))
    return kept


def _window(inside: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The window in which `pets` has something to do; processing less takes less time.

    The true pixels get a margin as wide as the smoothing, so that the result stays the same.
    """
    if not inside.any():
        return slice(0), slice(0)
    down, across = (
        slice(max(int(places[0]) - SMOOTHING_REACH, 0), int(places[-1]) + 1 + SMOOTHING_REACH)
        for places in (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    )
    return down, across


def _parts(interior: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Label the parts of a mask, 1 to n: unconnected parts, and parts connected by a thin neck.

    As in `instances`, but peaks of the depth are compared by ratio: a part counts if the path to a
    deeper one leads through a neck of less than `THINNEST_NECK` of its own depth.
    """
    from scipy.ndimage import distance_transform_edt, gaussian_filter
    from skimage.measure import label
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    depth = gaussian_filter(distance_transform_edt(np.pad(interior > 0.5, 1)), 1)
    relief = np.log(np.maximum(depth, 0.5))
    seeds = label((h_maxima(relief, -np.log(THINNEST_NECK)) > 0) & (depth >= 1), connectivity=2)
    regions = label(np.pad(inside, 1), connectivity=2)
    parts = watershed(-relief, seeds, mask=regions > 0)
    # Seeds of small parts are removed, and their neighbours flood their place.
    areas = np.bincount(parts.ravel(), minlength=seeds.max() + 1)
    peaks = np.flatnonzero(np.bincount(seeds.ravel()))[1:]
    region_of = {peak: regions[seeds == peak][0] for peak in peaks}
    region_areas = np.bincount(regions.ravel())
    kept = [peak for peak in peaks if areas[peak] >= SMALLEST_PART * region_areas[region_of[peak]]]
    if len(kept) < len(peaks):
        seeds[~np.isin(seeds, kept)] = 0
        parts = watershed(-relief, seeds, mask=regions > 0)
    # A region without a seed is one part.
    alone = (regions > 0) & (parts == 0)
    return (parts + np.where(alone, regions + parts.max(), 0))[1:-1, 1:-1].astype(np.int32)
