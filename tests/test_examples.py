"""The examples run and reach what they promise."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SMALL: dict[str, dict[str, Any]] = {
    "captioning": {"num_rows": 120},
    "driving": {"num_rows": 80, "epochs": 1},
    "image_text_detection": {"num_rows": 40, "epochs": 1},
    "image_text_recognition": {"num_rows": 120},
    "image_text_retrieval": {"num_rows": 60},
    "product_likes": {"num_rows": 120},
    "representation_learning": {"num_rows": 120},
    "same_or_not": {"num_rows": 120},
    "sentiment": {"num_rows": 120},
    "speech_recognition": {"num_rows": 40, "epochs": 1},
    "video_analysis": {"num_rows": 60, "epochs": 1},
}
"""Example to what makes it short; ``compose_by_hand`` is short as it is."""


def test_parts_are_put_together_by_hand(capsys):
    main = runpy.run_path(str(EXAMPLES / "compose_by_hand.py"))["main"]
    assert main() > 0.85
    assert "rows right" in capsys.readouterr().out


@pytest.mark.parametrize("name", SMALL)
def test_applications_run_in_their_small_form(name, capsys):
    main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
    assert 0 <= main(**SMALL[name]) <= 1
    assert capsys.readouterr().out.count("\n") >= 3


def test_every_example_is_run_and_listed():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {*SMALL, "compose_by_hand"}
    listed = (EXAMPLES.parent / "docs" / "examples.md").read_text(encoding="utf-8")
    assert [name for name in sorted(names) if f"{name}.py" not in listed] == []
