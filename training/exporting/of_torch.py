"""PyTorch networks as ONNX."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.preprocessing import InputSpec
from training.exporting.common import OPSET, OUTPUTS, Exported, Predict


def export_torch(
    network: torch.nn.Module,
    spec: InputSpec,
    target: Path,
    any_size: bool = False,
    outputs: tuple[str, ...] = OUTPUTS,
) -> Exported:
    """Write a network of one photo as ONNX with a dynamic batch, and height and width if wanted.

    `outputs` names what the network returns, in this order.
    """
    dynamic = {0: torch.export.Dim("batch")}
    if any_size:
        # AUTO: what works at one size only, as a vision transformer, keeps it instead of failing.
        dynamic |= dict.fromkeys((2, 3), torch.export.Dim.AUTO)
    example = torch.zeros(spec.batch_shape(2))  # a batch of one would be taken for a constant
    torch.onnx.export(
        network,
        (example,),
        target,
        input_names=["photo"],
        output_names=list(outputs),
        dynamic_shapes=(dynamic,),
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )

    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Exported(predictor(network), parameters, outputs=outputs)


def predictor(network: torch.nn.Module) -> Predict:
    """How PyTorch predicts with a network, its first output."""

    def predict(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return network(torch.from_numpy(batch))[0].numpy()

    return predict
