import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_onnx_runtime_sends_no_telemetry(tmp_path: Path) -> None:
    # By default, it looks up its makers' address within a second, and stores a permanent identifier
    # of the machine in the home folder.
    code = "from models import segmentation; segmentation.load('pet'); import time; time.sleep(3)"
    command = [sys.executable, "-c", code]
    trace = tmp_path / "trace"
    if tracer := shutil.which("strace"):
        watched = "trace=socket,connect,sendto,sendmsg,sendmmsg"
        command = [
            tracer,
            "-f",
            "-q",
            "-e",
            watched,
            "-e",
            "signal=none",
            "-o",
            str(trace),
            *command,
        ]
    home = tmp_path / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}

    subprocess.run(
        command,
        cwd=ROOT,
        env=environment | {"HOME": str(home), "XDG_CACHE_HOME": str(home)},
        check=True,
        timeout=400,
    )

    assert not list(home.rglob("*"))
    if tracer:
        assert not [line for line in trace.read_text().splitlines() if "(" in line]
