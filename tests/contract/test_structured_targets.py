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
from polymodal.tokens import Detail, Fused, PlaceGrid, Tokens

WIDTH = 8


def picture(level: int) -> np.ndarray[Any, Any]:
    """Return a grey picture that gets brighter from left to right."""
    return np.linspace(0, level, 80, dtype=np.uint8).reshape(8, 10)


PLACES = PlaceGrid((3, 4), 4)
CELLS: dict[str, list[Any]] = {
    "boxes": [
        [{"label": "cat", "box": [1, 2, 9, 8]}, {"label": "owl", "box": [4, 4, 7, 11]}],
        '[{"label": "cat", "box": [0, 0, 5, 5.5]}]',
        None,
        [],
        {"labels": ["owl"], "boxes": [[2, 2, 14, 9]]},
        [{"label": "cat", "box": [3, 1, 6, 4]}],
    ],
    "vector": [[1.0, 2.0], "[2.0, 2.5]", None, [0.5, -1.0], [3.0, 0.0], [1.0, 1.0]],
    "caption": ["a red cat", "a red dog ", None, "Zwei Öfen", 7, "a red cat"],
    "series": [[[1.0, 2.0]] * 3, "[[2.0, 2.5]]", None, [[0.5, -1.0], [1, 1]], np.zeros((3, 2)), [[1.0, 1.0]] * 2],
    "image": [picture(0), picture(60), None, picture(120), picture(255).tolist(), picture(90)],
    "transcript": ["one two", "two", None, "one  three", "three one", "two two"],
}
BROKEN: dict[str, Any] = {
    "boxes": '[{"label": "cat", "box": [9, 2, 1, 8]}]',
    "vector": [1.0, 2.0, 3.0],
    "caption": b"\xff\xfe",
    "series": [[1.0, 2.0, 3.0]],
    "image": "[1, 2]",
    "transcript": ["one", "two"],
}
"""A cell that holds something, but no truth."""
HOPELESS: dict[str, list[Any]] = {
    "boxes": [[], [], None],
    "vector": [[1.0, 2.0], [1.0, 2.0], None],
    "caption": ["a red cat", "a red cat", None],
    "series": [[[1.0, 2.0]], [[1.0, 2.0]], None],
    "image": [picture(9), picture(9), None],
    "transcript": ["one", "one ", None],
}
STRUCTURED = [kind for kind, entry in TARGETS.items() if issubclass(entry.target, StructuredTarget)]
every_kind = pytest.mark.parametrize("kind", STRUCTURED)


def encoders(kind: str) -> dict[str, nn.Module]:
    """Return the encoders the head is built beside."""
    stream = nn.Identity()
    stream.places = PLACES
    stream.step_frames = 4  # type: ignore[assignment]
    return {"stream": stream}


def source(kind: str, rows: int = 6) -> RowContext:
    return source_of(kind, CELLS[kind][:rows])


def source_of(kind: str, cells: list[Any]) -> RowContext:
    """Return the cells beside a stream of pictures, 12 high and 16 wide, that the network sees as they are."""
    pictures = [np.zeros((12, 16, 3), np.uint8)] * len(cells)
    streams = (StreamSchema("stream", "image", ("picture",)),)
    return RowContext({kind: cells, "picture": pictures}, None, streams=streams, shapes={"stream": (12, 16, 3)})


def fit(kind: str) -> StructuredTarget:
    target = fit_target(kind, CELLS[kind], source(kind), {})
    assert isinstance(target, StructuredTarget)
    return target


def fused(kind: str, rows: int) -> Fused:
    generator = torch.Generator().manual_seed(0)
    tokens = Tokens(torch.randn(rows, 3, WIDTH, generator=generator), torch.ones(rows, 3, dtype=torch.bool))
    pooled, steps = torch.randn(rows, WIDTH, generator=generator), torch.randn(rows, 20, WIDTH, generator=generator)
    places = torch.randn(rows, 12, WIDTH, generator=generator)
    details = {
        "transcript": {"stream": Detail(steps, torch.ones(rows, 20, dtype=torch.bool))},
        "boxes": {"stream": Detail(places, torch.ones(rows, 12, dtype=torch.bool), PLACES.shape)},
    }
    return Fused(pooled, tokens, None, details.get(kind, {}))


def known_cells(kind: str) -> list[Any]:
    return [cell for cell in CELLS[kind] if cell is not None]


def test_the_checks_cover_the_table() -> None:
    assert set(CELLS) == set(STRUCTURED) == set(BROKEN) == set(HOPELESS)
    assert all(TARGETS[kind].target.kind == kind for kind in STRUCTURED)
    assert all(kind in METRICS[TARGETS[kind].target.primary_metric].functions for kind in STRUCTURED)


@every_kind
def test_absent_and_broken_truth_is_not_known_and_broken_truth_is_named(kind: str) -> None:
    target, cells = fit(kind), [*CELLS[kind], BROKEN[kind]]
    truth, known = target.encode(cells, source_of(kind, cells))
    assert known.tolist() == [True, True, False, True, True, True, False]
    assert len(truth) == 7
    assert np.isfinite(truth).all()
    problems = target.problems(cells, source_of(kind, cells))
    assert [row for row, _ in problems] == [6]
    assert problems[0][1].strip()


@every_kind
def test_the_loss_is_finite_and_reaches_every_parameter(kind: str) -> None:
    target = fit(kind)
    head = target.build_head(WIDTH, encoders(kind))
    truth, _ = target.encode(CELLS[kind], source(kind))
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
        found = target.finish(head.answers(given), source(kind, rows))
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
        before, after = head.answers(whole), head.answers(changed)
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
    assert low == high == perfect[target.primary_metric]
    assert target.quality(truth, truth).tolist() == [1.0] * len(truth)


@every_kind
def test_state_is_json_and_rebuilds_the_same_target(kind: str) -> None:
    target = fit(kind)
    again = type(target).from_state(json.loads(json.dumps(target.state())))
    assert again == target
    assert again.prior == target.prior


@every_kind
def test_nothing_to_learn_is_one_sentence(kind: str) -> None:
    with pytest.raises(SchemaError, match=r"^[A-Z].*\.$"):
        fit_target(kind, HOPELESS[kind], source_of(kind, HOPELESS[kind]), {})
