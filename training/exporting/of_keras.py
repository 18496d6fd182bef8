"""Keras runs as ONNX."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

import training.keras_runs  # noqa: F401  (registers the loss that the saved model names)
from training.exporting.common import OPSET, Calibration, Exported, Run, single


def export_keras(
    runs: Sequence[Run], target: Path, calibrations: Sequence[Calibration]
) -> Exported:
    """Write a Keras run as ONNX with dynamic batch, height and width."""
    model = keras.models.load_model(single(runs).folder / "model.keras")
    softmax = keras.layers.Softmax(name="probabilities")
    photo = keras.Input((None, None, 3))
    probabilities = softmax(model(photo))
    network = keras.Model(photo, probabilities)
    network.export(
        target,
        format="onnx",
        verbose=False,
        opset_version=OPSET,
        input_signature=[keras.InputSpec(shape=(None, None, None, 3), dtype="float32")],
    )
    return Exported(lambda batch: np.asarray(network(batch, training=False)), model.count_params())
