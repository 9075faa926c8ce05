"""Splits: proportions, groups and time."""

from __future__ import annotations

import datetime as dt
from collections import Counter

import numpy as np
import pytest

from polymodal.data.tables.splits import check_groups, split_rows
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError, SchemaError


def cells_of(table: Table, column: str, rows: np.ndarray) -> list[object]:
    return [table.columns[column][row] for row in rows]


def test_parts_cover_every_row_once() -> None:
    table = Table({"label": ["a", "b", "c", None] * 25})
    parts = split_rows(table, targets=["label"], fractions={"validation": 0.1, "test": 0.2}, seed=3)
    assert list(parts) == ["train", "validation", "test"]
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(100))
    assert {part: len(rows) for part, rows in parts.items()} == {"train": 70, "validation": 10, "test": 20}
    assert all(rows.dtype == np.int64 and (np.diff(rows) > 0).all() for rows in parts.values())


def test_seed_decides() -> None:
    table = Table({"label": ["a", "b"] * 50})
    first, again, other = (
        split_rows(table, targets=["label"], fractions={"test": 0.2}, seed=s)["test"].tolist() for s in (1, 1, 2)
    )
    assert first == again != other


def test_labels_keep_their_share_and_rare_ones_train() -> None:
    table = Table({"label": ["common"] * 80 + ["seldom"] * 18 + ["pair"] * 2 + ["once"]})
    for seed in range(5):
        parts = split_rows(table, targets=["label"], fractions={"validation": 0.2, "test": 0.2}, seed=seed)
        held = Counter(cells_of(table, "label", parts["validation"]))
        assert held["common"] in {15, 16, 17}
        assert held["seldom"] in {3, 4}
        assert "once" in cells_of(table, "label", parts["train"])
        assert "pair" in cells_of(table, "label", parts["train"])


def test_numbers_that_hardly_repeat_are_split_at_random() -> None:
    table = Table({"price": [index + 0.5 for index in range(40)]})
    parts = split_rows(table, targets=["price"], fractions={"validation": 0.25})
    assert len(parts["validation"]) == 10
    assert parts["validation"].tolist() != list(range(10))


def test_one_of_five_equal_groups_is_held_out() -> None:
    table = Table({"who": list("abcde") * 20, "label": ["x", "y"] * 50})
    chosen = set()
    for seed in range(10):
        parts = split_rows(table, targets=["label"], group="who", fractions={"validation": 0.2}, seed=seed)
        held = set(cells_of(table, "who", parts["validation"]))
        assert len(held) == 1
        assert check_groups(cells_of(table, "who", parts["train"]), cells_of(table, "who", parts["validation"])) == []
        chosen |= held
    assert len(chosen) > 1


def test_groups_come_near_the_fraction() -> None:
    sizes = [50, 7, 30, 3, 10]
    table = Table({"who": [str(group) for group, size in enumerate(sizes) for _ in range(size)]})
    for seed in range(5):
        parts = split_rows(table, group="who", fractions={"test": 0.1}, seed=seed)
        assert len(parts["test"]) == 10


def test_three_parts_by_group_share_no_group() -> None:
    table = Table({"who": [1, 1.0, "1", 2, 3, 3, 4, 5, 5, None]})
    parts = split_rows(table, group="who", fractions={"validation": 0.2, "test": 0.2})
    sides = [cells_of(table, "who", rows) for rows in parts.values()]
    assert (
        check_groups(sides[0], sides[1]) == check_groups(sides[0], sides[2]) == check_groups(sides[1], sides[2]) == []
    )
    assert all(len(rows) for rows in parts.values())
    assert None in sides[0]


def test_check_groups_names_the_overlap() -> None:
    assert check_groups(["b", 1, None, "a"], ["a", 1.0, None]) == ["1", "a"]


def test_too_few_groups() -> None:
    table = Table({"who": ["a"] * 10})
    with pytest.raises(SchemaError, match="'who' has 1 group, expected 2 at least"):
        split_rows(table, group="who", fractions={"validation": 0.2})


@pytest.mark.parametrize(
    "times",
    [
        [f"2024-{month:02d}-01" for month in range(1, 11)],
        [dt.date(2015 + year, 1, 1) for year in range(10)],
        [str(year) for year in range(2010, 2020)],
        [f"{day}/3/2024" for day in range(10, 20)],
        [float(index) for index in range(10)],
    ],
)
def test_the_latest_rows_are_held_out(times: list[object]) -> None:
    order = np.random.default_rng(0).permutation(10)
    table = Table({"when": [times[i] for i in order]})
    parts = split_rows(table, time="when", fractions={"validation": 0.2, "test": 0.3})
    assert set(cells_of(table, "when", parts["test"])) == set(times[7:])
    assert set(cells_of(table, "when", parts["validation"])) == set(times[5:7])


def test_rows_without_a_time_train() -> None:
    table = Table({"when": ["2024-01-01", None, "soon", "2024-01-02", "2024-01-03"]})
    parts = split_rows(table, time="when", fractions={"test": 0.2})
    assert parts["test"].tolist() == [4]
    assert {1, 2} <= set(parts["train"].tolist())


def test_no_readable_time() -> None:
    with pytest.raises(SchemaError, match=r"'when' has 0 rows whose time can be read.*Got 'soon', 'later'"):
        split_rows(Table({"when": ["soon", "later"]}), time="when", fractions={"test": 0.5})


def test_requests_that_cannot_be() -> None:
    table = Table({"label": ["a", "b"], "group": ["x", "y"]})
    with pytest.raises(SchemaError, match=r"no column 'grp' \(from --group\). Did you mean 'group'"):
        split_rows(table, group="grp", fractions={"test": 0.5})
    with pytest.raises(ConfigError, match="not by both"):
        split_rows(table, group="group", time="label", fractions={"test": 0.5})
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        split_rows(table, fractions={"validation": 0.5, "test": 0.5})
    with pytest.raises(SchemaError, match="has 2 rows, too few"):
        split_rows(table, fractions={"validation": 0.2, "test": 0.2})
    assert {part: len(rows) for part, rows in split_rows(table, fractions={"test": 0.1}).items()} == {
        "train": 1,
        "test": 1,
    }


def test_all_labels_different_still_leaves_a_test_row() -> None:
    parts = split_rows(Table({"label": ["a", "a", "b"]}), targets=["label"], fractions={"validation": 0.3})
    assert len(parts["validation"]) == 1
