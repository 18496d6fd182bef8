"""Thresholds: Otsu's and multi-Otsu, the classic global methods, and local ones.

A picture is an array of any integer or float type with its file's own values, and cuts are such
values. `histograms` counts grey values, `channels` turns colours into one grey channel,
`multilevel` finds several cuts, `global_methods` find one, `local_methods` one for each pixel, and
`lab` makes masks with them.
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
