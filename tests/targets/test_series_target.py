"""The target series: different lengths, cells of every form, missing steps, a signal that is learned."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

import tiny
from polymodal.errors import SchemaError
from polymodal.metrics import score_of
from polymodal.targets import RowContext, SeriesTarget, fit_target
from polymodal.tokens import Fused, Tokens

WIDTH = 16
RAGGED = [[1.0, 2.0, 3.0, 4.0], [2.0, 3.0], [0.0, 1.0, 5.0]]


def fit(cells: list[Any], folder: Path | None = None, **options: Any) -> SeriesTarget:
    target = fit_target("series", cells, RowContext(folder=folder), options)
    assert isinstance(target, SeriesTarget)
    return target


def answers_of(target: SeriesTarget, rows: int = 2) -> list[Any]:
    head = target.build_head(WIDTH, {}).eval()
    tokens = Tokens(torch.zeros(rows, 2, WIDTH), torch.ones(rows, 2, dtype=torch.bool))
    with torch.inference_mode():
        return [answer.value for answer in head.predict(Fused(torch.zeros(rows, WIDTH), tokens))]


def test_answers_have_the_longest_length_and_the_notice_says_so() -> None:
    target = fit(RAGGED)
    assert [len(answer) for answer in answers_of(target)] == [4, 4]
    assert target.prior.value == pytest.approx([1.0, 2.0, 4.0, 4.0])
    assert "Predictions have 4 steps, as the longest; 2 training series are shorter" in target.notices()[0]
    assert fit([[1.0, 2.0], [3.0, 4.0]]).notices() == []


def test_steps_that_are_not_there_are_neither_learnt_nor_judged() -> None:
    target = fit(RAGGED)
    truth, known = target.encode(RAGGED, RowContext())
    assert known.all()
    assert truth[1, :, -1].tolist() == [1, 1, 0, 0]
    head = target.build_head(WIDTH, {})
    tokens = Tokens(torch.zeros(3, 2, WIDTH), torch.ones(3, 2, dtype=torch.bool))
    fused, other = Fused(torch.zeros(3, WIDTH), tokens), truth.copy()
    other[1, 2:, 0] = 99.0
    before, after = (head.eval().loss(fused, torch.from_numpy(values), 0.0) for values in (truth, other))
    assert torch.equal(before, after)
    said = [[*cell, *[7.0] * (4 - len(cell))] for cell in RAGGED]
    assert score_of(target.measure(RAGGED, said), 3) == {"rmse": 0.0, "mae": 0.0, "r2": 1.0}


@pytest.mark.parametrize("width", [0, 2])
def test_series_are_numbers_step_by_step(width: int) -> None:
    cells = [[[step, -step][:width] if width else step for step in series] for series in RAGGED]
    target = fit(cells)
    truth, _ = target.encode(cells, RowContext())
    numbers = target.truth_numbers(truth)
    assert numbers.shape == (3, 4 * max(width, 1))
    assert np.isnan(numbers).sum() == 3 * max(width, 1)
    filled = np.nan_to_num(numbers)
    predictions = target.from_numbers(filled)
    np.testing.assert_array_equal(target.prediction_numbers(predictions), filled)
    assert np.array(predictions[0].value) == pytest.approx(np.array(cells[0]), abs=1e-6)


@pytest.mark.parametrize("num_steps", [1, 7, 128, 129, 300])
def test_long_series_are_answered_whole(num_steps: int) -> None:
    cells = np.random.default_rng(0).normal(size=(3, num_steps, 2))
    (first, _) = answers_of(fit([cell.tolist() for cell in cells]))
    assert np.array(first).shape == (num_steps, 2)


def test_cells_are_read_in_every_form_and_given_back_in_one(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1.0], [2.0]], dtype=np.float32))
    cells = ["a.npy", "[3, 4]", [5.0, 7.5], np.array([1, 9], dtype=np.int16), None]
    target = fit(cells, tmp_path)
    source = RowContext(folder=tmp_path)
    assert target.encode(cells, source)[1].tolist() == [True, True, True, True, False]
    assert target.references(cells[:4], source) == [[1.0, 2.0], [3.0, 4.0], [5.0, 7.5], [1.0, 9.0]]
    assert target.invalid_cells(cells, source) == []


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ([1.0, 2.0, 3.0, 4.0, 5.0], "has 5 steps; predictions have 4, as the longest training cell"),
        ([[1.0, 2.0]], "has 2 channels; expected 1, as in training"),
        ([[[1.0]]], r"is an array of shape \[1, 1, 1\]; expected \[steps\] or \[steps, channels\]"),
        ("[1, null]", "holds values of type object"),
        ([1.0, float("nan")], "holds 1 of 2 values that are NaN or infinite"),
        ([], "holds no numbers"),
        ("gone.npy", "there is no file"),
        ([0.0] * 11, "has 11 steps; the option max_steps allows 10"),
    ],
)
def test_cells_that_hold_no_such_series_are_named(cell: Any, reason: str, tmp_path: Path) -> None:
    target = fit(RAGGED, max_steps=10)
    source = RowContext(folder=tmp_path)
    assert target.encode([cell, RAGGED[0]], source)[1].tolist() == [False, True]
    ((row, said),) = target.invalid_cells([cell, RAGGED[0]], source)
    assert row == 0
    assert re.search(reason, said)


def test_cells_beyond_the_limit_are_not_fitted_on() -> None:
    assert len(fit([*RAGGED, [0.0] * 11], max_steps=10).mean) == 4
    with pytest.raises(SchemaError, match="needs two different series"):
        fit([[0.0] * 11, [1.0] * 11], max_steps=10)


def test_scores_are_those_of_all_numbers() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(100, [1, 5], size=(20, 6, 2))
    said = truth + random.normal(0, 0.5, truth.shape)
    target = fit(truth.tolist())
    found = score_of(target.measure(truth.tolist(), said.tolist()), 20)
    assert found["rmse"] == pytest.approx(np.sqrt(((said - truth) ** 2).mean()))
    assert found["mae"] == pytest.approx(np.abs(said - truth).mean())
    assert found["r2"] == pytest.approx(r2_score(truth.reshape(-1, 2), said.reshape(-1, 2)))


def test_a_forecast_is_learnt_from_a_table() -> None:
    random = np.random.default_rng(0)
    phases, heights = random.uniform(0, 2 * np.pi, 160), random.uniform(1, 3, 160)
    waves = heights[:, None] * np.sin(np.arange(12) / 2 + phases[:, None])
    past, future = waves[:, :8], waves[:, 8:]
    table = {"past": past.round(4).tolist(), "future": [f"{row.round(4).tolist()}" for row in future]}
    settings = {"train.epochs": 10, "train.learning_rate": 0.005, "train.augment": False, "width": 32}
    model = tiny.train(table, "future", modality={"future": "series"}, settings=settings)
    summary = model.summary()
    assert summary["targets"]["future"]["rmse"] < 0.5 * summary["baselines"]["future"]["prior"]["rmse"]
    assert [len(answer) for answer in model.predict(table)["future"][:2]] == [4, 4]


def test_true_series_are_read_from_tables_in_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,4\n", encoding="utf-8")
    target = fit(["a.csv", [[5, 6], [7, 8]]], tmp_path)
    assert target.references(["a.csv"], RowContext(folder=tmp_path)) == [[[1.0, 2.0], [3.0, 4.0]]]
