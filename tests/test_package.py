"""The package as a whole: public names, no torch where none is needed."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import polymodal


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


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
    assert set(polymodal.__all__) <= set(dir(polymodal))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = polymodal.nonsense


def test_import_loads_nothing_heavy():
    code = "import sys, polymodal; print({'torch', 'numpy', 'sklearn', 'pandas'} & set(sys.modules))"
    assert run_python(code) == "set()\n"


NO_TORCH = ["arrays", "config", "data", "ensemble", "metrics", "modalities"]
"""Rooms, and modules of the root, that serve without torch."""


def modules_without_torch() -> list[str]:
    root = Path(polymodal.__file__).parent
    files = [file for name in NO_TORCH for file in ((root / name).rglob("*.py") if (root / name).is_dir() else ())]
    names = [file.relative_to(root).with_suffix("").as_posix().replace("/", ".") for file in files]
    return [name for name in NO_TORCH if not (root / name).is_dir()] + [n.removesuffix(".__init__") for n in names]


def test_what_serves_without_torch_imports_none():
    imports = "; ".join(f"import polymodal.{module}" for module in modules_without_torch())
    assert run_python(f"import sys; {imports}; print('torch' in sys.modules)") == "False\n"


def test_help_loads_no_torch():
    code = "import sys, polymodal.cli.main; print('torch' in sys.modules, 'numpy' in sys.modules)"
    assert run_python(code) == "False False\n"


def test_package_is_typed():
    assert (Path(polymodal.__file__).parent / "py.typed").is_file()
