"""Validation: the losses do not depend on the batches."""

from __future__ import annotations

from typing import Any

import pytest

import tiny
from polymodal.data.tables.table import Table
from polymodal.training import trainer
from polymodal.training.validation import Validation, validate


def validations_of(monkeypatch: pytest.MonkeyPatch, table: Table, **settings: Any) -> list[Validation]:
    """Train briefly; validate with all rows in a batch, in batches of seven, and one by one."""
    found: list[Validation] = []

    def recorded(network: Any, examples: Any, targets: Any, _precision: str) -> Validation:
        for most in (1000, 7, 1):
            monkeypatch.setattr("polymodal.training.validation.inference_batch_size", lambda _, most=most: most)
            found.append(validate(network, examples, targets))
        return found[-1]

    monkeypatch.setattr(trainer, "validate", recorded)
    tiny.train(table, ["kind", "weight"], settings={"train.epochs": 1} | settings)
    return found[:3]


@pytest.mark.parametrize("fusion", ["transformer", "vote"])
def test_losses_do_not_depend_on_the_batches(monkeypatch: pytest.MonkeyPatch, table: Table, fusion: str) -> None:
    weights = [None if row % 3 else cell for row, cell in enumerate(table.columns["weight"])]
    holed = tiny.with_cells(tiny.only(table, "note", "size", "colour", "kind", "weight"), weight=weights)
    whole, *others = validations_of(monkeypatch, holed, **{"fusion.name": fusion})
    for other in others:
        assert other.loss == pytest.approx(whole.loss, rel=1e-5)
        assert other.term_losses == pytest.approx(whole.term_losses, rel=1e-5)
        assert other.scores == pytest.approx(whole.scores, rel=1e-5)


def test_validation_uses_the_precision_of_training_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch, table: Table
) -> None:
    found: dict[str, Validation] = {}
    asked: set[str] = set()

    def recorded(network: Any, examples: Any, targets: Any, precision: str) -> Validation:
        asked.add(precision)
        found.update({kind: validate(network, examples, targets, kind) for kind in ("float32", "bfloat16")})
        return found["float32"]

    monkeypatch.setattr(trainer, "validate", recorded)
    settings = {"train.epochs": 2, "train.precision": "bfloat16"}
    tiny.train(tiny.only(table, "note", "photo", "size", "kind", "weight"), ["kind", "weight"], settings=settings)
    assert asked == {"bfloat16"}
    assert found["bfloat16"].loss == pytest.approx(found["float32"].loss, rel=0.02)
    assert found["bfloat16"].loss != found["float32"].loss
    assert found["bfloat16"].term_losses == pytest.approx(found["float32"].term_losses, rel=0.02)
