"""Every modality stands in every table that must know it, and each of its rows works on its example cells."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
import torch
from markupsafe import Markup

import polymodal
import tiny
from modality_examples import MEMBER, MODALITY_EXAMPLES, example_column, example_of, fit_example
from polymodal.arrays import Column
from polymodal.data.schema.detect_modality import detect_modality
from polymodal.data.schema.evidence import EVIDENCE
from polymodal.data.schema.schema import Schema, StreamSchema, infer_schema
from polymodal.data.sketches import SKETCHES, SketchLayout, sketch
from polymodal.data.tables.files import media_endings
from polymodal.data.tables.table import Table
from polymodal.encoders import ENCODERS, build_encoder
from polymodal.ensemble.features import FeatureExtractor
from polymodal.ensemble.stream_features import FEATURES, FORMS
from polymodal.modalities import MODALITIES, column_modalities, stream_modalities
from polymodal.recovery.decoders import DECODINGS
from polymodal.report.gallery import RENDERERS, GalleryCell, GalleryRow, render_cell, render_row
from polymodal.tokens import ColumnBatch
from polymodal.training.augmentation import AUGMENTATIONS, add_masking_noise, augment, random_flip

COLUMNS, STREAMS = column_modalities(), stream_modalities()
TABLES: dict[str, tuple[Collection[str], Collection[str]]] = {
    "EVIDENCE": (EVIDENCE, COLUMNS),
    "SKETCHES": (SKETCHES, STREAMS),
    "DECODINGS": (DECODINGS, STREAMS),
    "FEATURES": (FEATURES, STREAMS),
    "ENCODERS": (ENCODERS, STREAMS),
    "AUGMENTATIONS": (AUGMENTATIONS, STREAMS),
    "RENDERERS": (RENDERERS, list(MODALITIES)),
    "MODALITY_EXAMPLES": (MODALITY_EXAMPLES, COLUMNS),
}
"""Name of a table to its rows and to the modalities that must have one."""
ROWS = 6
every_column = pytest.mark.parametrize("modality", COLUMNS)
every_stream = pytest.mark.parametrize("modality", STREAMS)


@pytest.mark.parametrize("table", TABLES)
def test_every_modality_has_a_row(table: str) -> None:
    rows, wanted = TABLES[table]
    missing, unknown = sorted(set(wanted) - set(rows)), sorted(set(rows) - set(wanted))
    assert not missing, f"{table} has no row for {', '.join(missing)}"
    assert not unknown, f"{table} has rows that it must not have: {', '.join(unknown)}"


def test_every_modality_is_of_a_column_or_of_a_stream_or_of_both() -> None:
    assert set(COLUMNS) | set(STREAMS) == set(MODALITIES)


def test_no_ending_is_taken_for_two_modalities() -> None:
    endings = [ending for modality in MODALITIES.values() for ending in modality.endings]
    assert sorted(endings) == sorted(set(endings))
    assert all(ending.startswith(".") and ending == ending.lower() for ending in endings)
    assert set(endings) < set(media_endings())


@every_column
def test_example_cells_are_recognised(modality: str) -> None:
    found, reason = detect_modality(modality, MODALITY_EXAMPLES[modality].cells, None)
    assert found == modality, reason
    assert reason


@every_column
def test_paths_and_bytes_are_recognised_by_what_the_row_says(modality: str) -> None:
    for ending in MODALITIES[modality].endings:
        assert detect_modality("x", [f"a{ending}", f"b{ending}"], None)[0] == modality
    for magic, start in EVIDENCE[modality].magic:
        assert detect_modality("x", [b"." * start + magic + b"." * 20], None)[0] in COLUMNS
        assert EVIDENCE[modality].file


@every_column
def test_a_column_becomes_a_stream(modality: str) -> None:
    schema = infer_schema(table_of(modality), modality={"x": modality})
    assert schema.modality_of("x") == modality
    assert schema.streams[0].modality in STREAMS
    assert schema.streams[0].modality == modality or not MODALITIES[modality].is_stream


def table_of(modality: str) -> Table:
    return Table({"x": MODALITY_EXAMPLES[modality].cells, "y": ["a", "b", "a", "b"]})


def test_a_table_of_all_example_cells_is_learnt_from(tmp_path: Path) -> None:
    columns = {name: [*(MODALITY_EXAMPLES[name].cells * 6)[:-1], None] for name in COLUMNS}
    table = Table(columns | {"kind": ["a", "b", "c", "d"] * 6})
    modality = {name: name for name in COLUMNS}
    model = tiny.train(table, modality=modality, output=tmp_path / "run", settings={"baselines": True})
    assert not model.predictions(table).broken_cells
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert all(name in report for name in COLUMNS)
    assert polymodal.load(tmp_path / "run").predict(table) == model.predict(table)


@every_stream
def test_sketches_are_finite_where_cells_are_there(modality: str) -> None:
    column = with_absent(example_column(modality, ROWS), 1)
    found = sketch(modality, column)
    assert found.dtype == np.float32
    assert found.shape[0] == ROWS
    assert np.isnan(found[1]).all()
    assert np.isfinite(np.delete(found, 1, axis=0)).any(axis=1).all()


def with_absent(column: Column, row: int) -> Column:
    return column.without(np.arange(len(column)) == row)


@every_stream
def test_decoders_make_cells_that_the_modality_reads_again(modality: str) -> None:
    fitted = fit_example(modality)
    column = with_absent(example_column(modality, ROWS, fitted), 1)
    layout = SketchLayout(4, tuple(field.cardinality for field in getattr(fitted, "own_fields", ())))
    values = np.nan_to_num(sketch(modality, column, layout).astype(np.float64))
    for decoder in DECODINGS[modality](MEMBER, fitted, layout.resolution):
        assert decoder.decode is not None
        cells = decoder.decode(values[:, decoder.places])
        assert len(cells) == ROWS
        given = dict.fromkeys(fitted.members, cells) if modality == "tabular" else cells
        again, broken = fitted.transform(given, None)
        assert not broken
        assert again.row_present.all()


@every_stream
def test_baselines_see_every_stream(modality: str) -> None:
    fitted, texts = fit_example(modality), {"x": [str(cell) for cell in example_of(modality).cells] * 2}
    columns = {"s": with_absent(example_column(modality, 8, fitted), 1)}
    schema = Schema((), (StreamSchema("s", modality, ("x",)),))
    features = FeatureExtractor.unfitted(schema, {"s": fitted}, columns).fit(columns, texts)
    blocks = features.transform(columns, texts, FORMS)
    assert blocks.dense.shape[0] == blocks.trees.shape[0] == 8
    assert np.isfinite(blocks.dense).all()
    seen = blocks.dense.shape[1] > 1 or blocks.sparse.shape[1] > 0
    assert seen, "nothing but whether the stream is there is seen of it"
    assert np.isnan(blocks.trees[1]).all()
    again = FeatureExtractor.from_state(*features.state()).transform(columns, texts, FORMS)
    assert np.array_equal(again.dense, blocks.dense)
    assert np.array_equal(again.trees, blocks.trees, equal_nan=True)


@every_stream
def test_training_inputs_keep_their_layout_when_they_are_varied(modality: str) -> None:
    fitted = fit_example(modality)
    batch = ColumnBatch.from_column(with_absent(example_column(modality, ROWS, fitted), 1))
    for vary in (add_masking_noise, augment, random_flip):
        torch.manual_seed(0)
        varied = vary(fitted, batch)
        assert torch.equal(varied.present, batch.present)
        assert varied.values.ndim == batch.values.ndim
        assert (varied.lengths is None) == (batch.lengths is None)
        assert varied.values[batch.row_present].float().isfinite().all()


@every_stream
def test_the_default_encoder_reads_example_cells(modality: str) -> None:
    fitted = fit_example(modality)
    torch.manual_seed(0)
    encoder = build_encoder(modality, None, fitted, 16, {}).eval()
    tokens = encoder(ColumnBatch.from_column(with_absent(example_column(modality, ROWS, fitted), 1)))
    assert tokens.values.shape[::2] == (ROWS, 16)
    assert tokens.row_present.tolist() == [row != 1 for row in range(ROWS)]


@every_column
def test_example_cells_are_shown(modality: str) -> None:
    for cell in MODALITY_EXAMPLES[modality].cells:
        html = render_cell(GalleryCell("size", modality, cell), None)
        assert isinstance(html, Markup)
        assert "size" in html
        assert "chip" not in html
    assert "missing" in render_cell(GalleryCell("size", modality, None), None)


@every_column
def test_values_of_a_row_are_shown_together_behind_its_figures(modality: str) -> None:
    cell = GalleryCell("this", modality, MODALITY_EXAMPLES[modality].cells[0])
    html = render_row(GalleryRow(1, "", "", None, (GalleryCell("other", "number", 3.5), cell)), None)
    assert html.count('class="values"') == 1
    assert (html.index("this") < html.index("other")) == RENDERERS[modality].is_figure
