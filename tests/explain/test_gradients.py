"""Integrated gradients: they add up, for every encoder that they know, and say what they cannot explain."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodal
import tiny
import tiny_checkpoints
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError
from polymodal.explain.answers import decode_rows
from polymodal.explain.cells import divide_row
from polymodal.explain.gradient_cells import RowGradients, scalar_of
from polymodal.explain.outputs import Output

pytest.importorskip("captum")
Explain = Callable[..., polymodal.Explanation]


def attributions(model: polymodal.Model, table: Table, target: str, explained: str, num_steps: int) -> list[Any]:
    """Return the attributions of all rows."""
    trained, found = model.trained, []
    decoded = decode_rows(trained, table)
    for place in range(table.num_rows):
        cells = divide_row(trained, decoded, place, trained.network.streams, Counter())
        row = RowGradients.begin(trained, decoded, place, cells)
        scalar = scalar_of(trained, Output(place, target, explained, None, float))
        assert scalar is not None
        found.append(row.network.attribute(scalar, row.baselines, num_steps))
    return found


def check_sum(found: Any) -> None:
    """Check completeness: the values add up to the output minus that of the baseline."""
    scale = sum(abs(float(values.sum())) for values in found.values.values())
    assert abs(found.error) <= 0.02 * scale + 3e-3


@pytest.mark.parametrize(("target", "explained"), [("kind", "owl"), ("tags", "furry"), ("weight", "value")])
def test_values_of_all_modalities_add_up(model: polymodal.Model, table: Table, target: str, explained: str) -> None:
    complete = [row for row in range(table.num_rows) if all(table.columns[name][row] for name in tiny.FEATURES)]
    (found,) = attributions(model, table.take(complete[:1]), target, explained, 150)
    assert set(found.values) == set(tiny.STREAMS)
    check_sum(found)


@pytest.mark.parametrize("encoder", ["bag", "cnn", "lstm", "transformer"])
def test_values_of_words_add_up_for_every_encoder(mixed_table: Table, encoder: str) -> None:
    texts = tiny.only(mixed_table, "note", "kind")
    model = tiny.train(texts, "kind", encoder={"note": encoder})
    (found,) = attributions(model, texts.take([_first_text(texts)]), "kind", "dog", 100)
    check_sum(found)


def _first_text(table: Table) -> int:
    return next(row for row, cell in enumerate(table.columns["note"]) if cell)


@pytest.mark.parametrize("tuning", ["frozen", "lora", "full"])
def test_pretrained_texts_add_up(mixed_table: Table, tmp_path: Path, tuning: str, explain: Explain) -> None:
    pytest.importorskip("transformers")
    checkpoint = tiny_checkpoints.save_reader(tmp_path / "reader")
    texts = tiny.only(mixed_table, "note", "kind")
    model = tiny.train(
        texts, "kind", encoder={"note": checkpoint}, settings={"encoder.note.hyperparameters.tuning": tuning}
    )
    row = texts.take([_first_text(texts)])
    (found,) = attributions(model, row, "kind", "dog", 100)
    check_sum(found)
    (explained,) = explain(model, row, method="gradients", passes=20).rows
    assert [cell.kind for cell in explained.cells] == ["words"]


def test_parts_of_gradients_are_those_of_the_cell(explain: Explain, model: polymodal.Model, table: Table) -> None:
    explanation = explain(model, table.take([4, 5]), target="kind", method="gradients", passes=16)
    assert any("network alone" in notice for notice in explanation.notices)
    for row in explanation.rows:
        assert {cell.method for cell in row.cells} == {"integrated_gradients"}
        assert all(1 < len(cell.parts) <= 256 for cell in row.cells if cell.kind not in ("words", "points"))


def test_streams_that_share_an_encoder_are_told_apart(explain: Explain) -> None:
    random = np.random.default_rng(0)
    first = [f"{('good', 'bad')[row % 2]} word{random.integers(9)}" for row in range(60)]
    second = [f"word{random.integers(9)} word{random.integers(9)} word{random.integers(9)}" for _ in range(60)]
    table = {"first": first, "second": second, "label": [("yes", "no")[row % 2] for row in range(60)]}
    settings = {"train.epochs": 12, "train.learning_rate": 5e-3}
    kinds = {"first": "text", "second": "text"}
    model = tiny.train(table, "label", modality=kinds, share={"both": ["first", "second"]}, settings=settings)
    for row in explain(model, table, rows=range(1, 5), method="gradients", passes=32).rows:
        strengths = {cell.stream: max(abs(part.value) for part in cell.parts) for cell in row.cells}
        assert strengths["first"] > strengths["second"]
        assert {cell.stream: len(cell.parts) for cell in row.cells} == {"first": 2, "second": 3}


def test_structured_targets_have_no_gradients_and_say_so(explain: Explain, tmp_path: Path) -> None:
    table = tiny.only(tiny.write_structured_table(tmp_path, "vector"), "code", "answer")
    model = tiny.train(table, "answer")
    explanation = explain(model, table.take([2]), method="gradients", passes=16)
    assert explanation.rows[0].cells == []
    assert any("'answer' has no gradients" in notice for notice in explanation.notices)


def test_without_captum_one_sentence_says_what_to_install(
    explain: Explain, mixed_model: polymodal.Model, mixed_table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(
        ConfigError, match=r"needs the package captum. Install it with `pip install 'polymodal\[explain\]'`"
    ):
        explain(mixed_model, mixed_table, method="gradients", passes=16)
