"""Each command of the project explains itself at once: no framework is imported for that."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Each of them takes half a second to ten seconds to import.
SLOW = (
    *("fastai", "gradio", "keras", "matplotlib", "pandas", "ray", "skimage", "sklearn"),
    *("tensorflow", "timm", "torch", "transformers"),
)

# Runs each command with each list of words in a fork of a process that has imported what many of
# them need, and prints what it wrote, its exit code, and the slow packages that it imported.
RUN = """
import json, os, runpy, sys, tempfile
import cv2, numpy, onnxruntime, PIL.Image, scipy.ndimage

slow, runs = json.loads(sys.argv[1])
for module, words in runs:
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as imported:
        child = os.fork()
        if not child:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            sys.argv = ["-m", *words]
            code = 1
            try:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            except SystemExit as end:
                code = 0 if end.code is None else end.code
            except BaseException as error:
                print(repr(error), file=sys.stderr)
            print(*(name for name in slow if name in sys.modules), file=imported, flush=True)
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0), imported.seek(0)
        print(json.dumps([said.read(), code, imported.read().split()]), flush=True)
"""


def commands() -> list[str]:
    """The modules that read a command line."""
    found = [ROOT / "app.py", ROOT / "serving" / "feedback.py"]
    for package in ("batch", "bench", "models", "training"):
        found += sorted((ROOT / package).glob("*.py"))
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        for path in found
        if '\nif __name__ == "__main__":\n' in (text := path.read_text()) and "parse" in text
    ]


def test_help_and_a_wrong_option_wait_for_no_framework() -> None:
    names = commands()
    runs = [(name, [word]) for name in names for word in ("--help", "--no-such-option")]
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps([SLOW, runs])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]

    assert len(names) > 40
    for (name, [word]), (said, code, imported) in zip(runs, answers, strict=True):
        assert not imported, (name, word)
        assert code == (0 if word == "--help" else 2), (name, word, said)
        assert "usage:" in said, name
        assert "Traceback" not in said, name
