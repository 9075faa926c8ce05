"""What is said of an environment without torch: a bundle does all that it can, and the rest says what to install.

The environment is this one in a process of its own, in which the packages of the extras cannot be imported.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shipped import Shipped

RUNNER = Path(__file__).parent / "without_packages.py"
OF_TRAIN = ("torch", "transformers", "onnx", "onnxscript", "lightgbm", "captum")
OF_EXTRAS = (*OF_TRAIN, "scipy", "sklearn", "pandas", "pyarrow", "sacrebleu")
TRAINING = "Training needs torch: pip install 'polymodal[train]'. Run folders and gradients do too; bundles do not.\n"
Outcome = dict[str, Any]


def _run(blocked: tuple[str, ...], commands: dict[str, list[str]], tmp_path: Path) -> dict[str, Outcome]:
    """Run commands one after another in one process without some packages."""
    asked = {"blocked": blocked, "commands": commands}
    process = subprocess.run(
        [sys.executable, str(RUNNER)], input=json.dumps(asked), capture_output=True, text=True, check=True, cwd=tmp_path
    )
    found: dict[str, Outcome] = json.loads(process.stdout)
    return found


@pytest.fixture(scope="module")
def base(shipped: Shipped, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Run every command in an environment of base dependencies."""
    bundle, run, data = map(str, (shipped.bundle, shipped.run, shipped.path))
    commands = {
        "predict": ["predict", bundle, data, "--coverage", "0.9", "--abstain", "0.5", "--unusual", "--weights"],
        "predict to a file": ["predict", bundle, data, "-o", "found.csv"],
        "evaluate": ["evaluate", bundle, data, "--json"],
        "explain": ["explain", bundle, data, "--rows", "1-2", "--stream", "note", "--stream", "tabular", "-o", "page"],
        "explain by shares": ["explain", bundle, data, "--rows", "1", "--stream", "note", "--method", "owen"],
        "embed": ["embed", bundle, data, "-o", "vectors.csv"],
        "index": ["index", bundle, data, "-o", "found.index"],
        "search": ["search", bundle, "found.index", "--query", "note=it barks", "--json"],
        "inspect": ["inspect", data, "--json"],
        "list modalities": ["list", "modalities"],
        "list targets": ["list", "targets"],
        "list metrics": ["list", "metrics"],
        "cache": ["cache", "info"],
        "train": ["train", data, "--target", "kind"],
        "compare": ["compare", data, "--target", "kind"],
        "predict with a run": ["predict", run, data],
        "export": ["export", run, "-o", "other"],
        "compress": ["compress", run],
        "explain by gradients": ["explain", bundle, data, "--method", "gradients"],
        "list encoders": ["list", "encoders"],
        "list fusions": ["list", "fusions"],
        "drift": ["drift", bundle, data],
        "predict to Parquet": ["predict", bundle, data, "-o", "found.parquet"],
    }
    return _run(OF_EXTRAS, commands, tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize(
    "name",
    [
        "predict",
        "predict to a file",
        "evaluate",
        "explain",
        "explain by shares",
        "embed",
        "index",
        "search",
        "inspect",
        "list modalities",
        "list targets",
        "list metrics",
        "cache",
    ],
)
def test_a_bundle_does_it_with_base_dependencies(base: dict[str, Outcome], name: str) -> None:
    assert base[name]["code"] == 0, base[name]
    assert base[name]["out"].strip()


@pytest.mark.parametrize(
    "name",
    [
        "train",
        "compare",
        "predict with a run",
        "export",
        "compress",
        "explain by gradients",
        "list encoders",
        "list fusions",
    ],
)
def test_what_needs_torch_says_so_in_one_sentence(base: dict[str, Outcome], name: str) -> None:
    assert base[name]["code"] == 2
    assert base[name]["err"].endswith(TRAINING)
    assert "Traceback" not in base[name]["err"]


def test_what_needs_another_extra_names_it(base: dict[str, Outcome]) -> None:
    for name, package, extra in (("drift", "scipy", "analysis"), ("predict to Parquet", "pyarrow", "arrow")):
        assert base[name]["code"] == 2, base[name]
        assert base[name]["err"].endswith(f"This needs the package {package}: pip install 'polymodal[{extra}]'.\n")


def test_nothing_of_an_extra_was_imported(base: dict[str, Outcome]) -> None:
    assert base["imported"] == {"of extras": []}


def test_drift_and_stress_need_no_torch(shipped: Shipped, tmp_path: Path) -> None:
    bundle, data = str(shipped.bundle), str(shipped.path)
    commands = {
        "drift": ["drift", bundle, data, "--json"],
        "stress": ["stress", bundle, data, "--rows", "10", "--json"],
    }
    found = _run(OF_TRAIN, commands, tmp_path)
    assert [found[name]["code"] for name in commands] == [0, 0], found


def test_python_says_the_same(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(RUNNER.parent)!r})\n"
        "from without_packages import block\n"
        "block(('torch',))\n"
        "import polymodal\n"
        "try:\n    polymodal.fit\n"
        "except polymodal.PolymodalError as error:\n    print(error, isinstance(error, ImportError))\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert process.stdout == f"{TRAINING.strip()} True\n"
