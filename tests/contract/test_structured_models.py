"""Every structured target from table to answers, saved, loaded and judged, through the same checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodal
import tiny
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError
from polymodal.targets import TARGETS, RowContext, StructuredTarget
from polymodal.targets.image_uri import PNG_URI, decode_image

STRUCTURED = [kind for kind, entry in TARGETS.items() if issubclass(entry.target, StructuredTarget)]


@pytest.fixture(scope="module", params=STRUCTURED)
def kind(request: Any) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["few", pytest.param("all", marks=pytest.mark.exhaustive)])
def trained(request: Any, kind: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[polymodal.Model, Table]:
    folder = tmp_path_factory.mktemp(kind)
    features = {"few": ("photo", "sound", "note", "size"), "all": tiny.FEATURES}[request.param]
    table = tiny.only(tiny.write_structured_table(folder, kind), *features, "answer")
    with tiny.decode_cache(folder):
        return tiny.train(table, "answer", modality={"answer": kind}, output=folder / "run"), table


def test_every_row_is_answered_and_scored(trained: tuple[polymodal.Model, Table]) -> None:
    model, table = trained
    target = model.trained.targets["answer"]
    assert len(model.predict(table)["answer"]) == table.num_rows
    summary = model.summary()
    assert target.primary_metric in summary["targets"]["answer"]
    assert target.primary_metric in summary["baselines"]["answer"]["prior"]
    streams = {stream.name for stream in model.trained.schema.streams}
    assert set(summary["streams"]["answer"]) == set(summary["missing"]["answer"]) == streams
    assert summary["intervals"]["answer"][target.primary_metric]
    assert model.report_data["tables"][0]["set_aside"] == 1


def test_a_row_without_anything_gets_the_prior(trained: tuple[polymodal.Model, Table]) -> None:
    model, table = trained
    prior = model.trained.targets["answer"].prior.value
    assert model.predict(tiny.all_absent(table.take(np.arange(3))))["answer"] == [prior] * 3


def test_saved_and_loaded_answers_are_the_same(trained: tuple[polymodal.Model, Table], tmp_path: Path) -> None:
    model, table = trained
    model.save(tmp_path / "model")
    before, after = (m.predictions(table) for m in (model, polymodal.load(tmp_path / "model")))
    assert before.labels == after.labels
    assert before.confidences == after.confidences
    assert [path.suffix for path in (tmp_path / "model").rglob("*.*") if path.suffix in {".pkl", ".pt", ".bin"}] == []


def test_one_row_alone_gets_the_answer_it_has_among_others(trained: tuple[polymodal.Model, Table]) -> None:
    model, table = trained
    whole = model.predict(table.take(np.arange(6)))["answer"]
    alone = [model.predict(table.take(np.array([row])))["answer"][0] for row in range(6)]
    assert [json.dumps(_rounded(cell)) for cell in alone] == [json.dumps(_rounded(cell)) for cell in whole]


def _rounded(cell: Any) -> Any:
    if isinstance(cell, str) and cell.startswith(PNG_URI):
        return round(float(decode_image(cell).mean()), 1)
    if isinstance(cell, float):
        return round(cell, 3)
    if isinstance(cell, list):
        return [_rounded(part) for part in cell]
    return {name: _rounded(part) for name, part in cell.items()} if isinstance(cell, dict) else cell


def test_answers_are_written_in_every_format(trained: tuple[polymodal.Model, Table], tmp_path: Path) -> None:
    from polymodal.cli.prediction_files import open_output

    model, table = trained
    columns = model.predictions(table.take(np.arange(4))).to_columns()
    for ending in (".csv", ".jsonl", ".parquet"):
        with open_output(str(tmp_path / f"out{ending}")) as write:
            write(columns, ())
        assert (tmp_path / f"out{ending}").stat().st_size > 0


def test_which_columns_an_answer_has_depends_on_the_model_alone(trained: tuple[polymodal.Model, Table]) -> None:
    model, table = trained
    target, found = model.trained.targets["answer"], model.predictions(table)
    assert isinstance(target, StructuredTarget)
    assert list(model.predictions(tiny.all_absent(table)).to_columns()) == list(found.to_columns())
    assert set(found.confidences) == ({"answer"} if target.has_confidence else set())
    answers = [answer for answer in found.labels["answer"] if isinstance(answer, list)]
    has_records = any(isinstance(part, dict) for answer in answers for part in answer)
    assert found.records == ({"answer"} if target.gives_records else set())
    assert target.gives_records or not has_records


def test_answers_in_csv_are_read_as_truth(trained: tuple[polymodal.Model, Table], tmp_path: Path) -> None:
    from polymodal.cli.prediction_files import open_output
    from polymodal.data.tables.table import read_table

    model, table = trained
    part = table.take(np.arange(4))
    answers = model.predict(part)["answer"]
    with open_output(str(tmp_path / "out.csv")) as write:
        write({"answer": answers}, ())
    written = read_table(tmp_path / "out.csv").columns["answer"]
    target, source = model.trained.targets["answer"], RowContext(part.columns, part.folder)
    assert target.invalid_cells(written, source) == []
    assert [cell is None for cell in written] == [cell in ("", []) for cell in answers]  # nothing said: empty
    full = [row for row, cell in enumerate(written) if cell is not None]
    source = RowContext({name: [cells[row] for row in full] for name, cells in part.columns.items()}, part.folder)
    again = target.references([written[row] for row in full], source)
    said = target.references([answers[row] for row in full], source)
    assert [json.dumps(_rounded(cell)) for cell in again] == [json.dumps(_rounded(cell)) for cell in said]


def test_the_report_shows_rows(trained: tuple[polymodal.Model, Table]) -> None:
    model, _ = trained
    html = (model.folder / "report.html").read_text(encoding="utf-8")
    assert "answer" in html
    assert "Close" in html


def test_a_vote_has_no_fused_streams_to_answer_from(kind: str, trained: Any) -> None:
    with pytest.raises(ConfigError, match="Choose another --fusion"):
        tiny.train(trained[1], "answer", modality={"answer": kind}, fusion="vote")
