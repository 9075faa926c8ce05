"""Every structured target of the table through the same checks."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from polymodal.data.schema.schema import StreamSchema
from polymodal.errors import SchemaError
from polymodal.metrics import METRICS, intervals_of, score_of
from polymodal.targets import TARGETS, RowContext, StructuredPrediction, StructuredTarget, fit_target
from polymodal.targets.structured import values_of
from polymodal.tokens import Detail, DetailGrid, Fused, Tokens
from target_examples import TARGET_EXAMPLES

WIDTH = 8


PLACES = DetailGrid((3, 4), 4)
STRUCTURED = [kind for kind, entry in TARGETS.items() if issubclass(entry.target, StructuredTarget)]
every_kind = pytest.mark.parametrize("kind", STRUCTURED)


def encoders(kind: str) -> dict[str, nn.Module]:
    """Return the encoders the head is built beside."""
    stream = nn.Identity()
    stream.detail_grid = PLACES
    stream.step_frames = 4  # type: ignore[assignment]
    return {"stream": stream}


def source(kind: str, rows: int = 6) -> RowContext:
    return source_of(kind, TARGET_EXAMPLES[kind].cells[:rows])


def source_of(kind: str, cells: list[Any]) -> RowContext:
    """Return the cells beside a stream of pictures, 12 high and 16 wide, that the network sees as they are."""
    pictures = [np.zeros((12, 16, 3), np.uint8)] * len(cells)
    streams = (StreamSchema("stream", "image", ("picture",)),)
    return RowContext({kind: cells, "picture": pictures}, None, streams=streams, shapes={"stream": (12, 16, 3)})


def fit(kind: str) -> StructuredTarget:
    target = fit_target(kind, TARGET_EXAMPLES[kind].cells, source(kind), {})
    assert isinstance(target, StructuredTarget)
    return target


def fused(kind: str, rows: int) -> Fused:
    generator = torch.Generator().manual_seed(0)
    tokens = Tokens(torch.randn(rows, 3, WIDTH, generator=generator), torch.ones(rows, 3, dtype=torch.bool))
    pooled, steps = torch.randn(rows, WIDTH, generator=generator), torch.randn(rows, 20, WIDTH, generator=generator)
    places = torch.randn(rows, 12, WIDTH, generator=generator)
    details = {
        "steps": {"stream": Detail(steps, torch.ones(rows, 20, dtype=torch.bool))},
        "places": {"stream": Detail(places, torch.ones(rows, 12, dtype=torch.bool), PLACES.shape)},
    }
    return Fused(pooled, tokens, None, details.get(TARGET_EXAMPLES[kind].reads, {}))


def known_cells(kind: str) -> list[Any]:
    return [cell for cell in TARGET_EXAMPLES[kind].cells if cell is not None]


def test_the_checks_cover_the_table() -> None:
    examples = [TARGET_EXAMPLES[kind] for kind in STRUCTURED]
    assert all(example.broken is not None and example.answer is not None for example in examples)
    assert all(TARGETS[kind].target.kind == kind for kind in STRUCTURED)
    assert all(kind in METRICS[TARGETS[kind].target.primary_metric].functions for kind in STRUCTURED)


@every_kind
def test_absent_and_broken_truth_is_not_known_and_broken_truth_is_named(kind: str) -> None:
    target, cells = fit(kind), [*TARGET_EXAMPLES[kind].cells, TARGET_EXAMPLES[kind].broken]
    truth, known = target.encode(cells, source_of(kind, cells))
    assert known.tolist() == [True, True, False, True, True, True, False]
    assert len(truth) == 7
    assert np.isfinite(truth).all()
    problems = target.invalid_cells(cells, source_of(kind, cells))
    assert [row for row, _ in problems] == [6]
    assert problems[0][1].strip()


@every_kind
def test_the_loss_is_finite_and_reaches_every_parameter(kind: str) -> None:
    target = fit(kind)
    head = target.build_head(WIDTH, encoders(kind))
    truth, _ = target.encode(TARGET_EXAMPLES[kind].cells, source(kind))
    losses = head.loss(fused(kind, 6), torch.from_numpy(truth), 0.05)
    assert losses.shape == (6,)
    assert losses.isfinite().all()
    losses.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@every_kind
@pytest.mark.parametrize("rows", [0, 1, 6])
def test_every_row_gets_one_answer_of_its_own(kind: str, rows: int) -> None:
    target = fit(kind)
    head = target.build_head(WIDTH, encoders(kind)).eval()
    given = fused(kind, rows)
    with torch.inference_mode():
        found = target.postprocess(head.predict(given), source(kind, rows))
    assert len(found) == rows
    assert all(isinstance(answer, StructuredPrediction) for answer in found)
    json.dumps(values_of(found))


@every_kind
def test_one_row_never_affects_another(kind: str) -> None:
    head = fit(kind).build_head(WIDTH, encoders(kind)).eval()
    whole = fused(kind, 4)
    changed = Fused(
        whole.pooled.clone(), Tokens(whole.tokens.values.clone(), whole.tokens.present), None, whole.details
    )
    changed.pooled[3], changed.tokens.values[3] = 9.0, -9.0
    with torch.inference_mode():
        before, after = head.predict(whole), head.predict(changed)
    assert before[:3] == after[:3]


@every_kind
def test_the_truth_itself_scores_best_and_the_prior_can_be_scored(kind: str) -> None:
    target = fit(kind)
    cells = known_cells(kind)
    truth = target.references(cells, source_of(kind, cells))
    perfect = score_of(target.measure(truth, truth), len(truth))
    prior = score_of(target.measure(truth, [target.prior.value] * len(truth)), len(truth))
    better = METRICS[target.primary_metric].higher_is_better
    assert perfect[target.primary_metric] == (1.0 if better else 0.0)
    assert (prior[target.primary_metric] < perfect[target.primary_metric]) == better
    low, high = intervals_of(target.measure(truth, truth), len(truth))[target.primary_metric]
    assert low <= perfect[target.primary_metric] <= high
    assert target.row_scores(truth, truth).tolist() == [1.0] * len(truth)


@every_kind
def test_a_teachers_answer_is_a_truth_to_learn_from(kind: str) -> None:
    target, cells = fit(kind), [cell for cell in known_cells(kind) if not isinstance(cell, list) or cell]
    context = source_of(kind, cells)
    answers = [target.learned_answer(answer) for answer in target.references(cells, context)]
    learned, is_known = target.encode(answers, context)
    truth, _ = target.encode(cells, context)
    assert is_known.all()
    np.testing.assert_allclose(learned, truth, atol=1e-5)


@every_kind
def test_state_is_json_and_rebuilds_the_same_target(kind: str) -> None:
    target = fit(kind)
    again = type(target).from_state(json.loads(json.dumps(target.state())))
    assert again == target
    assert again.prior == target.prior


@every_kind
def test_nothing_to_learn_is_one_sentence(kind: str) -> None:
    with pytest.raises(SchemaError, match=r"^[A-Z].*\.$"):
        fit_target(kind, TARGET_EXAMPLES[kind].hopeless, source_of(kind, TARGET_EXAMPLES[kind].hopeless), {})
