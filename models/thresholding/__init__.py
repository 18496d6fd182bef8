"""Thresholds: Otsu's and multi-Otsu, the classic global methods, and local ones.

A picture here is an array of any integer or float type in its file's own numbers, and so are the
cuts. Rooms: `histograms` counts, `channels` makes one grey channel of colours, `multilevel` finds
several cuts, `global_methods` one, `local_methods` one for each pixel; `lab`
makes masks of them.
"""

from models.thresholding.channels import CHANNELS, Channel, gray_channel
from models.thresholding.global_methods import (
    GLOBAL_METHODS,
    METHODS,
    MethodResult,
    compare_all,
    find_cut,
)
from models.thresholding.histograms import MAX_LEVELS, Histogram, ThresholdError, histogram
from models.thresholding.lab import Segmentation, Settings, prepare, segment, snippet
from models.thresholding.local_methods import LOCAL_METHODS, local_threshold
from models.thresholding.multilevel import (
    MAX_CLASSES,
    GrayClass,
    between_class_variance,
    classify,
    describe_classes,
    multi_otsu,
    otsu,
    variance_of_cuts,
)

__all__ = [
    "CHANNELS",
    "GLOBAL_METHODS",
    "LOCAL_METHODS",
    "MAX_CLASSES",
    "MAX_LEVELS",
    "METHODS",
    "Channel",
    "GrayClass",
    "Histogram",
    "MethodResult",
    "Segmentation",
    "Settings",
    "ThresholdError",
    "between_class_variance",
    "classify",
    "compare_all",
    "describe_classes",
    "find_cut",
    "gray_channel",
    "histogram",
    "local_threshold",
    "multi_otsu",
    "otsu",
    "prepare",
    "segment",
    "snippet",
    "variance_of_cuts",
]
