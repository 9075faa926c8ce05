"""Learning from a teacher: on rows with a target, on rows without one, and of structured targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polymodal
import tiny
from polymodal.data.tables.table import Table, concatenate
from polymodal.errors import CheckpointError, ConfigError
from polymodal.targets import TARGETS, StructuredTarget

STRUCTURED = [kind for kind, entry in TARGETS.items() if issubclass(entry.target, StructuredTarget)]
Teacher = tuple[str, polymodal.Model]


@pytest.fixture(scope="module")
def few(table: Table) -> Table:
    """Three streams with absent cells."""
    return tiny.only(table, "photo", "note", "size", *tiny.TARGETS)


@pytest.fixture(scope="module")
def numbers() -> Table:
    """Rows in memory, some of them without a target."""
    return Table(tiny.numbers_table(100), name="numbers")


@pytest.fixture(scope="module")
def teacher(numbers: Table, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    tiny.train(numbers, output=folder, settings={"train.epochs": 8, "train.learning_rate": 0.01})
    return str(folder)


def unlabelled(table: Table, rows: Any, target: str = "kind") -> Table:
    """Return the table without the targets of some rows."""
    cells = list(table.columns[target])
    for row in rows:
        cells[row] = None
    return tiny.with_cells(table, **{target: cells})


def halves(table: Table) -> tuple[Table, Table]:
    return table.take(np.arange(60)), table.take(np.arange(60, table.num_rows))


def notices(model: polymodal.Model) -> str:
    return "\n".join(model.report_data["notices"])


@pytest.mark.exhaustive
def test_a_student_with_fewer_streams_learns_from_a_teacher(table: Table, tmp_path: Path) -> None:
    teacher = tiny.train(table, output=tmp_path / "teacher", settings={"train.epochs": 6, "width": 32})
    student = tiny.train(table, drop=("sound", "note"), teacher=tmp_path / "teacher")
    alone = tiny.train(table, drop=("sound", "note"))
    assert not tiny.same(tiny.weights_of(student), tiny.weights_of(alone))
    before, after = (model.predict_proba(table)["kind"][1] for model in (alone, student))
    wanted = teacher.predict_proba(table)["kind"][1]
    assert np.abs(after - wanted).mean() < np.abs(before - wanted).mean() + 0.02
    assert student.report_data["config"]["teacher"] == str(tmp_path / "teacher")


def test_a_teacher_of_something_else_is_one_sentence(few: Table, tmp_path: Path) -> None:
    tiny.train(few, "weight", output=tmp_path / "teacher")
    with pytest.raises(ConfigError, match="none of the classes"):
        tiny.train(few, "kind", teacher=tmp_path / "teacher")
    with pytest.raises(CheckpointError, match="There is no model"):
        tiny.train(few, "kind", teacher=tmp_path)
    with pytest.raises(ConfigError, match="the path of a saved model"):
        tiny.train(few, "kind", teacher=polymodal.load(tmp_path / "teacher"))


def test_rows_without_a_target_are_learned_from_the_teacher_alone(numbers: Table, teacher: str) -> None:
    part = unlabelled(numbers, range(60, 100))
    student = tiny.train(part, teacher=teacher)
    on_labelled = tiny.train(numbers.take(np.arange(60)), teacher=teacher)
    assert not tiny.same(tiny.weights_of(student), tiny.weights_of(on_labelled))
    assert "40 of the 82 rows that the network learns from have no target" in notices(student)
    assert "set aside" not in notices(student)
    tables = {entry["split"]: entry for entry in student.report_data["tables"]}
    assert (tables["train"]["rows"], tables["teacher alone"]["rows"]) == (42, 40)
    assert all(entry["set_aside"] == 0 for entry in tables.values())
    assert student.summary()["rows"] == {"train": 42, "validation": 9, "test": 9, "teacher alone": 40}


def test_such_rows_are_set_aside_without_a_teacher(numbers: Table) -> None:
    assert "40 of 100 rows without a value of 'kind' are set aside" in notices(
        tiny.train(unlabelled(numbers, range(60, 100)))
    )


def test_they_reach_neither_baselines_nor_held_out_rows(numbers: Table, teacher: str) -> None:
    settings = {"baselines": True}
    taught = tiny.train(unlabelled(numbers, range(60, 100)), teacher=teacher, settings=settings)
    alone = tiny.train(numbers.take(np.arange(60)), settings=settings)
    found, expected = (model.summary() for model in (taught, alone))
    assert {split: rows for split, rows in found["rows"].items() if split != "teacher alone"} == expected["rows"]
    assert found["baselines"] == expected["baselines"]


def test_a_further_table_is_as_rows_without_a_target(numbers: Table, teacher: str) -> None:
    first, second = halves(numbers)
    apart = tiny.train(first, unlabelled=second, teacher=teacher)
    empty = unlabelled(second, range(40))
    together = tiny.train(concatenate([first, empty]), teacher=teacher)
    assert tiny.same(tiny.weights_of(apart), tiny.weights_of(together))
    assert "'kind' is not looked at" in notices(apart)


def test_other_columns_and_seen_rows_of_a_further_table_are_told(numbers: Table, teacher: str) -> None:
    first, second = halves(numbers)
    pool = Table({"size": second.columns["size"], "weight": [1.0] * 40}, name="pool")
    found = notices(tiny.train(first, unlabelled=pool, teacher=teacher, test=second))
    assert "pool: 'weight' is left out, as numbers has no such column" in found
    assert "pool has no 'age' and 'colour': these cells are absent in its 40 rows" in found
    found = notices(tiny.train(first, unlabelled=second.take(np.arange(25)), teacher=teacher, test=second))
    assert "25 of 40 test rows have the same inputs as an unlabelled row" in found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unlabelled": {"size": [1.0]}}, "nothing learns from them. Name a model that answers them by --teacher"),
        ({"unlabelled": {"size": [1.0]}, "target": None}, "this run has none: it learns from all rows"),
        ({"unlabelled": {"height": [1.0]}, "teacher": "{teacher}"}, "no column of numbers but its targets"),
        ({"unlabelled": "absent.csv", "teacher": "{teacher}"}, "There is no file"),
    ],
)
def test_a_further_table_that_is_of_no_use_is_one_sentence(
    options: dict[str, Any], message: str, numbers: Table, teacher: str
) -> None:
    given = {"target": "kind"} | options
    if "teacher" in given:
        given["teacher"] = teacher
    with pytest.raises(polymodal.PolymodalError, match=message):
        polymodal.fit(numbers, **given)


def test_classes_that_the_teacher_alone_knows_are_not_learned(table: Table, tmp_path: Path) -> None:
    given = tiny.only(table, "size", "day", "kind")
    tiny.train(given, output=tmp_path / "teacher", settings={"train.epochs": 20, "train.learning_rate": 0.01})
    owls = [row for row, kind in enumerate(given.columns["kind"]) if kind == "owl"]
    student = tiny.train(unlabelled(given, owls), teacher=tmp_path / "teacher")
    assert "knows classes of 'kind' that no training row has (owl): they are not learned" in notices(student)
    assert student.summary()["rows"].get("teacher alone", 0) < len(owls) / 2
    assert f"of {given.num_rows} rows without a value of 'kind'" not in notices(student)


@pytest.mark.exhaustive
def test_a_bundle_teaches_as_its_run_does(numbers: Table, teacher: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    polymodal.load(teacher).export(tmp_path / "bundle", table=numbers)
    part = unlabelled(numbers, range(60, 100))
    first, second = (tiny.train(part, teacher=path) for path in (teacher, tmp_path / "bundle"))
    for name, values in tiny.weights_of(first).items():
        np.testing.assert_allclose(values, tiny.weights_of(second)[name], atol=1e-3)


@pytest.mark.parametrize("settings", [{"train.mixup": 0.3}, {"train.harden": True}, {"train.sampling": "balanced"}])
def test_other_options_work_on_taught_rows(settings: dict[str, Any], numbers: Table, teacher: str) -> None:
    student = tiny.train(unlabelled(numbers, range(60, 100)), teacher=teacher, settings=settings)
    assert all(np.isfinite(values).all() for values in tiny.weights_of(student).values())


def test_micro_batches_learn_the_same_from_a_teacher(numbers: Table, teacher: str) -> None:
    plain = {"train.augment": False, "train.modality_dropout": 0.0, "train.optimizer": "sgd"}
    part = unlabelled(numbers, range(60, 100))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polymodal.nn.layers.Dropout.forward", lambda _, values: values)
        one, three = (
            tiny.weights_of(tiny.train(part, teacher=teacher, settings=plain | {"train.accumulate": number}))
            for number in (1, 3)
        )
    for name, values in one.items():
        np.testing.assert_allclose(values, three[name], atol=1e-4)


def test_a_killed_run_with_a_teacher_goes_on_where_it_stopped(numbers: Table, teacher: str, tmp_path: Path) -> None:
    settings = {"train.epochs": 2, "train.checkpoint_steps": 1}
    first, second = halves(numbers)
    options: dict[str, Any] = {"settings": settings, "teacher": teacher, "unlabelled": second}
    whole = tiny.train(first, **options)

    class Stop(Exception):  # noqa: N818
        pass

    def stop(*_: object) -> None:
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polymodal.training.trainer._record_epoch", stop)
        with pytest.raises(Stop):
            tiny.train(first, output=tmp_path / "run", **options)
    resumed = tiny.train(first, output=tmp_path / "run", resume=True, **options)
    assert tiny.same(tiny.weights_of(resumed), tiny.weights_of(whole))


def test_variants_of_a_comparison_share_their_tables(numbers: Table, teacher: str) -> None:
    first, second = halves(numbers)
    options: dict[str, Any] = {"target": "kind", "settings": tiny.QUICK, "unlabelled": second}
    found = polymodal.compare(first, variants={"taught": {"teacher": teacher}, "alone": {}}, **options)
    assert {row.variant for row in found.rows} == {"taught", "alone", "as given"}
    with pytest.raises(ConfigError, match="The variant 'x' names a table by 'unlabelled'"):
        polymodal.compare(first, variants={"x": {"unlabelled": "pool.csv"}}, **options)


def taught_answers(kind: str, folder: Path) -> Any:
    table = tiny.write_structured_table(folder, kind)
    tiny.train(table, "answer", output=folder / "teacher", settings={"train.epochs": 4, "train.batch_size": 8})
    student = tiny.train(unlabelled(table, range(30, 60), "answer"), "answer", teacher=folder / "teacher")
    return table, student


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", [kind for kind in STRUCTURED if kind != "boxes"])
def test_structured_targets_are_learned_from_answers(kind: str, tmp_path: Path) -> None:
    _, student = taught_answers(kind, tmp_path)
    assert "have no target: they are learned from the answers of the teacher" in notices(student)


def test_structured_targets_without_an_empty_cell_have_nothing_to_learn(table: Table, tmp_path: Path) -> None:
    given = tiny.only(table, "size", "code", "day")
    given = given.take(np.flatnonzero([cell is not None for cell in given.columns["code"]]))
    tiny.train(given, "code", output=tmp_path / "teacher")
    with pytest.raises(ConfigError, match="are learned from its answers in rows where they are empty, and no row is"):
        tiny.train(given, "code", teacher=tmp_path / "teacher")
