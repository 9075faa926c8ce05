"""What is told of a table before training: one notice for each kind of thing, none where there is nothing to tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from polymodal.data.notes.notice import NOTICE_KINDS, Notice, in_order, name_columns
from polymodal.data.notes.part import Part
from polymodal.data.notes.table_notices import notice_lines, table_notices
from polymodal.data.schema.schema import infer_schema
from polymodal.data.tables.table import Table
from polymodal.modalities import MODALITIES, build_settings

ROWS = 200
RANDOM = np.random.default_rng(0)
LABELS = [("p", "n")[row % 2] for row in range(ROWS)]
NOISE = RANDOM.normal(size=ROWS).round(6).tolist()


def told(columns: dict[str, Any], *, test: dict[str, Any] | None = None, folder: Path | None = None,
         targets: tuple[str, ...] = ("y",), **options: Any) -> list[Notice]:  # fmt: skip
    """Return the notices of a table whose training part has the given columns; without a test part it is not split."""
    table = Table({"noise": NOISE[: len(next(iter(columns.values())))], **columns}, folder=folder, name="t.csv")
    schema = infer_schema(table, targets=targets, **options)
    parts = [Part("training" if test else "", schema.with_derived(table), np.arange(table.num_rows))]
    if test is not None:
        rows = len(next(iter(test.values())))
        other = Table({"noise": [9.0 + row for row in range(rows)], **test}, folder=folder, name="test.csv")
        parts.append(Part("test", schema.with_derived(other), np.arange(rows)))
    return table_notices(schema, parts, {})


def only(notices: list[Notice], kind: str) -> Notice:
    (found,) = [notice for notice in notices if notice.kind == kind]
    return found


def kinds(notices: list[Notice]) -> set[str]:
    return {notice.kind for notice in notices}


def test_an_ordinary_table_has_nothing_to_tell() -> None:
    size = [float(label == "p") + noise for label, noise in zip(LABELS, NOISE[::-1], strict=True)]
    test = {"size": [0.5 + row for row in range(40)], "y": LABELS[:40], "colour": ["red", "blue"] * 20}
    assert told({"size": size, "colour": ["red", "red", "blue", "green"] * 50, "y": LABELS}, test=test) == []


def test_dropped_columns_are_folded_by_reason_and_family() -> None:
    flat = {f"margin{number}": ["7"] * ROWS for number in range(1, 193)}
    notices = told({**flat, "code": [f"u{row * 37}" for row in range(ROWS)], "hole": [None] * ROWS, "y": LABELS})
    sentences = [notice.sentence for notice in notices if notice.kind == "dropped"]
    assert sentences[0] == "'margin1' to 'margin192' (192 columns) are left out: every cell is the same: 7."
    assert sentences[1].startswith("'code' is left out: every cell is different: an identifier (such as 'u0').")
    assert sentences[2] == "'hole' is left out: every cell is empty."
    assert only([notice for notice in notices if len(notice.columns) > 1], "dropped").columns == tuple(flat)


def test_columns_that_the_user_left_out_are_no_news() -> None:
    assert told({"code": ["u"] * ROWS, "y": LABELS}, drop=["code"]) == []


def test_words_for_missing_numbers_are_counted() -> None:
    cells = ["NA" if row % 10 == 0 else "?" if row == 3 else str(value) for row, value in enumerate(NOISE[::-1])]
    notice = only(told({"size": cells, "y": LABELS}), "missing_words")
    assert notice.sentence == "Read as missing in 'size': 'NA' (20 times) and '?' (1 times), in the 200 rows looked at."
    assert (notice.columns, notice.rows) == (("size",), 21)


@pytest.mark.parametrize(("write", "how"), [
    (lambda value: f"${1000 + value:,.2f}", "in $"),
    (lambda value: f"{value:.3f}".replace(".", ","), "with a decimal comma"),
    (lambda value: f"{value:.3f} kg", "in kg"),
    (lambda value: f"{value:.3f}%", "in %"),
])  # fmt: skip
def test_the_form_of_written_numbers_is_told(write: Any, how: str) -> None:
    notice = only(told({"size": list(map(write, NOISE[::-1])), "y": LABELS}), "number_form")
    assert notice.sentence == f"'size': numbers are read {how}."


def test_numbers_among_other_texts_are_told() -> None:
    cells = [f"row {row}" if row % 3 == 0 else f"{value:.3f}" for row, value in enumerate(NOISE[::-1])]
    assert "--modality size=number" in only(told({"size": cells, "y": LABELS}), "number_like").sentence


def test_codes_dates_and_labels_are_no_numbers_in_disguise() -> None:
    codes = [f"A{row % 30}" for row in range(ROWS)]
    days = [f"2024-{1 + row % 12:02}" for row in range(ROWS)]
    zips = [f"0{1000 + row % 50}" for row in range(ROWS)]
    assert "number_like" not in kinds(told({"code": codes, "day": days, "zip": zips, "y": LABELS}))


@pytest.mark.parametrize("value", [-999, 99999, 1e9, -1.0])
def test_a_sentinel_is_told_with_all_its_columns(value: float) -> None:
    cells = [value if row % 20 == 0 else 5 + abs(noise) for row, noise in enumerate(NOISE[::-1])]
    notice = only(told({"size": cells, "other": cells[1:] + cells[:1], "y": LABELS}), "sentinel")
    assert notice.columns == ("size", "other")
    assert f"the number {value:,.12g} stands far from all others 20 times" in notice.sentence


def test_one_value_that_squeezes_the_scale_is_told() -> None:
    cells = [1e6 if row == 3 else noise for row, noise in enumerate(NOISE[::-1])]
    notice = only(told({"size": cells, "y": LABELS}), "sentinel")
    assert "'size': 1 value (such as 1,000,000)" in notice.sentence


def test_one_number_far_from_the_others_is_told_of_a_target() -> None:
    cells = [1e6 if row == 3 else noise for row, noise in enumerate(NOISE[::-1])]
    notice = only(told({"size": NOISE, "y": cells}), "sentinel")
    assert notice.columns == ("y",)
    assert "The model learns them more than all others." in notice.sentence


def test_numbers_with_long_tails_have_no_sentinels() -> None:
    prices = np.exp(2 * np.array(NOISE[::-1])).round(2).tolist()
    counts = [row % 7 for row in range(ROWS)]
    assert told({"price": prices, "count": counts, "flag": [row % 3 // 2 for row in range(ROWS)], "y": LABELS}) == []


def test_columns_that_hold_the_same_are_told_and_kept() -> None:
    sizes = NOISE[::-1]
    notice = only(told({"size": sizes, "copy": sizes, "y": LABELS}), "same_column")
    assert notice.sentence.startswith("'copy' holds the same as 'size'")


def test_a_copy_of_the_target_is_a_leak() -> None:
    notice = only(told({"copy": [label.upper() for label in LABELS], "y": LABELS}), "leak")
    assert "'copy' is equal to the target 'y' in all 200 rows looked at" in notice.sentence
    assert "--drop copy" in notice.sentence


def test_a_code_for_each_class_is_a_leak() -> None:
    notice = only(told({"code": [7 if label == "p" else 9 for label in LABELS], "y": LABELS}), "leak")
    assert "one to one" in notice.sentence


@pytest.mark.parametrize("leak", [
    lambda row, label: (label == "p") + 0.001 * NOISE[row],
    lambda row, label: None if label == "p" else NOISE[row],
    lambda row, label: "2024-03-0" + str(1 + row % 9) if label == "p" else None,
    lambda row, label: f"{label}{row % 7}",
    lambda row, label: row % 9 + 10 * (label == "p"),
])  # fmt: skip
def test_a_column_that_is_near_perfect_alone_is_a_leak_with_its_figure(leak: Any) -> None:
    cells = [leak(row, label) for row, label in enumerate(LABELS)]
    notice = only(told({"late": cells, "y": LABELS}), "leak")
    assert "'late' alone tells 'y' right in 100.0% of held-out training rows" in notice.sentence


def test_a_good_column_is_no_leak() -> None:
    cells = [(label == "p") + 0.3 * noise for label, noise in zip(LABELS, NOISE[::-1], strict=True)]
    assert told({"size": cells, "y": LABELS}) == []


def test_text_that_names_its_class_is_a_leak() -> None:
    labels = [("spam", "ham")[row % 2] for row in range(ROWS)]
    texts = [f"message {row} of the week, filed under {label} by a clerk" for row, label in enumerate(labels)]
    assert "names the right 'y'" in only(told({"mail": texts, "y": labels}), "leak").sentence


@pytest.mark.parametrize("leak", [lambda y: y, lambda y: 3 * y + 1, lambda y: np.exp(y), lambda y: -(y**3)])
def test_a_column_in_the_order_of_a_number_is_a_leak(leak: Any) -> None:
    truth = np.array(NOISE[::-1]) * 3
    notice = only(told({"copy": leak(truth).tolist(), "y": truth.tolist()}), "leak")
    assert "'copy'" in notice.sentence


def test_leaks_are_measured_on_a_class_that_is_rare_too() -> None:
    labels = ["yes" if row % 20 == 0 else "no" for row in range(ROWS)]
    majority_only = ["b" if row % 20 == 1 else "a" for row in range(ROWS)]
    assert "leak" not in kinds(told({"kind": majority_only, "y": labels}))
    assert "leak" in kinds(told({"kind": ["b" if label == "yes" else ("a", "c")[row % 3 // 2] for row, label in
                                          enumerate(labels)], "y": labels}))  # fmt: skip


def test_repeated_rows_make_no_number_a_leak() -> None:
    notices = told(
        {"size": NOISE[:50] * 4, "noise": NOISE[50:100] * 4, "y": RANDOM.permutation(LABELS)[:50].tolist() * 4}
    )
    assert kinds(notices) == {"duplicate"}
    assert "150 of 200 rows repeat the inputs of another row" in only(notices, "duplicate").sentence


def test_rows_on_both_sides_are_counted_whatever_their_type() -> None:
    train = {"noise": NOISE, "size": list(range(ROWS)), "y": LABELS}
    test = {
        "noise": [str(value) for value in NOISE[:30]] + [5.5] * 10,
        "size": list(map(str, range(40))),
        "y": LABELS[:40],
    }
    notice = only(told(train, test=test), "duplicate")
    assert notice.sentence.startswith("30 of 40 test rows have the same inputs as a training row")
    assert (notice.rows, notice.of_rows) == (30, 40)


def test_equal_files_of_other_names_are_the_same_row(tmp_path: Path) -> None:
    for row in range(60):
        soundfile.write(tmp_path / f"{row}.wav", RANDOM.normal(size=80), 8000)
    for row in range(5):
        (tmp_path / f"again{row}.wav").write_bytes((tmp_path / f"{row}.wav").read_bytes())
    names = {"train": [f"{row}.wav" for row in range(40)], "test": [f"again{row}.wav" for row in range(5)]}
    names["test"] += [f"{row}.wav" for row in range(40, 60)]
    tables = {
        split: Table({"clip": found, "y": LABELS[: len(found)]}, tmp_path, split) for split, found in names.items()
    }
    schema = infer_schema(tables["train"], targets=["y"])
    parts = [Part(name, table, np.arange(table.num_rows)) for name, table in tables.items()]
    assert "5 of 25 test rows" in only(table_notices(schema, parts, {}), "duplicate").sentence


def test_a_few_labels_repeat_by_their_nature() -> None:
    columns = {"noise": [1, 2] * 100, "colour": ["red", "red", "blue", "blue"] * 50, "y": LABELS}
    assert "duplicate" not in kinds(told(columns, test=columns))


def test_equal_rows_with_other_answers_are_told() -> None:
    sizes = [*NOISE[:100], *NOISE[:4], *NOISE[104:]]
    labels = [*LABELS[:100], "n", "n", "n", "n", *LABELS[104:]]
    notice = only(told({"noise": sizes, "size": sizes, "y": labels}), "conflict")
    assert notice.rows == 4
    expected = "4 rows of the 200 rows have the same inputs as another one and another 'y' (such as rows "
    assert notice.sentence.startswith(expected)


@pytest.mark.parametrize("name", ["speaker", "patient_id", "subjectID", "User", "session_no", "album_id"])
def test_groups_on_both_sides_are_told_with_the_option(name: str) -> None:
    columns = {name: [f"g{row % 20}" for row in range(ROWS)], "y": LABELS}
    notice = only(told(columns, test={name: [f"g{15 + row % 10}" for row in range(40)], "y": LABELS[:40]}), "group")
    assert f"--group {name}" in notice.sentence
    assert "20 of 40 test rows" in notice.sentence


@pytest.mark.parametrize("name", ["user_age", "category_id", "colour", "class_id", "id"])
def test_other_columns_are_no_groups(name: str) -> None:
    values = {"id": [f"g{row}" for row in range(ROWS)]}.get(name, [f"g{row % 20}" for row in range(ROWS)])
    assert "group" not in kinds(told({name: values, "y": LABELS}, test={name: values, "y": LABELS}))


@pytest.mark.parametrize("path", ["s{group}_{row}.wav", "s{group}/{row}.wav", "a/s{group}-take-{row}.flac"])
def test_files_named_by_group_are_told(path: str) -> None:
    columns = {"clip": [path.format(group=row % 10, row=row) for row in range(ROWS)], "y": LABELS}
    notice = only(told(columns, test={name: cells[:20] for name, cells in columns.items()}), "group")
    assert "of 'clip'" in notice.sentence
    assert "--group" in notice.sentence


def test_folders_of_classes_and_numbered_files_are_no_groups() -> None:
    columns = {"clip": [f"{label}/img_{row}.png" for row, label in enumerate(LABELS)], "y": LABELS}
    assert "group" not in kinds(told(columns, test=columns))


def test_small_classes_are_named_and_imbalance_is_told() -> None:
    labels = ["rare" if row < 3 else LABELS[row] for row in range(ROWS)]
    notices = told({"y": labels}, test={"y": LABELS[:40]})
    small = "'y': 1 of 3 classes has fewer than 5 rows in a part of the split: 'rare' (3 training, 0 test). "
    assert only(notices, "small_class").sentence.startswith(small)
    assert "macro F1" in only(notices, "imbalance").sentence


@pytest.mark.parametrize(("modality", "cells", "settings", "expected"), [
    ("audio", [(np.zeros(4000 * seconds, np.float32), 4000) for seconds in (1, 2, 3, 4)], {"max_duration_s": 2.5},
     (2, 4, "are longer than 2.5 s; only the first 2.5 s are used", "max_duration_s")),
    ("audio", [(np.zeros(16000, np.float32), 4000)], {"max_duration_s": 4, "features": "waveform"},
     (0, 1, "are longer than 4 s; only the first 4 s are used", "max_duration_s")),
    ("text", ["a b c d e f g h i", *["a b c"] * 9], {"max_length": 4, "tokenizer": "word"},
     (1, 10, "have more than 4 tokens; only the first 4 are used", "max_length")),
    ("series", [np.ones((steps, 2)) for steps in (5, 9, 20)], {"max_length": 8},
     (2, 3, "have more than 8 samples; they are shortened to means of neighbouring samples", "max_length")),
    ("points", [np.ones((points, 3)) for points in (5, 9)], {"points": 6},
     (1, 2, "have more than 6 points in a frame; so many are drawn at random", "points")),
    ("video", [np.zeros((4, 8, 8, 3), np.uint8)], {}, (0, 1, "are longer than 600 s; only the first 600 s are used",
                                                      "max_duration_s")),
])  # fmt: skip
def test_cells_that_are_longer_than_what_is_read_are_counted(
    modality: str, cells: list[Any], settings: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    fitted = MODALITIES[modality].fit(cells, build_settings(modality, settings), None, num_threads=1)
    cut = fitted.cut(cells, None, num_threads=1)
    assert cut is not None
    assert (cut.num_cut, cut.num_cells, cut.effect, cut.option) == expected


def test_columns_are_named_by_family() -> None:
    assert name_columns(["a"]) == "'a'"
    assert name_columns(["m1", "m2", "m3"]) == "'m1', 'm2' and 'm3'"
    assert name_columns([f"x{number}y" for number in range(8000)]) == "'x0y' to 'x7999y' (8,000 columns)"
    assert name_columns(list("abcdefgh")) == "'a', 'b', 'c', 'd', 'e' and 3 more"


def test_many_notices_of_one_kind_are_few_lines() -> None:
    notices = [Notice(kind=kind, sentence=f"{kind} {number}") for kind in NOTICE_KINDS for number in range(9)]
    lines = notice_lines([notice.state() for notice in in_order(reversed(notices))])
    assert lines[0] == "What I did with your table:"
    assert lines[1:6] == [f"- dropped {number}" for number in (8, 7, 6, 5)] + [
        "- and 5 more of this kind; the report lists them."
    ]
    assert notice_lines([]) == []
