"""Every flat target of the table through the same checks; structured ones have checks of their own."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from polymodal.errors import SchemaError
from polymodal.targets import TARGETS, StructuredTarget, Target, build_head, primary_metric_of

WIDTH = 8
CELLS: dict[str, list[Any]] = {
    "category": ["cat", "dog", None, "cat", "owl", "cat"],
    "categories": ["a|b", "b", None, "a|b|c", "c", "b"],
    "number": [1.5, "2.5", None, 4, "1e1", -3.0],
}
PRIORS = {"category": [3 / 5, 1 / 5, 1 / 5], "categories": [2 / 5, 4 / 5, 2 / 5], "number": [3.0]}
HOPELESS: dict[str, list[Any]] = {
    "category": ["cat", "cat", None],
    "categories": [None, "", None],
    "number": [2.0, "2", None, "many"],
}
FLAT = [kind for kind, entry in TARGETS.items() if not issubclass(entry.target, StructuredTarget)]
every_target = pytest.mark.parametrize("kind", FLAT)


def fit(kind: str) -> Target:
    return TARGETS[kind].target.fit(CELLS[kind])


def outputs(target: Target, rows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, target.output_dim, generator=generator)


def truth_of(target: Target, rows: int = len(CELLS["number"])) -> tuple[torch.Tensor, torch.Tensor]:
    values, known = target.encode(CELLS[target.kind][:rows])
    return torch.from_numpy(values), torch.from_numpy(known)


def test_the_checks_cover_the_table() -> None:
    assert set(CELLS) == set(FLAT)
    assert all(entry.target.kind == kind for kind, entry in TARGETS.items())
    assert all(0 < len(entry.summary) <= 60 and entry.paper for entry in TARGETS.values())


@every_target
def test_absent_truth_is_not_known(kind: str) -> None:
    values, known = fit(kind).encode(CELLS[kind])
    assert known.dtype == np.bool_
    assert known.tolist() == [True, True, False, True, True, True]
    assert len(values) == len(known)
    assert np.isfinite(values).all()


@every_target
def test_the_head_gives_what_the_loss_reads(kind: str) -> None:
    target = fit(kind)
    head = build_head(target, WIDTH)
    output = head(torch.randn(6, WIDTH))
    assert output.shape == (6, target.output_dim)
    losses = target.loss(output, truth_of(target)[0], 0.05)
    assert losses.shape == (6,)
    losses.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@every_target
@pytest.mark.parametrize("rows", [0, 1])
def test_no_row_and_one_row(kind: str, rows: int) -> None:
    target = fit(kind)
    output = outputs(target, rows)
    assert target.loss(output, truth_of(target, rows)[0], 0.05).shape == (rows,)
    prediction = target.to_prediction(output.numpy())
    assert len(prediction) == rows
    assert len(target.decode(prediction)) == rows


@every_target
def test_extreme_outputs_stay_finite(kind: str) -> None:
    target = fit(kind)
    output = torch.tensor([[1e4], [-1e4]]).expand(2, target.output_dim)
    prediction = target.to_prediction(output.numpy())
    assert prediction.dtype == np.float64
    assert np.isfinite(prediction).all()
    assert target.loss(output, truth_of(target, 2)[0], 0.05).isfinite().all()


@every_target
def test_a_better_output_has_a_lower_loss(kind: str) -> None:
    target = fit(kind)
    truth, known = truth_of(target)
    output = outputs(target, 6).requires_grad_()
    optimizer = torch.optim.Adam([output], lr=0.2)
    first = last = target.loss(output, truth, 0.0)[known].mean()
    for _ in range(100):
        optimizer.zero_grad()
        last = target.loss(output, truth, 0.0)[known].mean()
        last.backward()
        optimizer.step()
    assert last < 0.1 * first
    said = target.decode(target.to_prediction(output.detach().numpy()))
    encoded = target.encode(said)[0]
    assert np.allclose(encoded[known.numpy()], truth.numpy()[known.numpy()], atol=0.5)


@every_target
def test_the_prior_is_that_of_the_training_cells(kind: str) -> None:
    target = fit(kind)
    assert np.allclose(target.prior, PRIORS[kind])
    assert target.prior.shape == (len(target.classes or [0]),)


@every_target
def test_predictions_are_plain_values(kind: str) -> None:
    target = fit(kind)
    said = target.decode(target.to_prediction(outputs(target, 4).numpy()))
    assert json.loads(json.dumps(said)) == said


@every_target
def test_state_survives_json(kind: str) -> None:
    target = fit(kind)
    again = TARGETS[kind].target.from_state(json.loads(json.dumps(target.state())))
    assert again == target
    assert again.output_dim == target.output_dim
    assert primary_metric_of(again) == primary_metric_of(target)


@every_target
def test_nothing_to_learn_is_one_sentence(kind: str) -> None:
    with pytest.raises(SchemaError, match=r"^A .* target needs .* in the training rows\. Found .*\.$"):
        TARGETS[kind].target.fit(HOPELESS[kind])


@every_target
def test_no_training_cell_at_all_is_one_sentence(kind: str) -> None:
    with pytest.raises(SchemaError, match="training rows"):
        TARGETS[kind].target.fit([None, None])
