"""All modalities through the same contract."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modality_examples import MEMBER, MODALITY_EXAMPLES, as_given, example_of, fit_example
from polymodal.arrays import Cell, Column
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.decoding import decode_column
from polymodal.modalities import MODALITIES, Modality, build_settings

VECTORS = Path(__file__).parent / "vectors.txt"
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "text of whole words": ("text", {"tokenizer": "word"}),
    "text with vectors": ("text", {"vectors": str(VECTORS)}),
    "text without stop words": ("text", {"stop_words": "english"}),
    "grey image": ("image", {"channels": 1}),
    "stereo audio": ("audio", {"channels": 2}),
    "stereo mfcc": ("audio", {"channels": 2, "features": "mfcc"}),
    "stereo waveform": ("audio", {"channels": 2, "features": "waveform"}),
    "mfcc": ("audio", {"features": "mfcc"}),
}
"""Settings that change what cells become: each goes through the same contract as its modality."""
ALL = [*MODALITIES, *FORMS]
STEREO = [(np.stack([clip, clip[::-1]], axis=1), rate) for clip, rate in MODALITY_EXAMPLES["audio"].cells]


def modality_of(name: str) -> str:
    return FORMS[name][0] if name in FORMS else name


def cells_of(name: str) -> list[Cell]:
    return STEREO if name.startswith("stereo") else example_of(modality_of(name)).cells


def broken_of(name: str) -> Cell:
    return example_of(modality_of(name)).broken


def fit(name: str, cells: Sequence[Cell]) -> Modality:
    return fit_example(modality_of(name), FORMS[name][1] if name in FORMS else {}, cells)


def transform(modality: Modality, cells: Sequence[Cell]) -> Column:
    column, broken = modality.transform(as_given(modality.name, cells), None)
    assert broken == []
    return column


def bits(column: Column) -> list[bytes]:
    """Return each row's content: its steps in use where rows are ragged."""
    if column.lengths is None:
        return [values.tobytes() for values in column.values]
    return [values[:length].tobytes() for values, length in zip(column.values, column.lengths, strict=True)]


def test_every_modality_says_what_it_is() -> None:
    for name, modality in MODALITIES.items():
        assert modality.name == name
        assert modality.summary
        assert "\n" not in modality.summary
        assert modality.paper


@pytest.mark.parametrize("name", ALL)
def test_every_row_is_answered(name: str) -> None:
    column = transform(fit(name, cells_of(name)), [*cells_of(name), None])
    assert len(column) == 5
    assert column.row_present.tolist() == [True, True, True, True, False]
    assert np.isfinite(column.values[column.row_present].astype(np.float64)).all()


@pytest.mark.parametrize("name", ALL)
def test_no_rows(name: str) -> None:
    assert len(transform(fit(name, cells_of(name)), [])) == 0


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("cells", [[], [None], [None, float("nan"), "", "  "]])
def test_fitting_on_nothing_still_transforms(name: str, cells: list[Cell]) -> None:
    modality = fit(name, cells)
    assert not transform(modality, cells).present.any()
    assert len(modality.transform(as_given(modality_of(name), cells_of(name)), None)[0]) == 4


@pytest.mark.parametrize("name", ALL)
def test_single_row_equals_the_same_row_among_others(name: str) -> None:
    modality = fit(name, cells_of(name))
    together = bits(transform(modality, cells_of(name)))
    assert [bits(transform(modality, [cell]))[0] for cell in cells_of(name)] == together


@pytest.mark.parametrize("name", ALL)
def test_order_is_kept_with_duplicates(name: str) -> None:
    modality, cells = fit(name, cells_of(name)), cells_of(name)
    alone = bits(transform(modality, cells))
    order = [2, 0, 0, 3, 1, 2, 2]
    assert bits(transform(modality, [cells[index] for index in order])) == [alone[index] for index in order]


@pytest.mark.parametrize("name", ALL)
def test_threads_change_nothing(name: str) -> None:
    modality, cells = fit(name, cells_of(name)), as_given(modality_of(name), cells_of(name) * 20)
    one, _ = modality.transform(cells, None, num_threads=1)
    four, _ = modality.transform(cells, None, num_threads=4)
    np.testing.assert_array_equal(one.values, four.values)


@pytest.mark.parametrize("name", ALL)
def test_state_survives_json_bit_for_bit(name: str) -> None:
    modality = fit(name, cells_of(name))
    state = modality.state()
    again = MODALITIES[modality_of(name)].from_state(json.loads(json.dumps(state, allow_nan=False)))
    assert again.state() == state
    assert bits(transform(again, cells_of(name))) == bits(transform(modality, cells_of(name)))


@pytest.mark.parametrize("name", ALL)
def test_fitting_twice_gives_the_same(name: str) -> None:
    assert fit(name, cells_of(name)).state() == fit(name, list(cells_of(name))).state()


@pytest.mark.parametrize("name", ALL)
def test_absent_and_broken_cells_do_not_move_the_fit(name: str) -> None:
    cells = cells_of(name)
    holed = [None, *cells[:2], broken_of(name), *cells[2:], None]
    assert fit(name, holed).state() == fit(name, cells).state()
    assert transform(fit(name, cells), cells).present.all()


@pytest.mark.parametrize("name", ALL)
def test_broken_cell_is_named_and_absent_and_moves_no_other_row(name: str) -> None:
    modality, cells = fit(name, cells_of(name)), cells_of(name)
    holed = [cells[0], broken_of(name), cells[1], broken_of(name)]
    column, broken = modality.transform(as_given(modality_of(name), holed), None)
    assert [cell.row for cell in broken] == [2, 4]
    assert all(cell.reason and "Traceback" not in cell.reason for cell in broken)
    assert {cell.column for cell in broken} == {"" if MODALITIES[modality_of(name)].is_column else MEMBER}
    assert column.row_present.tolist() == [True, False, True, False]
    alone = bits(transform(modality, cells))
    assert [bits(column)[0], bits(column)[2]] == alone[:2]


@pytest.mark.parametrize("name", [name for name in MODALITIES if MODALITIES[name].is_file])
def test_text_is_not_opened_without_a_folder(name: str) -> None:
    column, broken = fit(name, cells_of(name)).transform(["/etc/hostname"], None)
    assert not column.present.any()
    assert "paths are not opened here" in broken[0].reason


@pytest.mark.parametrize("name", list(MODALITIES))
def test_unknown_option_lists_what_there_is(name: str) -> None:
    from polymodal.errors import ConfigError

    with pytest.raises(ConfigError, match=f"modality '{name}' has no option 'colour'. There are: "):
        build_settings(name, {"colour": 1})


@pytest.mark.parametrize("name", [name for name in ALL if MODALITIES[modality_of(name)].is_media])
def test_the_cache_gives_the_same_bits_whatever_it_holds_already(name: str, tmp_path: Path) -> None:
    modality, cache = fit(name, cells_of(name)), ArrayCache(tmp_path)
    first, second, third, fourth = cells_of(name)
    tables: list[list[Cell]] = [
        [first, None, second],
        [third, broken_of(name), first, fourth, first],
        [broken_of(name)],
        [first, second, third, fourth],
    ]
    for cells in [*tables, *tables]:
        found, broken = decode_column(modality, cells, None, cache, 1)
        column, expected = modality.transform(cells, None)
        assert broken == expected
        assert found.values.dtype == column.values.dtype
        assert np.array_equal(found.values, column.values)
        assert np.array_equal(found.present, column.present)
        assert (found.lengths is None) == (column.lengths is None)
        assert found.lengths is None or np.array_equal(found.lengths, column.lengths)
