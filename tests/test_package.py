"""The package as a whole: public names, import time, no torch where none is needed."""

from __future__ import annotations

import ast
import importlib
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

import polymodal

IMPORT_LIMIT_S = 0.2
HELP_LIMIT_S = 0.4
SLOW_MACHINE = 3


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def median_seconds(command: list[str]) -> float:
    durations = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        durations.append(time.perf_counter() - started)
    return statistics.median(durations)


def test_every_public_name_exists():
    for name in polymodal.__all__:
        assert getattr(polymodal, name) is not None


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py")), ids=lambda p: p.stem)
def test_what_benchmarks_import_exists(path):
    tree = ast.parse(path.read_text())
    taken = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    for node in taken:
        if node.module.split(".")[0] == "polymodal":
            module = importlib.import_module(node.module)
            assert [name.name for name in node.names if not hasattr(module, name.name)] == []


def test_public_names_are_these():
    assert polymodal.__all__ == [
        "CellError",
        "CheckpointError",
        "Comparison",
        "ConfigError",
        "Model",
        "MultimodalClassifier",
        "MultimodalRegressor",
        "PolymodalError",
        "SchemaError",
        "Table",
        "TableError",
        "__version__",
        "compare",
        "fit",
        "load",
        "read_table",
    ]
    assert set(polymodal.__all__) <= set(dir(polymodal))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = polymodal.nonsense


@pytest.mark.parametrize("heavy", ["torch", "numpy", "sklearn", "pandas"])
def test_import_loads_nothing_heavy(heavy):
    assert run_python(f"import sys, polymodal; print({heavy!r} in sys.modules)") == "False\n"


@pytest.mark.parametrize(
    "module",
    ["arrays", "baselines", "cache", "config", "metrics", "modalities", "preprocessor", "schema", "splits", "table"],
)
def test_what_serves_without_torch_imports_none(module):
    assert run_python(f"import sys, polymodal.{module}; print('torch' in sys.modules)") == "False\n"


def test_import_is_quick():
    interpreter = median_seconds([sys.executable, "-c", "pass"])
    taken = median_seconds([sys.executable, "-c", "import polymodal"]) - interpreter
    assert taken <= SLOW_MACHINE * IMPORT_LIMIT_S


def test_help_is_quick():
    assert median_seconds([sys.executable, "-m", "polymodal.cli.main", "--help"]) <= SLOW_MACHINE * HELP_LIMIT_S


def test_help_loads_no_torch():
    code = "import sys, polymodal.cli.main; print('torch' in sys.modules, 'numpy' in sys.modules)"
    assert run_python(code) == "False False\n"


def test_package_is_typed():
    assert (Path(polymodal.__file__).parent / "py.typed").is_file()
