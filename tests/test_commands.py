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

# Runs each command with each of some words, in a fork of a process that has imported what many of
# them need, and prints what it wrote, its exit codes, and the slow packages that it imported.
RUN = """
import json, os, runpy, sys, tempfile
import models.pipeline, training.evaluation.scores

slow, words, names = json.loads(sys.argv[1])
for name in names:
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as told:
        child = os.fork()
        if not child:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            codes = []
            for word in words:
                sys.argv = ["-m", word]
                try:
                    runpy.run_module(name, run_name="__main__", alter_sys=True)
                except SystemExit as end:
                    codes.append(end.code or 0)
            imported = [each for each in slow if each in sys.modules]
            print(json.dumps([codes, imported]), file=told, flush=True)
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(0)
        os.waitpid(child, 0)
        said.seek(0), told.seek(0)
        print(json.dumps([said.read(), *json.loads(told.read() or "[[], []]")]), flush=True)
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
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps([SLOW, ["--help", "--no-such-option"], names])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]

    assert len(names) > 40
    for name, (said, codes, imported) in zip(names, answers, strict=True):
        assert not imported, name
        assert codes == [0, 2], (name, said)
        assert said.count("usage:") == 2, name
        assert "Traceback" not in said, name
