"""Each network and an album on an NVIDIA GPU, against PyTorch in float16 on the same card.

    python -m bench.gpu                     # up to 8 minutes; writes docs/gpu.json
    python -m bench.gpu --print             # writes nothing
    python -m bench.gpu --wheels FOLDER     # on a machine without a network: install these first

Networks run on batches of noise: in plain ONNX Runtime sessions; replayed, as in the app
(`models/replay.py`); replayed in float16; and in PyTorch, node by node of the same graph, in
float16 with channels last. Times include copying a batch to the GPU and the results back. Beside
each time is the largest difference from the results on the CPU.

The album consists of small photos in memory, so that decoding does not count. It is processed as on
the page, on the GPU and on the CPU.

Wheels for a machine without a network: `python -m pip download --no-deps --only-binary=:all:
--python-version 3.12 --platform manylinux_2_28_x86_64 -d FOLDER onnxruntime-gpu==1.31.1 ...`, with
those packages of requirements.txt that the machine lacks. A file that is too large to transfer can
be cut up with `split -b 60m FILE.whl FILE.whl.part-`: its parts are joined here.
"""

from models import commandline

if __name__ == "__main__":
    commandline.quiet_interrupts()

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "docs" / "gpu.json"
SIZES = (1, 4, 16)
SECONDS = 2.0  # of measuring each way and size; at least three runs
BUDGET = 7 * 60.0  # seconds after which no other network is begun
ALBUM = 200  # photos

Answers = Sequence[NDArray[np.float32]]
Run = Callable[[NDArray[np.float32]], Answers]
Figures = dict[str, Any]


def install(folder: Path, target: Path) -> None:
    """Install the wheels of a folder; large ones may be in parts."""
    wheels = target / "wheels"
    wheels.mkdir(parents=True)
    for path in sorted(folder.glob("*.whl*")):
        with (wheels / f"{path.name.partition('.whl')[0]}.whl").open("ab") as file:
            file.write(path.read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    pip += ["--no-compile", "--target", str(target / "site")]
    subprocess.run([*pip, *map(str, wheels.glob("*.whl"))], check=True)  # noqa: S603


def timed(run: Run, batch: NDArray[np.float32], seconds: float = SECONDS) -> Figures:
    """Milliseconds of a run, the median of those that fit into the time, and photos per second."""
    run(batch)  # the first ones allocate, choose algorithms and record
    run(batch)
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        start = time.perf_counter()
        run(batch)
        times.append(time.perf_counter() - start)
    each = median(times)
    return {"milliseconds": each * 1000, "photos_per_second": len(batch) / each}


def farthest(found: Answers, expected: Answers) -> float:
    """The largest difference between two results."""
    return max(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True))


def ways(
    content: bytes, batch: NDArray[np.float32], expected: Answers, device: str
) -> Iterator[tuple[str, Callable[[], Run]]]:
    """The ways to run a network, each with a function that loads it."""
    import onnx
    import onnxruntime

    from models import replay
    from models.half import half, half_file

    on_gpu = device == "cuda"
    options = {key: value for key, value in replay.OPTIONS.items() if key != "enable_cuda_graph"}
    plain_provider = [("CUDAExecutionProvider", options)] if on_gpu else ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(content, providers=plain_provider)
    (photo,) = session.get_inputs()

    def replayed(content: bytes) -> Run:
        provider = replay.CUDA if on_gpu else "CPUExecutionProvider"
        return replay.Replay(content, batch.shape, photo.shape, expected, provider, device)

    def torch_half() -> Run:
        import torch

        from training.networks.onnx_network import OnnxNetwork

        network = OnnxNetwork(half(onnx.load_from_string(content))).to(device)
        for weight in network.weights.values():
            if weight.ndim == 4:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        # Sizes are computed on the CPU, as in ONNX Runtime.
        network.constants = {
            name: value.to(device) if value.is_floating_point() and value.ndim > 1 else value
            for name, value in network.constants.items()
        }

        def run(batch: NDArray[np.float32]) -> Answers:
            with torch.inference_mode():
                there = torch.from_numpy(batch).to(device, memory_format=torch.channels_last)
                return [answer.float().cpu().numpy() for answer in network.answers(there)]

        return run

    yield "ONNX Runtime", lambda: lambda batch: session.run(None, {photo.name: batch})
    yield "replayed", lambda: replayed(content)
    yield "replayed, float16", lambda: replayed(half_file(content))
    yield "PyTorch, float16, channels last", torch_half


def measure_network(
    content: bytes,
    shape: Sequence[int],
    device: str,
    sizes: Sequence[int] = SIZES,
    seconds: float = SECONDS,
) -> list[Figures]:
    """Each way to run a network at each batch size, or the reason why it cannot be run.

    Parameters
    ----------
    content
        The bytes of an `.onnx` file.
    shape
        Shape of a batch of one.
    device
        "cuda" or "cpu".
    sizes
        Sizes of the batches.
    seconds
        As of `timed`.
    """
    import onnxruntime

    on_cpu = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found: list[Figures] = []
    for size in sizes:
        noise = np.random.default_rng(size)
        batch = noise.normal(size=(size, *shape[1:])).astype(np.float32)
        expected = on_cpu.run(None, {on_cpu.get_inputs()[0].name: batch})
        for way, make in ways(content, batch, expected, device):
            row: Figures = {"way": way, "photos": size}
            try:
                run = make()
                row["difference"] = farthest(run(batch), expected)
                row |= timed(run, batch, seconds)
            except Exception as error:  # this card or these packages cannot do it
                row["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            found.append(row)
    return found


def measure_album(photos: int = ALBUM) -> Figures:
    """Photos per second as in the app: several at a time, whose networks run together."""
    from concurrent.futures import ThreadPoolExecutor

    from models import pipeline
    from models.images import open_photo

    examples = sorted((ROOT / "examples").glob("*.[jp][pn]g"))
    pictures = [open_photo(path) for path in examples]
    devices = {each.device for each in pipeline.load()}
    pipeline.analyze(pictures[0])
    start = time.perf_counter()
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool:
        list(pool.map(pipeline.analyze, (pictures[n % len(pictures)] for n in range(photos))))
    rate = photos / (time.perf_counter() - start)
    return {"device": " and ".join(sorted(devices)), "photos": photos, "photos_per_second": rate}


def album_on_cpu(photos: int) -> Figures:
    """The same in a process without access to a GPU."""
    code = f"import json; from bench import gpu; print(json.dumps(gpu.measure_album({photos})))"
    done = subprocess.run(  # noqa: S603 -- our own words
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def conditions() -> Figures:
    """The card and the packages."""
    from importlib.metadata import distributions

    packages = ("onnxruntime", "onnxruntime-gpu", "torch", "nvidia-cudnn-cu13", "nvidia-cublas")
    versions = {each.name: each.version for each in distributions() if each.name in packages}
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        card = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        card = ""
    return {"card": card, "date": time.strftime("%Y-%m-%d"), "versions": versions}


def measure() -> Figures:
    """Measure everything that fits into the time."""
    import onnxruntime

    from models import store

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        onnxruntime.preload_dlls()
    start = time.monotonic()
    figures: Figures = {"machine": conditions(), "networks": [], "album": [], "left_out": []}
    figures["album"] = [measure_album(), album_on_cpu(ALBUM // 4)]
    for card in store.defaults():
        if time.monotonic() - start > BUDGET:
            figures["left_out"].append(card.name)
            continue
        content = (store.EMBEDDED / f"{card.name}.onnx").read_bytes()
        rows = measure_network(content, card.input.batch_shape(1), "cuda")
        figures["networks"] += [{"network": card.name, **row} for row in rows]
    figures["minutes"] = round((time.monotonic() - start) / 60, 1)
    return figures


def table(figures: Figures) -> str:
    """The figures as Markdown."""
    lines = ["| network | way | photos | ms | photos/s | difference |", "|---|---|---|---|---|---|"]
    for row in figures["networks"]:
        cells = [row["network"], row["way"], str(row["photos"])]
        if "error" in row:
            cells += ["-", "-", row["error"].replace("|", "/")]
        else:
            rate = f"{row['photos_per_second']:,.0f}"
            cells += [f"{row['milliseconds']:.2f}", rate, f"{row['difference']:.1e}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        f"| album | {row['device']} | {row['photos']} | | {row['photos_per_second']:,.1f} | |"
        for row in figures["album"]
    ]
    return "\n".join(lines)


def has_gpu() -> bool:
    """Whether the machine has a GPU that ONNX Runtime can use."""
    from models import runtime

    return runtime._providers()[0] != "CPUExecutionProvider"


def main(words: Sequence[str] | None = None) -> int:
    """Measure, and save the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--print", action="store_true", help="write nothing")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to install first")
    arguments = parser.parse_args(words)
    if arguments.wheels:
        with tempfile.TemporaryDirectory() as folder:
            install(arguments.wheels, Path(folder))
            path = [f"{folder}/site", *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
            there = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
            again = [sys.executable, "-m", "bench.gpu", *(["--print"] if arguments.print else [])]
            return subprocess.run(again, env=there, check=False).returncode  # noqa: S603
    if not has_gpu():
        print("ONNX Runtime has no GPU here, so nothing was measured.", file=sys.stderr)
        return 1
    figures = measure()
    if not arguments.print:
        RECORD.write_text(json.dumps(figures, indent=2) + "\n")
    print(table(figures))
    return 0


if __name__ == "__main__":
    commandline.run(main)
