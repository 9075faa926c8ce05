"""Which scalar is explained for each kind of answer, and how it is read from another answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polymodal.data.schema.schema import StreamSchema
from polymodal.explain.outputs import MAX_ITEMS, items_of, outputs_of, unit_of
from polymodal.targets import RowContext, fit_target
from polymodal.targets.structured import StructuredPrediction, to_structured_predictions
from target_examples import TARGET_EXAMPLES


def fitted(kind: str) -> Any:
    return fit_target(kind, TARGET_EXAMPLES[kind].cells, RowContext(), {})


def texts(*predictions: tuple[str, float]) -> Any:
    return to_structured_predictions([StructuredPrediction(*prediction) for prediction in predictions])


def test_a_class_is_explained_by_its_probability() -> None:
    (output,) = outputs_of("kind", fitted("category"), np.array([[0.2, 0.7, 0.1]]), first_row=4)
    assert (output.row, output.explained, output.answer) == (4, "dog", "dog")
    assert output.read(np.array([0.5, 0.3, 0.2])) == 0.3


def test_labels_are_explained_one_by_one() -> None:
    outputs = outputs_of("tags", fitted("categories"), np.array([[0.6, 0.9, 0.1], [0.1, 0.3, 0.2]]))
    assert [(output.row, output.explained) for output in outputs] == [(0, "b"), (0, "a"), (1, "b")]


def test_a_number_is_explained_as_it_is() -> None:
    (output,) = outputs_of("weight", fitted("number"), np.array([2.5]))
    assert (output.explained, output.answer, output.read(-1.5)) == ("value", 2.5, -1.5)


def test_words_of_a_text_keep_the_confidence_of_answers_that_have_them() -> None:
    outputs = outputs_of("answer", fitted("caption"), texts(("a red cat", 0.8)))
    assert [output.explained for output in outputs] == ["word 1: a", "word 2: red", "word 3: cat"]
    (other,) = texts(("a big red dog", 0.5))
    assert [output.read(other) for output in outputs] == [0.5, 0.5, 0.0]


def test_a_long_answer_is_cut_to_its_first_items() -> None:
    target, words = fitted("caption"), "a b c d e f g h"
    assert len(outputs_of("answer", target, texts((words, 0.5)))) == MAX_ITEMS
    assert items_of(target, words) == 8


def test_an_empty_answer_is_explained_by_its_confidence() -> None:
    (output,) = outputs_of("answer", fitted("caption"), texts(("", 0.25)))
    assert (output.explained, output.read(texts(("x", 0.5))[0])) == ("confidence", 0.5)


def test_numbers_are_explained_by_their_departure_from_the_prior() -> None:
    target = fitted("vector")
    prior = target.prior_numbers
    predictions = target.from_numbers(prior + np.outer([1, 0, -1], [3.0, 4.0]))
    output = outputs_of("answer", target, predictions[:1])[0]
    assert [output.read(one) for one in predictions] == pytest.approx([5 / 2**0.5, 0, -5 / 2**0.5])


def test_units() -> None:
    kinds = ("category", "categories", "number", "caption", "vector")
    units = ["probability", "probability", "value", "confidence", "value"]
    assert [unit_of(fitted(kind)) for kind in kinds] == units


def test_boxes_are_explained_by_score_and_overlap() -> None:
    streams = (StreamSchema("photo", "image", ("photo",)),)
    cells = TARGET_EXAMPLES["boxes"].cells
    context = RowContext({"photo": [None] * len(cells)}, streams=streams)
    target = fit_target("boxes", cells, context, {})
    boxes = [{"label": "owl", "box": [0, 0, 4, 4], "score": 0.4}, {"label": "cat", "box": [0, 0, 10, 10], "score": 0.9}]
    outputs = outputs_of("answer", target, to_structured_predictions([StructuredPrediction(boxes, 0.65)]))
    assert [output.explained for output in outputs] == ["cat at 0, 0, 10, 10", "owl at 0, 0, 4, 4"]
    half = StructuredPrediction([{"label": "cat", "box": [0, 0, 5, 10], "score": 0.8}], 0.8)
    assert [output.read(half) for output in outputs] == [pytest.approx(0.4), 0.0]
