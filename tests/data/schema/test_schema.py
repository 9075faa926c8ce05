"""What columns hold: right on every real dataset without a flag, and on small tables of every kind."""

from __future__ import annotations

import datetime as dt
import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from polymodal.data.schema.detect_modality import detect_modality
from polymodal.data.schema.schema import Schema, infer_schema
from polymodal.data.tables.table import Table, read_table
from polymodal.errors import SchemaError
from polymodal.modalities import Text, TextSettings

LEAF = {f"{group}{number}": "number" for group in ("margin", "shape", "texture") for number in range(1, 65)}
VIDEO = {"video": "video", "digit": "category", "direction": "category"}
CLOTHING = {
    "title": "text",
    "review_text": "text",
    "division_name": "category",
    "department_name": "category",
    "class_name": "category",
    "age": "number",
    "positive_feedback_count": "number",
    "rating": "number",
    "recommended": "number",
}
DATASETS: dict[str, dict[str, str]] = {
    "avdigits": {"image": "image", "audio": "audio", "speaker": "category", "digit": "category"},
    "bccd": {"image": "image", "cells": "boxes"},
    "clothing": CLOTHING,
    "easyvqa": {"image": "image", "question": "text", "answer": "category"},
    "easyvqa/captions_": {"image": "image", "caption": "text"},
    "esc10": {"audio": "audio", "label": "category", "fold": "number"},
    "leaf": {"image": "image", **LEAF, "species": "category"},
    "movingdigits": VIDEO,
    "radhar": {"points": "points", "activity": "category"},
    "spoken_strings": {"audio": "audio", "transcript": "text"},
}
SINGLE = {
    "fixtures/grid.csv": {"video": "video", "sentence": "text"},
    "fixtures/yesno.csv": {"audio": "audio", "transcript": "text"},
    "radhar/recordings.csv": {"points": "points", "recording": "number"},
}


def modalities(table: Table) -> dict[str, str]:
    return {name: detect_modality(name, cells, table.folder)[0] for name, cells in table.columns.items()}


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_column_of_every_dataset(shared_data: Path, dataset: str, split: str) -> None:
    path = f"{dataset}{split}.csv" if dataset.endswith("_") else f"{dataset}/{split}.csv"
    assert modalities(read_table(shared_data / path)) == DATASETS[dataset]


@pytest.mark.parametrize("path", SINGLE)
def test_every_column_of_the_other_tables(shared_data: Path, path: str) -> None:
    assert modalities(read_table(shared_data / path)) == SINGLE[path]


@pytest.mark.parametrize(
    ("dataset", "target", "kind"),
    [
        ("avdigits", "digit", "category"),
        ("clothing", "recommended", "category"),
        ("clothing", "rating", "category"),
        ("clothing", "age", "number"),
        ("easyvqa", "answer", "category"),
        ("esc10", "label", "category"),
        ("leaf", "species", "category"),
        ("leaf", "margin1", "number"),
    ],
)
def test_targets_of_the_datasets(shared_data: Path, dataset: str, target: str, kind: str) -> None:
    schema = infer_schema(read_table(shared_data / dataset / "train.csv"), targets=[target])
    assert [entry.kind for entry in schema.targets] == [kind]
    assert schema.ignored == ()


def test_streams_of_clothing(shared_data: Path) -> None:
    schema = infer_schema(read_table(shared_data / "clothing" / "train.csv"), targets=["recommended"], drop=["rating"])
    assert [(stream.name, stream.modality) for stream in schema.streams] == [
        ("title", "text"),
        ("review_text", "text"),
        ("tabular", "tabular"),
    ]
    assert schema.streams[-1].columns == tuple(list(CLOTHING)[2:7])
    assert [(entry.name, entry.reason) for entry in schema.ignored] == [("rating", "left out by the user")]


def test_streams_of_leaf(shared_data: Path) -> None:
    table = read_table(shared_data / "leaf" / "validation.csv")
    groups = {name: [f"{name}*"] for name in ("margin", "shape", "texture")}
    schema = infer_schema(table, targets=["species"], streams=groups, modality={"species": "category"})
    assert [stream.name for stream in schema.streams] == ["image", "margin", "shape", "texture"]
    assert all(len(stream.columns) == 64 for stream in schema.streams[1:])


CHINESE = [
    "这件衣服很漂亮，我很喜欢",
    "质量太差了，穿了一次就坏",
    "物流很快，包装完好",
    "颜色和图片不一样，有点失望",
    "尺码偏小，建议买大一号",
]
JAPANESE = [
    "とても良い商品でした",
    "サイズが合わなくて残念です",
    "色がきれいで気に入っています",
    "配送が遅かったです",
    "また買いたいと思います",
]
KOREAN = [
    "이 옷은 정말 예쁘고 마음에 들어요",
    "배송이 너무 늦어서 조금 실망했어요",
    "사이즈가 작아서 교환하고 싶습니다",
]
THAI = ["สินค้าดีมากและส่งเร็วมากครับ", "คุณภาพไม่ค่อยดีเท่าไหร่เลย", "สีสวยตรงตามรูปที่ลงไว้ทุกอย่าง"]


def draw(values: list[Any], rows: int = 200) -> list[Any]:
    generator = random.Random(0)
    return [generator.choice(values) for _ in range(rows)]


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


COLUMNS: dict[str, tuple[list[Any], str]] = {
    "chinese sentences": (CHINESE, "text"),
    "chinese, many rows": ([f"{cell}{index}号" for index, cell in enumerate(draw(CHINESE))], "text"),
    "japanese sentences": (JAPANESE, "text"),
    "korean sentences": (KOREAN, "text"),
    "thai sentences": (THAI, "text"),
    "chinese sexes": (draw(["男", "女"]), "category"),
    "chinese cities": (draw(["北京", "上海", "广州", "内蒙古自治区", "哈尔滨"]), "category"),
    "japanese prefectures": (draw(["東京都", "大阪府", "北海道", "神奈川県"]), "category"),
    "four colours": (["red", "blue", "red", "green"], "category"),
    "booleans": ([True, False, None, True], "category"),
    "boolean words": (["True", "False", "TRUE"], "category"),
    "yes and no": (draw(["yes", "no"]), "category"),
    "long answers": (draw(["neither agree nor disagree", "strongly agree", "strongly disagree"]), "category"),
    "two words": (draw(["General Petite", "General", "Initmates"]), "category"),
    "composed captions": (draw([f"a {c} {s}" for c in ["red", "blue", "green", "teal"] for s in ("dot", "box", "bar")]),
                          "text"),
    "names": ([f"Smith{index}, Mr. John {index}" for index in range(30)], "text"),
    "tags": (draw(["a|b", "b|c", "a"]), "category"),
    "zip codes": (draw(["02139", "10001", "94105"]), "category"),
    "prices with commas": (draw(["1,299.00", "15.50", "2,000.00"]), "number"),
    "numbers": (["1", "-2.5", "3e4", " 7 "], "number"),
    "numbers with marks": (["1", "n/a", "-", "3", "?"], "number"),
    "numbers and one word": ([*map(str, range(40)), "unknown"], "number"),
    "python numbers": ([1, 2.5, None, np.float32(3)], "number"),
    "numbers as mixed types": ([1, "2", 3.5, "4"], "number"),
    "labels of mixed types": (draw(["a", 1, 2]), "category"),
    "one cell in a hundred": ([None] * 198 + ["4.5", "6"], "number"),
    "iso dates": (["2024-05-31", "2024-06-01", None], "datetime"),
    "iso times": (["2024-05-31T14:30:00Z", "2024-06-01 08:00"], "datetime"),
    "german dates": (["31.5.2024", "1.6.2024"], "datetime"),
    "slashed dates": (["31/5/2024", "1/6/2024"], "datetime"),
    "python dates": ([dt.date(2024, 5, 31), dt.datetime(2024, 6, 1)], "datetime"),
    "version numbers": (draw(["1.2.3", "1.2.4"]), "category"),
    "picture paths": (["A.PNG", "b.jpeg", "some folder/c.JPG", "no ending"], "image"),
    "picture urls": (["https://example.com/a.jpg?size=2", "https://example.com/b.png"], "image"),
    "page urls": (["https://example.com/a", "https://example.com/b"], "text"),
    "sound paths": (["a.wav", "b.MP3"], "audio"),
    "film paths": (["a.mp4", "b.mpg"], "video"),
    "text naming a file": (["please look at the picture in a.png", "this was about another thing", "and this too"],
                           "text"),
    "picture bytes": ([b"\x89PNG\r\n\x1a\n...", b"\xff\xd8\xff\xe0..."], "image"),
    "sound bytes": ([b"fLaC....", b"RIFF....WAVEfmt "], "audio"),
    "film bytes": ([b"\x00\x00\x00 ftypisom"], "video"),
    "film arrays": ([np.zeros((9, 4, 5, 3), np.uint8)], "video"),
    "grey film arrays": ([np.zeros((9, 4, 5), np.uint8)], "video"),
    "pictures with channels first": ([np.zeros((3, 4, 5), np.uint8)], "unknown"),
    "other bytes": ([b"PK\x03\x04"], "unknown"),
    "structs with bytes": ([{"bytes": b"\x89PNG....", "path": None}], "image"),
    "structs with paths": ([{"bytes": None, "path": "a.wav"}], "audio"),
    "samples": ([{"array": np.zeros(9), "sampling_rate": 8000}], "audio"),
    "samples in pairs": ([(np.zeros(9), 8000)], "audio"),
    "pictures": ([Image.new("RGB", (2, 2)), None], "image"),
    "grey arrays": ([np.zeros((4, 5), np.uint8)], "image"),
    "colour arrays": ([np.zeros((4, 5, 3))], "image"),
    "vectors": ([np.zeros(5), np.ones(5)], "vector"),
    "lists": ([[1, 2.5], [3, 4]], "vector"),
    "json vectors": (["[1, 2.5]", "[3, 4]"], "vector"),
    "lists of many lengths": ([[1, 2], [3]], "series"),
    "measurements": ([np.zeros((9, 3))], "series"),
    "point clouds": ([np.zeros((9, 3))], "points"),
    "measurements with gaps": ([[[1, None], [2, 3]], [[4, 5]]], "series"),
    "json measurements": (["[[1, 2], [3, 4]]", "[[5, null]]"], "series"),
    "ecg": ([np.zeros(50), np.ones(50)], "series"),
    "simulation": ([np.zeros(50), np.ones(50)], "vector"),
    "imu tables": (["a.csv", "b.CSV"], "series"),
    "parquet tables": (["a.parquet"], "series"),
    "lidar tables": (["a.csv", "b.csv"], "points"),
    "scans": (["a.bin", "b.bin"], "points"),
    "pcd scans": (["a.pcd"], "points"),
    "pcd bytes": ([b"# .PCD v0.7 - Point Cloud Data file format"], "points"),
    "radar frames": ([np.zeros((9, 20, 4)), np.zeros((8, 20, 4))], "points"),
    "ragged frames": ([[[[1, 2, 3]], [[4, 5, 6], [7, 8, 9]]]], "points"),
    "json frames": (["[[[1, 2, 3]], [], [[4, 5, 6], [7, 8, 9]]]"], "points"),
    "frames by a column": ([np.column_stack([np.zeros((9, 3)), [0, 0, 0, 0, 1, 2, 2, 3, 3]])] * 2, "points"),
    "seconds in a column": ([np.column_stack([np.zeros((9, 3)), np.arange(9) // 3])] * 2, "series"),
    "unequal lists": ([[[1, 2], [3]]], "unknown"),
    "array bytes": ([npy(np.zeros((9, 2))), npy(np.zeros((7, 2)))], "series"),
    "cloud bytes": ([npy(np.zeros((9, 4)))], "points"),
    "vector bytes": ([npy(np.zeros(5))], "vector"),
    "lists of labels": ([["a", "b"], []], "categories"),
    "json labels": (['["a", "b"]', '["c"]'], "categories"),
    "boxes": ([json.dumps([{"label": "x", "box": [0, 0, 1, 1]}])], "boxes"),
    "molecules": ([f"CC(=O)OC1=CC=CC=C1C(=O)O{'CN' * (9 + index)}" for index in range(30)], "text"),
    "nothing": ([None, None, " "], "category"),
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_every_kind(name: str) -> None:
    cells, expected = COLUMNS[name]
    modality, reason = detect_modality(name, cells, None)
    assert modality == expected, reason
    assert reason


def test_array_files_are_told_by_their_headers(tmp_path: Path) -> None:
    shapes = {"vector": (5,), "series": (9, 2), "points": (9, 4)}
    for name, shape in shapes.items():
        np.save(tmp_path / f"{name}.npy", np.zeros(shape))
        assert detect_modality(name, [f"{name}.npy"], tmp_path)[0] == name
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "none of which could be opened" in detect_modality("x", ["objects.npy", "missing.npy"], tmp_path)[1]


def test_columns_that_teach_nothing_are_ignored() -> None:
    table = Table(
        {
            "passenger_id": [str(index * 3) for index in range(40)],
            "row": list(range(40)),
            "ticket": [f"T-{index}" for index in range(40)],
            "empty": [None] * 40,
            "same": ["x"] * 40,
            "fare": [index * 7 % 40 for index in range(40)],
            "holes": ["x", None] * 20,
        }
    )
    schema = infer_schema(table)
    assert [entry.name for entry in schema.columns] == ["fare", "holes"]
    reasons = {entry.name: entry.reason for entry in schema.ignored}
    assert "identifier" in reasons["passenger_id"]
    assert "counter" in reasons["row"]
    assert "identifier" in reasons["ticket"]
    assert reasons["empty"] == "every cell is empty"
    assert reasons["same"] == "every cell is the same: x"
    kept = infer_schema(table, modality={"ticket": "text", "passenger_id": "number"})
    assert {"ticket", "passenger_id"} <= {entry.name for entry in kept.columns}


def table_of_streams() -> Table:
    return Table(
        {
            "a1": draw([1.5, 2, 3]),
            "a2": draw([4, 5.5]),
            "kind": draw(["x", "y"]),
            "photo": [f"{index}.png" for index in range(200)],
            "label": draw(["p", "q"]),
        }
    )


def test_streams() -> None:
    schema = infer_schema(table_of_streams(), targets=["label"], streams={"sizes": ["a*"], "pictures": ["photo"]})
    assert [(stream.name, stream.modality, stream.columns) for stream in schema.streams] == [
        ("pictures", "image", ("photo",)),
        ("sizes", "tabular", ("a1", "a2")),
        ("tabular", "tabular", ("kind",)),
    ]
    assert schema.modality_of("kind") == "category"
    assert schema.stream_of("photo") == "pictures"


def test_schema_through_json() -> None:
    schema = infer_schema(table_of_streams(), targets=["label"], drop=["a*"])
    assert Schema.from_state(json.loads(json.dumps(schema.state()))) == schema


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"targets": ["lable"]}, r"no column 'lable' \(from --target\). Did you mean 'label'\?"),
        ({"drop": ["Photo"]}, r"no column 'Photo' \(from --drop\). Did you mean 'photo'\?"),
        ({"modality": {"knid": "text"}}, r"no column 'knid' \(from --modality\). Did you mean 'kind'\?"),
        ({"ignore": ["speaker"]}, r"no column 'speaker' \(from --group or --time\)"),
        ({"modality": {"kind": "categroy"}}, r"no modality 'categroy'.*Did you mean 'category'\?"),
        ({"modality": {"photo": "boxes"}}, r"does not learn from 'boxes' columns such as 'photo'"),
        ({"modality": {"label": "audio"}, "targets": ["label"]}, r"no kind of target 'audio'"),
        ({"streams": {"s": ["b*"]}}, r"stream 's' asks for 'b\*', which matches no input column.*a1, a2, kind"),
        ({"streams": {"s": ["a*"], "t": ["a1"]}}, r"'a1' stands in two streams, 's' and 't'"),
        ({"streams": {"s": ["photo", "kind"]}}, r"'s' mixes the image column 'photo' with kind"),
        ({"streams": {"photo": ["a*"]}}, r"Two streams are called 'photo'"),
        ({"streams": {"s": []}}, r"stream 's' names no columns"),
        ({"targets": ["label"], "drop": ["label"]}, r"target 'label' is left out by the user at the same time"),
        ({"targets": ["label", "label"]}, r"named twice"),
        ({"drop": ["*"]}, r"no column left to learn from"),
    ],
)
def test_requests_that_do_not_fit(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        infer_schema(table_of_streams(), **request_)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["a"] * 20, "'y' has one class only, 'a'"),
        ([3.0, 3, None] * 5, "'y' has one class only, '3'"),
        ([None, " "] * 10, "'y' has no value in any row"),
        ([f"v{index}" for index in range(30)], "'y' has another value in every row.*--modality y=category"),
        (["2024-05-31", "2024-06-01"] * 5, "'y' holds datetime cells"),
    ],
)
def test_targets_that_cannot_be_learnt(cells: list[Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        infer_schema(Table({"x": [index % 7 for index in range(len(cells))], "y": cells}), targets=["y"])


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (draw(["a", "b"]), "category"),
        (draw([0, 1]), "category"),
        (draw(["1.0", "0.0"]), "category"),
        (draw([True, False]), "category"),
        (draw(list(range(10))), "category"),
        (draw(list(range(60))), "number"),
        (draw([1.5, 2.5, 3.25]), "number"),
        ([1, 2, 3, 4], "number"),
        (draw([["a"], ["a", "b"], []]), "categories"),
        (draw(['["a"]', '["a", "b"]', "[]"]), "categories"),
        (draw(["a|b", "b|c", "a", "c"]), "categories"),
        (draw(["a; b", "b;c", "a"]), "categories"),
        (draw([f"a {c} {s}" for c in ("red", "blue") for s in ("dot", "box", "bar", "ring", "star", "cross")]),
         "category"),
        ([f"some words about row {index}" for index in range(30)], "caption"),
        ([f"{index % 9}.png" for index in range(30)], "image"),
        ([[index, 2.5] for index in range(9)], "vector"),
        ([[1.0] * (2 + index % 3) for index in range(9)], "series"),
        (draw(["[[1, 2], [3, 4]]", "[[5, 6], [7, 8]]"]), "series"),
    ],
)  # fmt: skip
def test_target_kinds(cells: list[Any], kind: str) -> None:
    table = Table({"x": draw(["p", "q", "r"], len(cells)), "y": cells})
    assert infer_schema(table, targets=["y"], modality={"x": "category"}).targets[0].kind == kind


def test_a_target_kind_is_overruled() -> None:
    table = Table({"x": draw([1.5, 2.5, 9]), "y": draw([1, 2, 3])})
    assert infer_schema(table, targets=["y"], modality={"y": "number"}).targets[0].kind == "number"
    words = Table({"x": draw([1.5, 2.5, 9]), "y": draw(["a", "b"])})
    with pytest.raises(SchemaError, match="'y' is to be a number"):
        infer_schema(words, targets=["y"], modality={"y": "number"})


def test_recognised_columns_stop_training_and_say_how_to_go_on(shared_data: Path) -> None:
    with pytest.raises(SchemaError, match=r"'cells' holds labelled boxes .* Leave it out with `--drop cells`"):
        infer_schema(read_table(shared_data / "bccd" / "test.csv"), targets=["image"])


def test_lists_of_labels_are_read_as_the_words_of_a_text() -> None:
    table = Table({"tags": [["red", "big"], ["big"]] * 20, "size": [1.5, 2, 2.5, 3] * 10, "y": draw(["a", "b"], 40)})
    shown = infer_schema(table, targets=["y"])
    assert [entry.modality for entry in shown.columns] == ["text", "number"]
    assert shown.columns[0].reason.endswith("read as the words of a text")
    column, broken = Text.fit(table.columns["tags"], TextSettings(), None).transform(table.columns["tags"], None)
    assert broken == []
    assert column.present.all()


def test_urls_of_pictures_stop_training() -> None:
    table = Table({"photo": [f"https://example.com/{index}.png" for index in range(9)], "y": draw(["a", "b"], 9)})
    with pytest.raises(SchemaError, match=r"'photo' holds URLs .* which are not fetched\. --allow-remote allows"):
        infer_schema(table, targets=["y"])
