"""Command lines that are ended from outside, in separate processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

# A program that runs the checks in the background may have disabled Ctrl-C for its children.
COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from models import commandline
if __name__ == "__main__":
    commandline.quiet_interrupts()
import os, sys, time

def main():
    {work}

if {importing}:
    os.kill(os.getpid(), signal.SIGINT)
commandline.run(main, "Stopped; the same command goes on.")
"""


def command(work: str, importing: bool = False) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(work=work, importing=importing)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("work", "code"),
    [
        ("return 3", 3),
        ("print('done')", 0),
        ("raise SystemExit(4)", 4),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", 130),
    ],
)
def test_a_command_exits_with_its_code(work: str, code: int) -> None:
    with command(work) as process:
        out, complaint = process.communicate()

    assert process.returncode == code
    assert complaint == ("\nStopped; the same command goes on.\n" if code == 130 else "")
    assert out == ("done\n" if work.startswith("print") else "")


def test_ctrl_c_during_imports_prints_one_line() -> None:
    with command("pass", importing=True) as process:
        _, complaint = process.communicate()

    assert process.returncode == -signal.SIGINT
    assert complaint == "\nStopped.\n"


@pytest.mark.parametrize(
    "work", ["print('once')", "[print('x' * 1000, flush=True) for _ in range(1000)]", "sys.exit(1)"]
)
def test_a_closed_pipe_ends_the_command_silently(work: str) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    process = subprocess.run(
        [sys.executable, "-c", COMMAND.format(work=f"print('first'); {work}", importing=False)],
        cwd=ROOT,
        stdout=theirs,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(theirs)

    assert process.returncode == 141
    assert process.stderr == b""
