"""What is inside the streams of real models: the whole way from a changed cell to the final answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import polymodal
import tiny
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError
from polymodal.explain.cells import _shared_passes
from polymodal.explain.changed_cells import Coalitions

Explain = Callable[..., polymodal.Explanation]
KINDS = {
    "photo": "regions",
    "sound": "seconds_bands",
    "note": "words",
    "code": "dimensions",
    "clip": "regions",
    "trace": "time_channels",
    "cloud": "points",
    "tabular": "columns",
}


def complete_rows(table: Table) -> Table:
    """Return two rows whose cells are all there."""
    features = [name for name in tiny.FEATURES if name in table.columns]
    complete = [row for row in range(table.num_rows) if all(table.columns[name][row] for name in features)]
    return table.take(complete[:2])


@pytest.fixture(scope="module")
def numbers_model() -> polymodal.Model:
    """Train a model of two streams of columns, with baselines."""
    streams = {"measured": ["size", "age"], "seen": ["colour"]}
    return tiny.train(tiny.numbers_table(80), "kind", stream=streams, settings={"baselines": True})


@pytest.fixture(scope="module")
def sentences() -> dict[str, list[Any]]:
    """Return sentences of which half have one word that decides."""
    random = np.random.default_rng(0)
    rows = [[f"word{number}" for number in random.integers(0, 40, 10)] for _ in range(160)]
    labels = (np.arange(160) % 2).tolist()
    for row, label in zip(rows, labels, strict=True):
        if label:
            row[int(random.integers(10))] = "zebra"
    return {"note": [" ".join(row) for row in rows], "label": [("no", "yes")[label] for label in labels]}


@pytest.fixture(scope="module")
def word_model(sentences: dict[str, list[Any]]) -> polymodal.Model:
    """Train a network alone on them."""
    settings = {"train.epochs": 12, "train.learning_rate": 5e-3, "train.patience": None}
    return tiny.train(sentences, "label", encoder={"note": "bag"}, modality={"note": "text"}, settings=settings)


def test_cells_of_every_modality_have_parts(explain: Explain, model: polymodal.Model, table: Table) -> None:
    explanation = explain(model, complete_rows(table), rows=[1, 2], target="kind", passes=80)
    for row in explanation.rows:
        kinds = {cell.stream: cell.kind for cell in row.cells}
        assert kinds.items() <= KINDS.items()
        assert len(kinds) >= len(KINDS) - 1
        assert sum(cell.passes for cell in row.cells) <= 80
        assert all(np.isfinite(part.value) for cell in row.cells for part in cell.parts)


@pytest.mark.parametrize("method", ["occlusion", "owen"])
def test_shapley_values_of_columns_add_up_to_what_the_stream_is_worth(
    explain: Explain, numbers_model: polymodal.Model, method: str
) -> None:
    for row in explain(numbers_model, tiny.numbers_table(80), rows=range(1, 6), passes=20, method=method).rows:
        for cell in row.cells:
            assert cell.method == "shapley"
            assert sum(part.value for part in cell.parts) == pytest.approx(row.streams[cell.stream], abs=1e-6)


def test_owen_values_of_words_add_up_to_what_the_text_is_worth(
    explain: Explain, mixed_model: polymodal.Model, mixed_table: Table
) -> None:
    rows = explain(mixed_model, complete_rows(mixed_table), target=["kind", "weight"], method="owen", passes=40).rows
    cells = [(row, cell) for row in rows for cell in row.cells if cell.kind in ("words", "dimensions")]
    assert len(cells) >= 8
    for row, cell in cells:
        assert sum(part.value for part in cell.parts) == pytest.approx(row.streams[cell.stream], abs=1e-5)


def test_coalitions_have_shapley_weights() -> None:
    coalitions = Coalitions.of("a", ["a", "b", "c", "d"])
    weights = dict(zip(coalitions.masks, coalitions.weights.tolist(), strict=True))
    assert len(weights) == 8
    assert weights[frozenset()] == pytest.approx(1 / 4)
    assert weights[frozenset("b")] == pytest.approx(1 / 12)
    assert weights[frozenset("bcd")] == pytest.approx(1 / 4)


@pytest.mark.parametrize("method", ["occlusion", "gradients"])
def test_the_word_that_decides_is_the_top_part(
    explain: Explain, word_model: polymodal.Model, sentences: dict[str, list[Any]], method: str
) -> None:
    answers = word_model.predict(sentences)["label"]
    rows = [row + 1 for row, answer in enumerate(answers) if answer == sentences["label"][row] == "yes"][:40]
    assert len(rows) == 40
    found = explain(word_model, sentences, rows=rows, method=method, passes=40).rows
    top = [max(row.cells[0].parts, key=lambda part: part.value) for row in found]
    assert sum(part.label == "zebra" for part in top) >= 38


def test_drawing_the_weights_anew_changes_the_maps(
    explain: Explain, word_model: polymodal.Model, sentences: dict[str, list[Any]]
) -> None:
    rows = range(1, 21)
    before = explain(word_model, sentences, rows=rows, passes=30).rows
    trained = {name: weights.clone() for name, weights in word_model.trained.network.state_dict().items()}
    torch.manual_seed(1)
    with torch.no_grad():
        for weights in word_model.trained.network.parameters():
            weights.copy_(weights.mean() + weights.std(correction=0) * torch.randn(weights.shape))
    after = explain(word_model, sentences, rows=rows, passes=30).rows
    word_model.trained.network.load_state_dict(trained)
    ranks = [
        spearmanr(*([part.value for part in row.cells[0].parts] for row in pair)).statistic
        for pair in zip(before, after, strict=True)
    ]
    assert abs(float(np.mean(ranks))) < 0.5


def test_absent_cells_have_no_parts(explain: Explain, numbers_model: polymodal.Model) -> None:
    table = tiny.numbers_table(80)
    table["colour"][0] = None
    (row, *_) = explain(numbers_model, table, rows=[1], passes=20).rows
    assert {cell.stream for cell in row.cells} == {"measured"}


def test_rows_with_nothing_present_have_no_cells(explain: Explain, numbers_model: polymodal.Model) -> None:
    (row, *_) = explain(numbers_model, {"size": [None], "age": [None], "colour": [None]}, passes=20).rows
    assert row.cells == []


def test_without_passes_only_streams_are_explained(explain: Explain, numbers_model: polymodal.Model) -> None:
    assert all(row.cells == [] for row in explain(numbers_model, tiny.numbers_table(5), passes=0).rows)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"passes": 2}, "'passes' parameter of explain must be at least 4. Got 2"),
        ({"method": "magic"}, "'method' parameter of explain must be one of: occlusion, owen, gradients. Got 'magic'"),
    ],
)
def test_wrong_options_are_refused(
    explain: Explain, numbers_model: polymodal.Model, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        explain(numbers_model, tiny.numbers_table(5), **options)


def test_streams_that_are_not_asked_for_are_left_out(explain: Explain, numbers_model: polymodal.Model) -> None:
    (row, *_) = explain(numbers_model, tiny.numbers_table(5), rows=[1], stream="measured", passes=20).rows
    assert {cell.stream for cell in row.cells} == {"measured"}


def test_passes_go_to_the_streams_that_matter() -> None:
    shared = _shared_passes({"a": 0.1, "b": 0.7, "c": 0.0}, 49)
    assert list(shared) == ["b", "a", "c"]
    assert sum(shared.values()) <= 49
    assert shared["b"] > shared["a"] > shared["c"] >= 3
    assert list(_shared_passes({"a": 0.1, "b": 0.7, "c": 0.0}, 7)) == ["b", "a"]
    assert set(_shared_passes({"a": 0.0, "b": 0.0}, 20).values()) == {10}
