"""The detector's fine-tuning and conversion, on a tiny network in ONNX."""

import csv
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from models import detection, store
from models.images import open_photo
from training import convert_detector, detector_network, pets, train_detector
from training.detector_pictures import Drawn
from training.networks.onnx_network import OnnxNetwork, with_weights

OUTPUTS = convert_detector.CLASSES + 4 * convert_detector.BINS


@pytest.fixture(scope="module")
def tiny_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector with the input and output of the real one: a convolution and a head per stride."""
    random = np.random.default_rng(0)
    nodes, tensors, grids = [], {}, []
    for stride in convert_detector.STRIDES:
        body, head = f"body{stride}", f"head{stride}"
        tensors[f"{body}.weight"] = random.normal(0, 0.1, (8, 3, 3, 3)).astype(np.float32)
        tensors[f"{body}.bias"] = np.zeros(8, np.float32)
        tensors[f"{head}.weight"] = random.normal(0, 0.1, (OUTPUTS, 8, 1, 1)).astype(np.float32)
        tensors[f"{head}.bias"] = np.zeros(OUTPUTS, np.float32)
        tensors[f"{head}.shape"] = np.array([0, OUTPUTS, -1], np.int64)
        nodes += [
            helper.make_node(
                "Conv",
                ["in0", f"{body}.weight", f"{body}.bias"],
                [body],
                kernel_shape=[3, 3],
                strides=[stride, stride],
                pads=[1, 1, 1, 1],
                group=1,
            ),
            helper.make_node("LeakyRelu", [body], [f"{body}r"], alpha=0.1),
            helper.make_node(
                "Conv",
                [f"{body}r", f"{head}.weight", f"{head}.bias"],
                [head],
                kernel_shape=[1, 1],
                strides=[1, 1],
                pads=[0, 0, 0, 0],
                group=1,
            ),
            helper.make_node("Reshape", [head, f"{head}.shape"], [f"{head}f"]),
        ]
        grids.append(f"{head}f")
    nodes += [
        helper.make_node("Concat", grids, ["all"], axis=2),
        helper.make_node("Transpose", ["all"], ["out"], perm=[0, 2, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("in0", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", "places", OUTPUTS])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path = tmp_path_factory.mktemp("detector") / "detector.onnx"
    onnx.save(model, path)
    return path


def test_the_torch_network_answers_as_the_graph(tiny_detector: Path) -> None:
    model = convert_detector.convert(onnx.load(tiny_detector))
    network = OnnxNetwork(model)
    photo = torch.randn(2, 3, 128, 192)
    detector = detector_network.detector_of(model)
    expected = detector._network.run(photo.numpy())
    np.testing.assert_allclose(network(photo).detach().numpy(), expected, atol=1e-5)
    again = with_weights(model, {name: value + 1 for name, value in network.stored().items()})
    assert not np.allclose(
        detector_network.detector_of(again)._network.run(photo.numpy()), expected
    )


def test_the_loss_is_least_where_boxes_and_classes_are_right() -> None:
    side = 128
    grid = detector_network.places(side)
    boxes = np.array([[16, 16, 80, 96]], np.float32)
    drawn = [Drawn(np.zeros((3, side, side), np.float32), boxes, np.array([1]))]

    def output(box: tuple[int, int, int, int], species: int) -> torch.Tensor:
        """The answer of a network that sees this box from the cells inside it."""
        logits = torch.full((1, len(grid), 2), -8.0)
        x, y, stride = grid.T
        sides = torch.stack([x - box[0], y - box[1], box[2] - x, box[3] - y], dim=1)
        inside = (sides.amin(dim=1) > 0) & (sides.amax(dim=1) < 7 * stride)
        logits[0, inside, species] = 4.0
        distances = (sides / stride[:, None]).clamp(0, 6.99)
        bins = torch.zeros(len(grid), 4, 8)
        lower = distances.long()
        share = distances - lower
        bins.scatter_(2, lower[..., None], torch.log(1 - share + 1e-6)[..., None] + 10)
        bins.scatter_(2, lower[..., None] + 1, torch.log(share + 1e-6)[..., None] + 10)
        return torch.cat([logits, bins.reshape(1, len(grid), 32)], dim=2)

    right = detector_network.loss_of(output((16, 16, 80, 96), 1), drawn, grid)
    wrong_box = detector_network.loss_of(output((16, 16, 110, 60), 1), drawn, grid)
    wrong_species = detector_network.loss_of(output((16, 16, 80, 96), 0), drawn, grid)
    assert right < wrong_box
    assert right < wrong_species


def test_generalized_iou_is_the_paper_s() -> None:
    one, other = torch.tensor([0.0, 0, 10, 10]), torch.tensor([20.0, 0, 30, 10])
    iou, giou = detector_network.iou_of(one, other)
    assert iou == 0
    assert giou == pytest.approx(-100 / 300)  # the hull has 300 pixels, the boxes cover 200 of them
    iou, giou = detector_network.iou_of(one, torch.tensor([5.0, 0, 15, 10]))
    assert iou == pytest.approx(50 / 150)
    assert giou == pytest.approx(50 / 150)


def test_a_run_s_body_gets_the_coco_detector_s_kernels_of_other_animals(
    tiny_detector: Path,
) -> None:
    original = onnx.load(tiny_detector)
    random = np.random.default_rng(0)
    pets_alone = OnnxNetwork(convert_detector.convert(original))
    learnt = {
        name: value + random.normal(0, 0.1, value.shape).astype(np.float32)
        for name, value in pets_alone.stored().items()
    }
    body = {name: value for name, value in learnt.items() if name.startswith("body")}
    photo = torch.randn(1, 3, 128, 128)

    def answer(model: onnx.ModelProto) -> np.ndarray:
        return OnnxNetwork(model)(photo).detach().numpy()[0]

    all_animals = convert_detector.convert(original, convert_detector.ANIMALS)
    both = answer(convert_detector.with_run(all_animals, learnt))
    own = answer(with_weights(convert_detector.convert(original), learnt))
    coco = answer(with_weights(all_animals, body))
    animals = len(convert_detector.ANIMALS)
    np.testing.assert_allclose(both[:, :2], own[:, :2], atol=1e-5)
    np.testing.assert_allclose(both[:, 2:animals], coco[:, 2:animals], atol=1e-5)
    np.testing.assert_allclose(both[:, animals:], own[:, 2:], atol=1e-5)
    assert not np.allclose(own[:, :2], coco[:, :2], atol=0.1)


def test_a_run_is_converted(tiny_pets: Path, tiny_detector: Path, tmp_path: Path) -> None:
    words = [str(tiny_detector), "--root", str(tiny_pets), "--out", str(tmp_path / "finder")]
    words += ["--dry-run", "--size", "64"]
    run = train_detector.train(**vars(train_detector.parse_arguments(words)))
    with (run / "history.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 1
    facts = json.loads((run / "run.json").read_text())
    assert facts["task"] == "detection"
    assert facts["tuned"] == 0.5
    convert_detector.main(
        [str(tiny_detector), "--run", str(run), "--models", str(tmp_path), "--root", str(tiny_pets)]
    )
    card, network = store.load("finder", "detection", tmp_path)
    assert card.facts["training"]["command"]
    assert [label.name for label in card.labels if label.species] == ["cat", "dog"]
    assert "cow" in [label.name for label in card.labels]
    photo = open_photo(pets.split(tiny_pets, "test")[0].photo)
    assert isinstance(detection.Detector(card, network).detect(photo), list)
