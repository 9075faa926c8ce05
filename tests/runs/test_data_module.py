"""From tables to examples: what training may see, what is set aside, what stops."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from polymodal.config import build_config
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table
from polymodal.errors import CellError, ConfigError, SchemaError
from polymodal.model.collate import collate_examples
from polymodal.progress import SilentProgress
from polymodal.runs.data_module import DataModule, Tables, build_data_module


@pytest.fixture(scope="module")
def other(table: Table) -> Table:
    assert table.folder is not None
    return Table(tiny.write_table(table.folder, rows=20, seed=5).columns, table.folder, "other")


@pytest.mark.parametrize("split_by", [{}, {"group": "person"}, {"time": "age"}])
def test_shares_of_held_out_rows_are_chosen(split_by: dict[str, str]) -> None:
    table = numbers(100, person=[row // 2 for row in range(100)])
    found = run(table, target=["kind"], validation_share=0.3, test_share=0.1, **split_by)
    assert {split: len(part) for split, part in found.splits.items()} == {"train": 60, "validation": 30, "test": 10}
    assert "test" not in run(table, target=["kind"], test_share=0, **split_by).splits


def run(train: Table, validation: Table | None = None, test: Table | None = None, **options: Any) -> DataModule:
    values = {"target": list(tiny.TARGETS), **options}
    tables = Tables(train=train, validation=validation, test=test)
    return build_data_module(tables, build_config(values), ArrayCache(None), SilentProgress())


def fitted_state(data_module: DataModule) -> Any:
    """Return everything that was learned from cells, and the columns' modalities (not the words that explain them)."""
    kinds = {column.name: column.modality for column in data_module.schema.columns}
    targets = {name: target.state() for name, target in data_module.targets.items()}
    return data_module.preprocessor.state()["modalities"], kinds, targets


def numbers(rows: int = 40, **columns: list[Any]) -> Table:
    return Table(tiny.numbers_table(rows) | columns, name="numbers")


def disturbed(table: Table, rows: set[int]) -> Table:
    """Change every feature cell of some rows, keeping each column's kind."""
    changes: dict[str, Any] = {
        "photo": table.columns["photo"][0],
        "sound": "sounds/none.wav",
        "note": "it says something else altogether",
        "code": "[9.0, 9.0, 9.0, 9.0]",
        "size": "12345.678",
        "colour": "violet",
        "day": "1970-01-01",
    }
    columns = {
        name: [changes[name] if row in rows else cell for row, cell in enumerate(table.columns[name])]
        for name in changes
    }
    return tiny.with_cells(table, **columns)


def test_rows_are_split_three_ways(table: Table) -> None:
    data_module = run(table)
    rows = {split: set(examples.rows.tolist()) for split, examples in data_module.splits.items()}
    assert list(rows) == ["train", "validation", "test"]
    assert set.union(*rows.values()) == set(range(table.num_rows))
    assert sum(map(len, rows.values())) == table.num_rows


def test_fitting_never_sees_held_out_rows_of_the_table(table: Table) -> None:
    before = run(table)
    held_out = {int(row) for split in ("validation", "test") for row in before.splits[split].rows}
    after = run(disturbed(table, held_out))
    assert [examples.rows.tolist() for examples in after.splits.values()] == [
        examples.rows.tolist() for examples in before.splits.values()
    ]
    assert fitted_state(after) == fitted_state(before)


def test_fitting_never_sees_given_validation_and_test_tables(table: Table, other: Table) -> None:
    every = set(range(other.num_rows))
    changed = tiny.with_cells(
        disturbed(other, every), kind=["yak"] * 10 + ["cat"] * 10, weight=["999"] * 20, tags=["huge|loud"] * 20
    )
    renamed = Table(changed.columns, changed.folder, "renamed")
    before = run(table, Table(other.columns, other.folder, "validation"), other)
    after = run(table, Table(changed.columns, changed.folder, "validation"), renamed)
    assert fitted_state(after) == fitted_state(before)


def test_training_rows_do_move_the_fit(table: Table) -> None:
    before = run(table)
    assert fitted_state(run(disturbed(table, {int(before.splits["train"].rows[0])}))) != fitted_state(before)


def test_rows_without_target_are_set_aside_and_counted() -> None:
    table = numbers()
    kinds = [None if row in (3, 7) else cell for row, cell in enumerate(table.columns["kind"])]
    data_module = run(tiny.with_cells(table, kind=kinds), target=["kind"])
    used = {int(row) for examples in data_module.splits.values() for row in examples.rows}
    assert used == set(range(40)) - {3, 7}
    assert data_module.set_aside == {"numbers": 2}


def test_rows_with_one_of_two_targets_are_kept() -> None:
    table = numbers(weight=[None if row % 4 == 0 else row / 2 for row in range(40)])
    data_module = run(table, target=["kind", "weight"])
    assert sum(len(examples) for examples in data_module.splits.values()) == 40
    assert not data_module.splits["train"].known["weight"].all()
    assert data_module.splits["train"].known["kind"].all()


def test_labels_unseen_in_training_are_set_aside_and_counted() -> None:
    test = tiny.with_cells(numbers(20), kind=["cat", "yak", None, "dog"] * 5)
    data_module = run(numbers(), test=Table(test.columns, name="test"), target=["kind"])
    assert data_module.splits["test"].rows.tolist() == [row for row in range(20) if row % 4 in (0, 3)]
    assert data_module.set_aside == {"numbers": 0, "test": 10}


def test_targets_that_cannot_be_read_are_set_aside_and_counted() -> None:
    weights = [str(row) for row in range(40)]
    weights[5] = "n/a"
    data_module = run(numbers(weight=weights), target=["weight"], modality={"weight": "number"})
    assert sum(len(examples) for examples in data_module.splits.values()) == 39
    assert data_module.set_aside == {"numbers": 1}


@pytest.mark.parametrize("wrong", ["plenty", float("inf"), float("-inf"), "1_000", True])
def test_numbers_to_predict_that_cannot_be_read_are_told_and_named(wrong: Any) -> None:
    weights = [wrong if row % 10 == 5 else "n/a" if row == 7 else row / 2 for row in range(40)]
    data_module = run(numbers(weight=weights), target=["weight"], modality={"weight": "number"})
    told = [notice for notice in data_module.table_notices if notice.kind == "set_aside"]
    if wrong in (True, "1_000"):  # Python's numbers
        assert (told, data_module.broken) == ([], [])
        return
    assert [notice.sentence for notice in told] == [
        f"numbers, 'weight': 4 of 40 cells hold no finite number (such as row 6: {wrong!r}); these rows are set aside."
    ]
    assert [cell.row for _, cell in data_module.broken] == [6, 16, 26, 36]
    with pytest.raises(CellError, match=r"row 6, column 'weight': .* is no finite number"):
        run(numbers(weight=weights), target=["weight"], modality={"weight": "number"}, strict=True)


def test_rows_of_unknown_classes_and_without_a_target_are_told_before_training() -> None:
    class Lines(SilentProgress):
        def message(self, text: str, level: int = logging.INFO) -> None:
            lines.append(text)

    lines: list[str] = []
    kinds = [None if row < 3 else cell for row, cell in enumerate(numbers().columns["kind"])]
    test = Table(tiny.with_cells(numbers(20), kind=["cat", "yak", None, "dog"] * 5).columns, name="test")
    tables = Tables(train=numbers(kind=kinds), test=test)
    build_data_module(tables, build_config({"target": ["kind"]}), ArrayCache(None), Lines())
    assert lines[:4] == [
        "What I did with your table:",
        "- numbers: 3 of 40 rows without a value of 'kind' are set aside.",
        "- test: 5 of 20 rows without a value of 'kind' are set aside.",
        "- test, 'kind': 5 of 20 cells are of no class that a training row has (such as 'yak'); these rows are set "
        "aside.",
    ]


def test_without_a_target_rows_of_one_stream_are_told(table: Table) -> None:
    data_module = run(tiny.only(table, "photo", "note"), target=[])
    (notice,) = [notice for notice in data_module.table_notices if notice.kind == "set_aside"]
    assert notice.rows == sum(data_module.set_aside.values()) > 0
    assert "rows with too few streams present are set aside" in notice.sentence


def test_files_that_are_not_there_are_counted(table: Table) -> None:
    photos = [f"photos/none{row}.png" if row % 4 == 0 else cell for row, cell in enumerate(table.columns["photo"])]
    told = run(tiny.with_cells(table, photo=photos), target=["kind"]).table_notices
    (notice,) = [notice for notice in told if notice.kind == "absent_files"]
    assert notice.sentence.startswith("'photo': 20 of ")
    assert "none0.png" in notice.sentence


def test_broken_cells_are_counted_by_table_and_row(table: Table, other: Table) -> None:
    train = tiny.with_cell(table, "photo", 6, "photos/none.png")
    data_module = run(train, test=tiny.with_cell(other, "size", 0, "big"))
    found = [(name, cell.row, cell.column) for name, cell in data_module.broken]
    assert sorted(found) == [("other", 1, "size"), ("tiny", 7, "photo")]
    assert not data_module.splits["train"].columns["photo"].present[6]


def test_a_strict_run_stops_at_the_first_broken_cell(table: Table) -> None:
    broken = tiny.with_cell(table, "photo", 6, "photos/none.png")
    with pytest.raises(CellError, match=r"^tiny, row 7, column 'photo': .* A strict run stops here \(1 such cells\)"):
        run(broken, strict=True)


def test_groups_stand_on_one_side_and_are_not_learned_from() -> None:
    table = numbers(60, person=[f"p{row % 12}" for row in range(60)])
    data_module = run(table, target=["kind"], group="person")
    sides = [{table.columns["person"][row] for row in part.rows} for part in data_module.splits.values()]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    assert "person" not in data_module.preprocessor.column_names


def test_a_validation_table_that_shares_groups_is_pooled_and_said() -> None:
    train = numbers(40, person=[f"p{row % 10}" for row in range(40)])
    validation = Table(numbers(20, person=[f"p{row % 10}" for row in range(20)]).columns, name="validation")
    test = Table(numbers(20, person=[f"p{9 + row % 4}" for row in range(20)]).columns, name="test")
    data_module = run(train, validation, test, target=["kind"], group="person")
    rows = {split: data_module.splits[split].rows for split in ("train", "validation")}
    people = data_module.tables["train"].columns["person"]
    assert not {people[row] for row in rows["train"]} & {people[row] for row in rows["validation"]}
    assert len(rows["train"]) + len(rows["validation"]) == 60
    told = [notice.sentence for notice in data_module.table_notices if notice.kind == "group"]
    assert told[0].startswith("validation shares 10 groups of 'person' with numbers")
    assert told[1].startswith("test shares 1 groups of 'person'")


def test_the_latest_rows_are_held_out() -> None:
    table = numbers(40, when=[f"2024-02-{1 + row % 20:02}" for row in range(40)])
    data_module = run(table, target=["kind"], time="when")
    when = {split: [table.columns["when"][row] for row in part.rows] for split, part in data_module.splits.items()}
    assert max(when["train"]) <= min(when["validation"])
    assert max(when["validation"]) <= min(when["test"])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": ["size"], "relevance": "age"}, ConfigError, "Leave out --target or --relevance"),
        ({"relevance": "person"}, SchemaError, r"numbers has no column 'person' \(from --relevance\)"),
        ({"group": "person"}, SchemaError, r"numbers has no column 'person' \(from --group\). Its columns: size"),
        ({"time": "when"}, SchemaError, r"numbers has no column 'when' \(from --time\)"),
        ({"group": "age", "time": "size"}, ConfigError, "follow --group or --time, not both"),
        ({"settings": {"photo": {"size": 8}}}, ConfigError, "There is no stream 'photo' to give settings to"),
        ({"target": ["price"]}, SchemaError, "'price'"),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(options: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        run(numbers(), **{"target": ["kind"], **options})


def test_test_rows_without_any_known_truth_stop() -> None:
    test = Table(tiny.with_cells(numbers(20), kind=["yak"] * 20).columns, name="test")
    with pytest.raises(SchemaError, match="test: no test row has a target value known from training"):
        run(numbers(), test=test, target=["kind"])


def test_a_target_without_any_value_stops() -> None:
    with pytest.raises(SchemaError, match="kind"):
        run(tiny.with_cells(numbers(), kind=[None] * 40), target=["kind"])


def test_a_batch_holds_the_rows_asked_for(table: Table) -> None:
    examples = run(table).splits["train"]
    batch = collate_examples(examples, np.array([4, 1]))
    for stream, column in batch.items():
        assert column.row_present.tolist() == examples.columns[stream].row_present[examples.rows[[4, 1]]].tolist()


def test_relative_paths_begin_at_each_tables_folder(tmp_path: Path) -> None:
    first, second = (tiny.write_table(tmp_path / name, rows=24, seed=seed) for seed, name in enumerate("ab"))
    data_module = run(Table(first.columns, first.folder, "a"), test=Table(second.columns, second.folder, "b"))
    assert data_module.broken == []
