"""The example of docs/export.md runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "export.md"


@pytest.mark.parametrize("stream", ["note", "tabular"])
def test_the_graphs_are_called_with_onnx_runtime_alone(
    stream: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    code = next(block for block in blocks if "InferenceSession" in block)
    assert "polymodal" not in code
    (tmp_path / "digits.bundle").symlink_to(bundle)
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {"stream": stream}
    exec(code, found)
    assert found["tokens"].shape[0] == found["present"].shape[0] == 2
    assert found["tokens"].shape[2] == found["info"]["fusion"]["width"]
