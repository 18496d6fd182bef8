"""Runs with bound buffers, on this machine's CPU, against plain runs."""

import numpy as np
import onnxruntime
import pytest

from models import store
from models.replay import Replay

NAMES = [card.name for card in store.defaults()]


@pytest.mark.parametrize("name", NAMES)
def test_each_run_answers_its_own_batch(name: str) -> None:
    card = store.read_card(name)
    content = (store.EMBEDDED / f"{name}.onnx").read_bytes()
    _, network = store.load(name, card.task)
    noise = np.random.default_rng(0)
    first, second = noise.normal(0, 1, (2, *card.input.batch_shape(2))).astype(np.float32)

    axes = onnxruntime.InferenceSession(content).get_inputs()[0].shape
    answers = network.run_all(first)
    replay = Replay(content, first.shape, axes, answers, "CPUExecutionProvider", "cpu")

    answered = replay(first)
    for batch, found in ((second, replay(second)), (first, answered)):
        for answer, expected in zip(found, network.run_all(batch), strict=True):
            np.testing.assert_allclose(answer, expected, atol=1e-3)
