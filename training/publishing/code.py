"""Files that could run code when they are opened: pickles, and Keras models with code in them."""

import json
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from training.publishing.errors import PublishError

PICKLE_SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".dill"}
# The operations that import or call something.
PICKLE_CALLS = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE"}


def refuse_code(files: Mapping[str, Path | bytes]) -> None:
    """Stop when opening one of the files could run code that it brings along.

    Raises
    ------
    PublishError
        For a pickle, by name or content, and for a Keras model with code in it.
    """
    for name, content in files.items():
        if isinstance(content, Path) and (found := _code_in(content)):
            raise PublishError(f"{content} {found}, so it is not published as {name}.")


def _code_in(path: Path) -> str | None:
    """What could run code when the file is opened, as a part of a sentence."""
    if path.suffix in PICKLE_SUFFIXES:
        return "is a pickle by its name"
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, "numpy"):
                return None
        except SafetensorError:
            return "is not a safetensors file"
    if path.suffix == ".npy":
        try:
            np.load(path, allow_pickle=False)
        except ValueError:
            return "holds pickled objects"
    if path.suffix == ".keras" or zipfile.is_zipfile(path):
        return _code_in_archive(path)
    return "is a pickle by its content" if _is_pickle(path) else None


def _code_in_archive(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            if any(Path(member).suffix in PICKLE_SUFFIXES for member in archive.namelist()):
                return "is an archive with a pickle in it"
            if path.suffix == ".keras" and _has_lambda(json.loads(archive.read("config.json"))):
                return "is a Keras model with a Lambda layer"
    except (KeyError, ValueError, zipfile.BadZipFile):
        return "is not a complete archive"
    return None


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as a pickle does: with its protocol, or all of it in old text form."""
    operations = []
    try:
        with path.open("rb") as file:
            for operation, _, _ in pickletools.genops(file):
                operations.append(operation.name)
    except (ValueError, MemoryError):  # no pickle, or other bytes follow within
        return operations[:1] == ["PROTO"] and len(operations) > 1
    return operations[0] == "PROTO" or not PICKLE_CALLS.isdisjoint(operations)


def _has_lambda(config: object) -> bool:
    if isinstance(config, dict):
        return config.get("class_name") in ("Lambda", "__lambda__") or _has_lambda(
            list(config.values())
        )
    return isinstance(config, list) and any(map(_has_lambda, config))
