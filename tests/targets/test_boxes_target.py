"""The target boxes: encoded truth, the head, and a small table from images to predictions."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import polymodal
import tiny
from polymodal.cli.prediction_files import CsvWriter
from polymodal.config import TrainConfig
from polymodal.data.schema.schema import StreamSchema
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError, SchemaError
from polymodal.nn.affine import Warp
from polymodal.runs.data_module import invalid_target_cells
from polymodal.targets import BoxesTarget, RowContext, StructuredHead, StructuredPrediction
from polymodal.targets.box_decoding import non_maximum_suppression
from polymodal.targets.box_head import assign_locations, centreness, location_centres
from polymodal.targets.boxes import BoxesSettings
from polymodal.tokens import ColumnBatch, Detail, DetailGrid, Fused, Tokens
from polymodal.training.training_step import augment_batch

COLOURS = ("red", "blue")
HEIGHT, WIDTH = 48, 64


def write_squares(rows: int, seed: int) -> Table:
    """Return pictures with a red and a blue square, and a text that says which of the two to frame."""
    random = np.random.default_rng(seed)
    pictures, asked, boxes = [], [], []
    for _ in range(rows):
        pixels = random.integers(60, 100, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        framed = []
        for spot, channel in zip(random.permutation(6), (0, 2), strict=False):
            side = int(random.integers(9, 15))
            left, top = (int(o + random.integers(0, 21 - side)) for o in (spot % 3 * 21, spot // 3 * 24))
            pixels[top : top + side, left : left + side, channel] = 250
            framed.append([left, top, left + side, top + side])
        wanted = int(random.integers(2))
        pictures.append(pixels)
        asked.append(f"the {COLOURS[wanted]} one please")
        boxes.append([{"label": "it", "box": framed[wanted]}])
    return Table({"picture": pictures, "ask": asked, "boxes": boxes}, None, f"squares {seed}")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[polymodal.Model, Table]:
    folder = tmp_path_factory.mktemp("squares")
    settings = {"train.epochs": 14, "width": 32, "num_threads": 1, "train.learning_rate": 3e-3}
    settings |= {"train.modality_dropout": 0.05}
    with tiny.decode_cache(folder):
        model = polymodal.fit(
            write_squares(128, 0),
            target="boxes",
            validation=write_squares(24, 1),
            test=write_squares(32, 2),
            modality={"ask": "text"},
            settings=settings,
            output=folder / "run",
        )
    return model, write_squares(6, 3)


def test_a_text_says_which_square_to_frame(trained: tuple[polymodal.Model, Table]) -> None:
    model, table = trained
    summary = model.summary()
    assert summary["targets"]["boxes"]["map_50"] > 0.9
    assert summary["streams"]["boxes"]["picture"]["map_50"] < summary["targets"]["boxes"]["map_50"] - 0.2
    other = tiny.with_cells(table, ask=["the blue one please"] * 3 + ["the red one please"] * 3)
    assert model.predict(table)["boxes"] != model.predict(other)["boxes"]


def test_boxes_are_in_pixels_of_the_picture_given(trained: tuple[polymodal.Model, Table]) -> None:
    model, table = trained
    doubled = [picture.repeat(2, axis=0).repeat(2, axis=1) for picture in table.columns["picture"]]
    for pictures, factor in ((table.columns["picture"], 1), (doubled, 2)):
        said = model.predict(tiny.with_cells(table, picture=pictures))["boxes"]
        for boxes, truth in zip(said, table.columns["boxes"], strict=True):
            assert boxes[0]["label"] == "it"
            assert 0.1 <= boxes[0]["score"] <= 1
            np.testing.assert_allclose(boxes[0]["box"], np.array(truth[0]["box"]) * factor, atol=2.5 * factor)


def test_without_its_picture_a_row_has_no_boxes_and_still_counts(trained: tuple[polymodal.Model, Table]) -> None:
    model, table = trained
    holes = tiny.with_cells(table, picture=[None, b"nonsense", *table.columns["picture"][2:]])
    predictions = model.predictions(holes)
    assert predictions.labels["boxes"][:2] == [[], []]
    assert [(cell.row, cell.column) for cell in predictions.broken_cells] == [(2, "picture")]
    evaluation = model.evaluate(holes)
    assert evaluation["rows"] == {"test": 6}
    assert evaluation["targets"]["boxes"]["map_50"] < model.evaluate(table)["targets"]["boxes"]["map_50"]


def test_answers_are_json_in_csv_and_stay_lists_elsewhere(trained: tuple[polymodal.Model, Table]) -> None:
    model, table = trained
    columns = model.predictions(tiny.with_cells(table, picture=[None, *table.columns["picture"][1:]])).to_columns()
    stream = io.StringIO()
    CsvWriter(stream).write(columns)
    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert [json.loads(row["boxes"]) for row in rows] == columns["boxes"]
    assert rows[0]["boxes"] == "[]"
    assert 0 <= float(rows[1]["boxes_confidence"]) <= 1


def test_the_report_draws_the_boxes_and_scores_each_label(trained: tuple[polymodal.Model, Table]) -> None:
    model, _ = trained
    html = (model.folder / "report.html").read_text(encoding="utf-8")
    assert '<svg class="boxes"' in html
    assert "mAP@50" in html
    assert "true boxes" in html
    assert model.report_data["evaluation"]["per_label"]["boxes"][0]["support"] == 32


def test_broken_truth_is_named_and_an_empty_list_is_known(trained: tuple[polymodal.Model, Table]) -> None:
    model, table = trained
    cells: list[Any] = ["no json", [{"label": "it", "box": [70, 2, 80, 9]}], [], None, *table.columns["boxes"][4:]]
    broken = tiny.with_cells(table, boxes=cells)
    found = invalid_target_cells(broken, model.trained.targets)
    assert [(cell.row, cell.column) for cell in found] == [(1, "boxes"), (2, "boxes")]
    assert "is not JSON" in found[0].reason
    assert "lies outside its picture of 64 x 48 pixels" in found[1].reason
    assert model.evaluate(broken)["rows"] == {"test": 3}


def source(pictures: list[Any], shape: tuple[int, ...] = (32, 32, 3), cells: Any = ()) -> RowContext:
    streams = (StreamSchema("first", "image", ("one",)), StreamSchema("second", "image", ("two",)))
    return RowContext(
        {"one": pictures, "two": pictures, "boxes": cells},
        None,
        streams=streams,
        shapes={"first": shape, "second": shape},
    )


def picture(height: int, width: int) -> np.ndarray[Any, Any]:
    return np.zeros((height, width, 3), np.uint8)


def fit(cells: list[Any], pictures: list[Any], **settings: Any) -> BoxesTarget:
    return BoxesTarget.fit(cells, source(pictures), BoxesSettings(**settings))


CELLS: list[Any] = [[{"label": "b", "box": [8, 2, 24, 10]}, {"label": "a", "box": [-4, 0, 4, 8]}], [], None]
PICTURES = [picture(16, 32), picture(64, 32), picture(32, 32)]


def test_truth_is_carried_into_the_networks_pictures_and_answers_back() -> None:
    target = fit(CELLS, PICTURES)
    truth, known = target.encode(CELLS, source(PICTURES))
    assert known.tolist() == [True, True, False]
    assert truth[0].tolist() == [[8, 10, 24, 18, 1], [0, 8, 4, 16, 0]]
    assert truth[1:, :, 4].tolist() == [[-1, -1], [-1, -1]]
    said = [
        StructuredPrediction([{"label": "b", "box": [8.0, 10.0, 24.0, 40.0], "score": 0.5}], 0.5),
        StructuredPrediction([]),
        StructuredPrediction([]),
    ]
    finished = target.postprocess(said, source(PICTURES))
    assert finished[0].value == [{"label": "b", "box": [8.0, 2.0, 24.0, 16.0], "score": 0.5}]
    assert target.references(CELLS, source(PICTURES))[0][1] == {"label": "a", "box": [0.0, 0.0, 4.0, 8.0]}


def test_labels_keep_their_type_and_unknown_ones_count_as_missed() -> None:
    cells: list[Any] = [[{"label": 3, "box": [1, 1, 9, 9]}], [{"label": 11, "box": [1, 1, 9, 9]}]]
    pictures = [picture(32, 32)] * 2
    target = fit(cells, pictures)
    assert target.postprocess(
        [StructuredPrediction([{"label": "11", "box": [1, 1, 9, 9], "score": 0.5}])] * 2, source(pictures)
    )[0].value == [{"label": 11, "box": [1.0, 1.0, 9.0, 9.0], "score": 0.5}]
    strange: list[Any] = [[{"label": "new", "box": [1, 1, 9, 9]}], []]
    assert target.encode(strange, source(pictures))[0][..., 4].max(initial=-1) == -1
    assert target.references(strange, source(pictures))[0][0]["label"] == "new"


def test_a_student_learns_the_boxes_that_its_teacher_is_sure_of() -> None:
    target = fit([[{"label": "a", "box": [1, 1, 9, 9]}]], [picture(32, 32)])
    sure, unsure = ({"label": "a", "box": [1.0, 1.0, 9.0, 9.0], "score": score} for score in (0.9, 0.1))
    assert target.learned_answer([sure, unsure]) == [{"label": "a", "box": [1.0, 1.0, 9.0, 9.0]}]
    assert target.learned_answer([unsure]) is None
    assert target.learned_answer([]) is None


def test_the_first_pictures_are_searched_unless_another_stream_is_named() -> None:
    assert fit(CELLS, PICTURES).stream == "first"
    second = fit(CELLS, PICTURES, image="second")
    assert (second.stream, second.column) == ("second", "two")
    assert [second.reads_detail(name, "image") for name in ("first", "second")] == [False, True]
    with pytest.raises(SchemaError, match=r"image=third names no image stream\. There are: first, second"):
        fit(CELLS, PICTURES, image="third")
    with pytest.raises(SchemaError, match="no input column holds images"):
        BoxesTarget.fit(CELLS, RowContext({"boxes": CELLS}), BoxesSettings())


@pytest.mark.parametrize(("side", "wanted"), [(200, 128), (40, 288), (10, 320)])
def test_small_boxes_ask_for_large_pictures(side: int, wanted: int) -> None:
    cells = [[{"label": "a", "box": [0, 0, side, side]}, {"label": "b", "box": [0, 0, 300, 300]}]]
    assert fit(cells, [picture(480, 640)]).stream_settings("first", "image") == {"max_side": wanted}
    assert fit(cells, [picture(480, 640)]).stream_settings("second", "image") == {}


def test_the_user_chooses_the_pictures_size_and_an_encoder_without_places_is_refused(tmp_path: Path) -> None:
    table = tiny.write_structured_table(tmp_path, "boxes", rows=30)
    few = tiny.only(table, "photo", "answer")
    model = tiny.train(few, "answer", settings={"settings.photo.size": 20})
    assert model.trained.preprocessor.modalities["photo"].height == 20
    with pytest.raises(ConfigError, match=r"which its encoder 'vit' does not give\. Choose one of: cnn, resnet"):
        tiny.train(few, "answer", encoder={"photo": "vit"})


def test_boxes_learn_in_small_steps_unless_the_user_says_otherwise(tmp_path: Path) -> None:
    table = tiny.only(tiny.write_structured_table(tmp_path, "boxes", rows=30), "photo", "answer")
    settings = {"train.epochs": 1, "width": 16, "num_threads": 1}
    assert polymodal.fit(table, target="answer", settings=settings).trained.config.train.batch_size == 8
    assert tiny.train(table, "answer").trained.config.train.batch_size == 16


def test_pictures_move_with_all_boxes_that_are_in_them() -> None:
    torch.manual_seed(0)
    targets = {name: fit(CELLS, PICTURES, flip_x=name == "left") for name in ("left", "right")}
    truth = {n: tuple(map(torch.from_numpy, t.encode(CELLS, source(PICTURES)))) for n, t in targets.items()}
    pixels = torch.zeros(3, 32, 32, 3, dtype=torch.uint8)
    batch = {"first": ColumnBatch(pixels, torch.ones(3, dtype=torch.bool))}
    job: Any = SimpleNamespace(settings=TrainConfig(), targets=targets, modalities={})
    for _ in range(8):
        varied, moved = augment_batch(job, batch, truth)
        assert varied["first"].values.dtype == torch.float32
        assert torch.equal(moved["left"][0], moved["right"][0])
        assert not torch.equal(moved["left"][0][0], truth["left"][0][0])


def test_boxes_out_of_view_are_not_looked_for() -> None:
    target = fit(CELLS, PICTURES)
    truth = torch.tensor([[[2.0, 2.0, 12.0, 12.0, 0.0], [20.0, 2.0, 30.0, 12.0, 1.0]]])
    warp = Warp(torch.ones(1, 2), torch.tensor([[12.0, 0.0]]), (32, 32))
    moved = target.warp_truth("first", truth, warp)
    assert moved[0].tolist() == [[14.0, 2.0, 24.0, 12.0, 0.0], [32.0, 2.0, 32.0, 12.0, -1.0]]
    assert target.warp_truth("second", truth, warp) is truth


PLACES = DetailGrid((4, 8), 8)


def test_places_lie_in_the_middle_of_their_pixels() -> None:
    centres = location_centres(PLACES)
    assert centres.shape == (32, 2)
    assert centres[[0, 1, 8]].tolist() == [[4, 4], [12, 4], [4, 12]]


def test_a_place_speaks_for_the_smallest_box_it_is_in_the_middle_of() -> None:
    boxes = torch.tensor([[[0, 0, 64, 32, 0], [10, 2, 16, 6, 1], [41, 17, 42, 18, 0], [0, 0, 30, 30, -1]]]).float()
    taken, aims = assign_locations(location_centres(PLACES), boxes, PLACES.stride)
    grid = taken[0].view(4, 8)
    assert grid[0, 1] == 1
    assert grid[2, 5] == 2  # smaller than a place, and yet found
    assert grid[1:3, 3:5].eq(0).all()
    assert grid[:, 0].eq(-1).all()
    assert aims[0, 1].tolist() == [2, 2, 4, 2]


def test_centreness_falls_from_the_middle_to_the_border() -> None:
    sides = torch.tensor([[[5.0, 5, 5, 5], [1, 5, 9, 5], [0, 5, 10, 5], [-1, 5, 11, 5]]])
    assert centreness(sides)[0].tolist() == pytest.approx([1, 1 / 3, 0, 0])


def test_of_overlapping_boxes_of_a_label_the_surest_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [5, 0, 15, 10]], np.float32)
    assert non_maximum_suppression(boxes, np.array([0, 0, 1, 0]), 0.5).tolist() == [0, 2, 3]
    assert non_maximum_suppression(boxes[:0], np.array([], dtype=np.int64), 0.5).tolist() == []


def head(**changes: Any) -> StructuredHead:
    options: dict[str, Any] = {"max_boxes": 5, "score_threshold": 0.0, "overlap_threshold": 1.0}
    target = BoxesTarget(
        names=["a", "b"],
        counts=[1, 1],
        label_type="str",
        stream="first",
        column="picture",
        boxes_per_row=2.0,
        max_side=32,
        settings=BoxesSettings(**(options | changes)),
    )
    encoder = torch.nn.Identity()
    encoder.detail_grid = PLACES  # type: ignore[assignment]
    torch.manual_seed(0)
    return target.build_head(8, {"first": encoder}).eval()


def fused(rows: int, present: bool = True) -> Fused:
    tokens = Tokens(torch.zeros(rows, 1, 8), torch.ones(rows, 1, dtype=torch.bool))
    detail = Detail(torch.randn(rows, 32, 8), torch.full((rows, 32), present), PLACES.shape)
    return Fused(torch.randn(rows, 8), tokens, None, {"first": detail})


def test_an_answer_is_bounded_sorted_and_above_the_threshold() -> None:
    with torch.inference_mode():
        (answer,) = head().predict(fused(1))
        assert len(answer.value) == 5
        scores = [box["score"] for box in answer.value]
        assert scores == sorted(scores, reverse=True)
        (nothing,) = head(score_threshold=0.9).predict(fused(1))
    assert nothing.value == []
    assert nothing.confidence is not None
    assert nothing.confidence > 0.9


def test_an_absent_picture_costs_nothing_and_answers_nothing() -> None:
    truth = torch.tensor([[[2.0, 2.0, 12.0, 12.0, 0.0]]])
    plain = Fused(torch.randn(1, 8), fused(1).tokens)
    for given in (fused(1, present=False), plain):
        assert head().loss(given, truth, 0.0).tolist() == [0.0]
        with torch.inference_mode():
            assert head().predict(given) == [StructuredPrediction([])]


def test_the_loss_falls_as_a_box_is_learnt_and_no_box_is_a_truth_too() -> None:
    learner, given = head(), fused(2)
    truth = torch.tensor([[[2.0, 2.0, 21.0, 14.0, 0.0]], [[0.0, 0.0, 0.0, 0.0, -1.0]]])
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = learner.loss(given, truth, 0.0).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    with torch.inference_mode():
        first, second = learner.predict(given)
    assert first.value[0]["label"] == "a"
    np.testing.assert_allclose(first.value[0]["box"], [2, 2, 21, 14], atol=3)
    assert not [box for box in second.value if box["score"] > 0.2]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("max_boxes", 0, "greater than or equal to 1"), ("size", 3, "has no option 'size'. There are: image, max_boxes")],
)
def test_a_wrong_option_is_one_sentence(option: str, value: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        polymodal.fit(
            write_squares(6, 0),
            target="boxes",
            modality={"ask": "text"},
            settings={f"target_settings.boxes.{option}": value},
        )


def test_cells_are_found_in_blood(shared_data: Path) -> None:
    from polymodal.data.tables.table import read_table

    table = read_table(shared_data / "bccd" / "train.csv").take(np.arange(24))
    target = BoxesTarget.fit(
        table.columns["cells"],
        RowContext(table.columns, table.folder, streams=(StreamSchema("image", "image", ("image",)),)),
        BoxesSettings(),
    )
    assert target.names == ["Platelets", "RBC", "WBC"]
    assert target.max_side == 320
    assert target.invalid_cells(table.columns["cells"], RowContext(table.columns, table.folder)) == []
