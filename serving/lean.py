"""Gradio without the parts that this app never uses, which take half of its import time.

These changes must be made before Gradio is imported; all others to its private parts are in
`internals`, which imports it. Each is skipped if a later Gradio is built differently. Processor
time saved until the first page, median of seven starts in turns: the interfaces 1.0 s, pandas
0.3 s.
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

COMPONENTS = "gradio.component_meta"
# Imported at the top of modules of which only other parts are used here.
UNUSED = ("pandas",)


def prepare() -> None:
    """Make the import of Gradio lean. Call it before that import; a second call changes nothing."""
    if loaded := sys.modules.get(COMPONENTS):
        _write_no_interfaces(loaded)
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    for name in UNUSED:
        if name not in sys.modules and (spec := importlib.util.find_spec(name)):
            sys.modules[name] = _Later(name)
            sys.modules[name].__spec__ = spec


def _write_no_interfaces(module: ModuleType) -> None:
    """Keep Gradio from writing files for type checkers whenever it creates a component class.

    Gradio parses the source of each of its sixty components and writes a `.pyi` beside it, and
    beside modules of this app that have a component.
    """
    if hasattr(module, "create_or_modify_pyi"):
        vars(module)["create_or_modify_pyi"] = lambda *arguments: None


class _Later(ModuleType):
    """Stands in for a module until one of its attributes is used.

    The standard library's `LazyLoader` would import it at the next `import` already.
    """

    def __getattr__(self, name: str) -> object:
        if sys.modules.get(self.__name__) is self:
            sys.modules.pop(self.__name__, None)
        return getattr(importlib.import_module(self.__name__), name)


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _write_no_interfaces(module)


class _Finder(MetaPathFinder):
    """Finds the Gradio module that creates component classes, to change it after it has run."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != COMPONENTS:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec
