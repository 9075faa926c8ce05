"""LightGBM without what it would load for interfaces that are not used here."""

from __future__ import annotations

import importlib.util
import sys
import threading
from functools import cache
from typing import Any

NAME = "polymodal_lightgbm"
OPTIONAL = frozenset({"sklearn", "pandas", "matplotlib", "graphviz", "dask"})
"""Packages that LightGBM does without where they are not installed."""


@cache
def load_lightgbm() -> Any:
    """Import LightGBM without scikit-learn and pandas, whose import takes twice as long as its own.

    It is a copy of its own under another name: who imports ``lightgbm`` besides gets it whole.

    Returns:
        The module: ``Booster``, ``Dataset``, ``train`` and ``early_stopping``.

    Raises:
        ModuleNotFoundError: If LightGBM is not installed.
    """
    if "lightgbm" in sys.modules:
        return sys.modules["lightgbm"]
    found = importlib.util.find_spec("lightgbm")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("No module named 'lightgbm'", name="lightgbm")
    folders = found.submodule_search_locations
    spec = importlib.util.spec_from_file_location(NAME, found.origin, submodule_search_locations=folders)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("No module named 'lightgbm'", name="lightgbm")
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    absent = _Absent(threading.get_ident())
    sys.meta_path.insert(0, absent)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.meta_path.remove(absent)
    return module


class _Absent:
    """A finder to which the optional packages are not installed, in one thread alone."""

    def __init__(self, thread: int) -> None:
        self.thread = thread

    def find_spec(self, name: str, *_: object) -> None:
        """Refuse the optional packages; leave everything else to the next finder."""
        if threading.get_ident() == self.thread and name in OPTIONAL:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
