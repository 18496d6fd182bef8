"""The data sets by the name that runs and cards know them by."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training import nuclei, pets

# Each module has NAME, ROOT, URL, SPLITS, `prepare(root, source)` and `split(root, name)`.
DATA_SETS = {module.NAME: module for module in (pets, nuclei)}

Examples = Sequence[pets.Example] | Sequence[nuclei.Example]


def select(facts: Mapping[str, Any], root: Path, split: str) -> Examples:
    """The examples of a split as a run divided its data.

    Parameters
    ----------
    facts
        What the run says of itself: its `data`, and the `fold` that it held out if it chose one.
    root, split
        Folder of the data set, and name of the split.
    """
    fold = facts.get("fold", 0)  # not every data set has folds, but every one has the first
    return DATA_SETS[facts["data"]].split(root, split, **({"fold": fold} if fold else {}))
