"""The examples run and reach what they promise."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

import polymodal
import tiny

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SMALL = {
    "captioning": 120,
    "driving": 80,
    "image_text_detection": 40,
    "image_text_recognition": 120,
    "image_text_retrieval": 60,
    "product_likes": 120,
    "representation_learning": 120,
    "same_or_not": 120,
    "sentiment": 120,
    "speech_recognition": 40,
    "video_analysis": 60,
}
"""Example to a small number of its rows; ``compose_by_hand`` is short as it is."""


@pytest.fixture
def short_runs(monkeypatch):
    """Train for two epochs, whatever the example asks for, and few trees."""
    fit = polymodal.fit

    def short(*given: Any, settings: dict[str, Any] | None = None, **options: Any) -> polymodal.Model:
        return fit(*given, settings={**(settings or {}), "train.epochs": 2}, **options)

    monkeypatch.setattr(polymodal, "fit", short)
    monkeypatch.setattr("polymodal.ensemble.boosting.BUDGET_S", tiny.TREES_BUDGET_S)


def test_parts_are_put_together_by_hand(capsys):
    main = runpy.run_path(str(EXAMPLES / "compose_by_hand.py"))["main"]
    assert main() > 0.85
    assert "rows right" in capsys.readouterr().out


@pytest.mark.usefixtures("short_runs")
@pytest.mark.parametrize("name", SMALL)
def test_applications_run_in_their_small_form(name, capsys):
    main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
    assert 0 <= main(num_rows=SMALL[name]) <= 1
    assert capsys.readouterr().out.count("\n") >= 3


def test_every_example_is_run_and_listed():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {*SMALL, "compose_by_hand"}
    listed = (EXAMPLES.parent / "docs" / "examples.md").read_text(encoding="utf-8")
    assert [name for name in sorted(names) if f"{name}.py" not in listed] == []
