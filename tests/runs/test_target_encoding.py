"""Runs whose categories are encoded: out of fold in training, by all training rows afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodal
import tiny
from polymodal.config import build_config
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError
from polymodal.modalities import Tabular
from polymodal.progress import SilentProgress
from polymodal.runs.data_module import DataModule, Tables, build_data_module

ENCODED = {"settings.tabular.encoding": "target"}


def data_module(columns: dict[str, list[Any]], target: Any = "kind", **options: Any) -> DataModule:
    values = {
        "target": [target] if isinstance(target, str) else target,
        "settings": {"tabular": {"encoding": "target"}},
    }
    config = build_config({**values, **options})
    return build_data_module(Tables(train=Table(columns)), config, ArrayCache(None), SilentProgress())


def encoded(found: DataModule, split: str) -> np.ndarray:
    """Return what encoders read of the only category."""
    modality = found.preprocessor.modalities["tabular"]
    assert isinstance(modality, Tabular)
    examples = found.splits[split]
    return examples.columns["tabular"].values[examples.rows, len(modality.own_fields) :]


def test_identifiers_that_repeat_say_nothing_of_the_rows_they_were_fitted_on() -> None:
    random = np.random.default_rng(0)
    columns = {
        "size": random.normal(size=300).tolist(),
        "code": [f"c{row % 60}" for row in range(300)],
        "kind": [("cat", "dog")[label] for label in random.integers(0, 2, 300)],
    }
    found = data_module(columns, settings={"tabular": {"encoding": "target", "smoothing": 0.1}})
    truth = found.splits["train"].truth["kind"]
    seen = found.preprocessor.transform(Table(columns))[0]["tabular"].values[found.splits["train"].rows, -1]
    assert np.corrcoef(seen, truth)[0, 1] > 0.3
    assert np.corrcoef(encoded(found, "train")[:, 0], truth)[0, 1] < 0.2


def test_rows_of_a_group_stay_in_one_fold() -> None:
    table = tiny.numbers_table(120)
    found = data_module({**table, "owner": [row // 4 for row in range(120)]}, group="owner")
    assert found.target_encodings is not None
    folds = found.target_encodings.folds
    for owner in range(30):
        assert len(set(folds[owner * 4 : owner * 4 + 4])) == 1


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("kind", ["share of kind=dog"]),
        ("animal", ["share of animal=cat", "share of animal=dog", "share of animal=owl"]),
        ("age", ["mean age"]),
        ("tags", ["share of tags=furry", "share of tags=loud", "share of tags=tame"]),
    ],
)
def test_a_class_a_label_or_a_number_is_one_number(target: str, names: list[str]) -> None:
    table = tiny.numbers_table(60)
    table["animal"] = [("cat", "dog", "owl")[row % 3] for row in range(60)]
    table["tags"] = [("furry|tame", "furry|loud", "loud")[row % 3] for row in range(60)]
    used = {name: table[name] for name in dict.fromkeys(("size", "colour", target))}
    found = data_module(used, target, modality={"tags": "categories"} if target == "tags" else {})
    modality = found.preprocessor.modalities["tabular"]
    assert isinstance(modality, Tabular)
    assert sorted(modality.encodings["colour"].names) == names


def test_the_first_of_several_targets_is_encoded_unless_one_is_named() -> None:
    table, names = tiny.numbers_table(), []
    for option in ({}, {"encoding_target": "age"}):
        found = data_module(table, ["kind", "age"], settings={"tabular": {"encoding": "target", **option}})
        names.append([notice for notice in found.notices if "out of fold" in notice])
    assert "share of kind=dog" in names[0][0]
    assert "mean age" in names[1][0]


@pytest.mark.parametrize(
    ("target", "option", "sentence"),
    [
        ((), {}, "needs a category, labels or a number to predict"),
        ("kind", {"encoding_target": "kin"}, "Did you mean 'kind'?"),
    ],
)
def test_without_a_target_nothing_is_encoded(target: Any, option: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        data_module(tiny.numbers_table(), target, settings={"tabular": {"encoding": "target", **option}})


@pytest.mark.exhaustive
def test_a_hardened_run_sees_no_truth_in_noisy_copies() -> None:
    table = tiny.numbers_table(80)
    model = tiny.train(table, settings={**ENCODED, "train.harden": True})
    assert np.isfinite(model.predict_proba(table)["kind"][1]).all()


def test_a_run_says_how_it_encodes_and_answers_the_same_when_loaded(tmp_path: Path) -> None:
    table = tiny.numbers_table()
    model = tiny.train(table, settings=ENCODED, output=tmp_path / "run")
    assert any("'colour' as share of kind=dog" in notice for notice in model.report_data["notices"])
    new = {**table, "colour": ["green", None, *table["colour"][2:]]}
    again = polymodal.load(tmp_path / "run")
    np.testing.assert_array_equal(again.predict_proba(new)["kind"][1], model.predict_proba(new)["kind"][1])


@pytest.mark.exhaustive
@pytest.mark.parametrize("encoder", ["piecewise", "ft_transformer"])
def test_a_bundle_reads_the_same_numbers(encoder: str, tmp_path: Path) -> None:
    table = tiny.numbers_table()
    table |= {"shade": table["colour"], "tone": table["colour"]}
    encodings = {"colour": "target", "shade": "one_hot", "tone": "ordinal"}
    model = tiny.train(table, settings={"settings.tabular.encodings": encodings}, encoder={"tabular": encoder})
    model.export(tmp_path / "bundle", table=table)
    new = {**table, "colour": ["green", None, *table["colour"][2:]], "tone": ["green", None, *table["colour"][2:]]}
    found = polymodal.load(tmp_path / "bundle").predict_proba(new)["kind"][1]
    np.testing.assert_allclose(found, model.predict_proba(new)["kind"][1], atol=1e-4)


@pytest.mark.exhaustive
def test_explanations_name_encoded_columns() -> None:
    table = tiny.numbers_table()
    model = tiny.train(table, settings={"settings.tabular.encoding": "one_hot"})
    found = model.explain(table, rows=[1], method="gradients")
    columns = {part.place["column"] for row in found.rows for cell in row.cells for part in cell.parts}
    assert "colour" in columns
