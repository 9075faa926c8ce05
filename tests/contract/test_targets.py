"""Every flat target of the table through the same checks; structured ones have checks of their own."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from polymodal.errors import SchemaError
from polymodal.targets import TARGETS, StructuredTarget, Target, build_head, primary_metric_of
from target_examples import TARGET_EXAMPLES

WIDTH = 8
FLAT = [kind for kind, entry in TARGETS.items() if not issubclass(entry.target, StructuredTarget)]
every_target = pytest.mark.parametrize("kind", FLAT)


def fit(kind: str) -> Target:
    return TARGETS[kind].target.fit(TARGET_EXAMPLES[kind].cells)


def outputs(target: Target, rows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, target.output_dim, generator=generator)


def truth_of(target: Target, rows: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    values, known = target.encode(TARGET_EXAMPLES[target.kind].cells[:rows])
    return torch.from_numpy(values), torch.from_numpy(known)


def test_the_checks_cover_the_table() -> None:
    assert set(TARGET_EXAMPLES) == set(TARGETS)
    assert all(TARGET_EXAMPLES[kind].prior for kind in FLAT)
    assert all(entry.target.kind == kind for kind, entry in TARGETS.items())
    assert all(0 < len(entry.summary) <= 60 and entry.paper for entry in TARGETS.values())


@every_target
def test_absent_truth_is_not_known(kind: str) -> None:
    values, known = fit(kind).encode(TARGET_EXAMPLES[kind].cells)
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
    assert np.allclose(target.prior, TARGET_EXAMPLES[kind].prior)
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
        TARGETS[kind].target.fit(TARGET_EXAMPLES[kind].hopeless)


@every_target
def test_no_training_cell_at_all_is_one_sentence(kind: str) -> None:
    with pytest.raises(SchemaError, match="training rows"):
        TARGETS[kind].target.fit([None, None])
