"""Learn from tables whose cells are anything: pictures, sound, text, numbers; any cell may be missing.

Example::

    import polymodal

    model = polymodal.fit("train.csv", target="label", output="runs/first")
    model.predict("new.csv")

Names are imported when they are first used, so that ``import polymodal`` takes no time and loads no torch.
"""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any

from polymodal.version import VERSION as __version__  # noqa: N811

if TYPE_CHECKING:
    from polymodal.data.tables.table import Table, read_table
    from polymodal.errors import (
        CellError,
        CheckpointError,
        ConfigError,
        PolymodalError,
        PolymodalWarning,
        SchemaError,
        TableError,
    )
    from polymodal.explain.explanation import Explanation
    from polymodal.modalities.remote_files import allow_remote
    from polymodal.report.comparison import Comparison
    from polymodal.runs.callbacks import Callback, TrainingRun
    from polymodal.runs.compare import compare
    from polymodal.runs.estimators import MultimodalClassifier, MultimodalRegressor
    from polymodal.runs.fit import fit
    from polymodal.runs.model import Model, load
    from polymodal.runs.options import RunOptions

__all__ = [
    "Callback",
    "CellError",
    "CheckpointError",
    "Comparison",
    "ConfigError",
    "Explanation",
    "Model",
    "MultimodalClassifier",
    "MultimodalRegressor",
    "PolymodalError",
    "PolymodalWarning",
    "RunOptions",
    "SchemaError",
    "Table",
    "TableError",
    "TrainingRun",
    "__version__",
    "allow_remote",
    "compare",
    "compress",
    "fit",
    "load",
    "read_table",
]

STARTED_S = time.perf_counter()
"""When the package was first imported: the time of a command begins here."""

_MODULES = {
    "Callback": "runs.callbacks",
    "CellError": "errors",
    "CheckpointError": "errors",
    "Comparison": "report.comparison",
    "ConfigError": "errors",
    "Explanation": "explain.explanation",
    "Model": "runs.model",
    "MultimodalClassifier": "runs.estimators",
    "MultimodalRegressor": "runs.estimators",
    "PolymodalError": "errors",
    "PolymodalWarning": "errors",
    "RunOptions": "runs.options",
    "SchemaError": "errors",
    "Table": "data.tables.table",
    "TableError": "errors",
    "TrainingRun": "runs.callbacks",
    "allow_remote": "modalities.remote_files",
    "compare": "runs.compare",
    "compress": "compression.compress",
    "fit": "runs.fit",
    "load": "runs.model",
    "read_table": "data.tables.table",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'polymodal' has no attribute {name!r}")
    from polymodal.errors import packages_told

    with packages_told():
        value = getattr(importlib.import_module(f"polymodal.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
