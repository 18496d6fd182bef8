"""The data sets by the name that runs and cards know them by."""

from training import nuclei, pets

# Each module has NAME, ROOT, URL, SPLITS, `prepare(root, source)` and `split(root, name)`.
DATA_SETS = {module.NAME: module for module in (pets, nuclei)}
