"""The look at validation: the same losses however the rows are divided."""

from __future__ import annotations

from typing import Any

import pytest

import tiny
from polymodal import train
from polymodal.table import Table
from polymodal.validate import Validation, validate


def looks_at(monkeypatch: pytest.MonkeyPatch, table: Table, **settings: Any) -> list[Validation]:
    """Train a little; look at the validation rows at once, in batches of seven, and by themselves."""
    found: list[Validation] = []

    def looked(network: Any, examples: Any, targets: Any) -> Validation:
        for most in (1000, 7, 1):
            monkeypatch.setattr("polymodal.validate.rows_at_once", lambda _, most=most: most)
            found.append(validate(network, examples, targets))
        return found[-1]

    monkeypatch.setattr(train, "validate", looked)
    tiny.train(table, ["kind", "weight"], settings={"train.epochs": 1} | settings)
    return found[:3]


@pytest.mark.parametrize("fusion", ["transformer", "vote"])
def test_losses_do_not_depend_on_the_batches(monkeypatch: pytest.MonkeyPatch, table: Table, fusion: str) -> None:
    weights = [None if row % 3 else cell for row, cell in enumerate(table.columns["weight"])]
    holed = tiny.with_cells(tiny.only(table, "note", "size", "colour", "kind", "weight"), weight=weights)
    whole, *others = looks_at(monkeypatch, holed, **{"fusion.name": fusion})
    for other in others:
        assert other.loss == pytest.approx(whole.loss, rel=1e-5)
        assert other.part_losses == pytest.approx(whole.part_losses, rel=1e-5)
        assert other.scores == pytest.approx(whole.scores, rel=1e-5)
