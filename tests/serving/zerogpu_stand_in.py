"""The process that runs networks on a lent GPU, with this machine's CPU as the GPU.

python tests/serving/zerogpu_stand_in.py PIPE
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from models.runtime import Gathered, Network
from serving import gpu_process


def on_cpu(content: bytes, warm_up_shape: tuple[int, ...]) -> Network:
    """A network on this machine's CPU that says it is on the GPU."""
    network = Network(content, warm_up_shape, ["CPUExecutionProvider"])
    network._gathered = Gathered(network._run)
    network.device = "GPU"
    return network


if __name__ == "__main__":
    gpu_process.on_gpu = on_cpu
    gpu_process.main(sys.argv[1])
