"""Tables as other programs write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polymodal.data.tables.table import read_table
from polymodal.errors import PolymodalWarning, TableError


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,x\n2,y\n",
        "a;b\n1;x\n2;y\n",
        "a|b\n1|x\n2|y\n",
        "sep=;\na;b\n1;x\n2;y\n",
        "# made by a program\n# 2 rows\n\na,b\n1,x\n2,y\n",
        "a~b\n1~x\n2~y\n",
        "a:b\n1:x\n2:y\n",
        '"sep=;"\na;b\n1;x\n2;y\n',
        "Report of May\n\na,b\n1,x\n2,y\n",
        "Report of May,\n,\na,b\n1,x\n2,y\n",
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::polymodal.PolymodalWarning")
def test_separators_and_what_stands_above_the_header(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert read_table(tmp_path / "t.csv").columns == {"a": ["1", "2"], "b": ["x", "y"]}


def test_a_header_may_start_with_a_hash(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("#id,b\n1,x\n")
    assert read_table(tmp_path / "t.csv").column_names == ["#id", "b"]


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ([{"a": 1, "b": "x"}, {"a": 2}], {"a": [1, 2], "b": ["x", None]}),
        ({"a": [1, 2], "b": ["x", None]}, {"a": [1, 2], "b": ["x", None]}),
        (
            {
                "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
                "annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 2, 10, 20]}],
                "categories": [{"id": 3, "name": "cat"}],
            },
            {"image": ["a.jpg", "b.jpg"], "boxes": [[{"label": "cat", "box": [1, 2, 11, 22]}], []]},
        ),
        ({"a": {"0": 1, "1": 2}, "b": {"0": "x", "1": "y"}}, {"a": [1, 2], "b": ["x", "y"]}),
        ({"0": {"a": 1, "b": "x"}, "1": {"a": 2, "b": "y"}}, {"a": [1, 2], "b": ["x", "y"]}),
        ({"k": {"a": 1}, "l": {"a": 2}}, {"key": ["k", "l"], "a": [1, 2]}),
        ({"columns": ["a"], "index": [0, 1], "data": [[1], [2]]}, {"a": [1, 2]}),
        ({"version": 1, "data": [{"a": 1}, {"a": 2}]}, {"a": [1, 2]}),
        ({"results": [{"a": 1}, {"a": 2}]}, {"a": [1, 2]}),
        ({"boxes": [{"label": "x"}, {"label": "y"}]}, {"boxes": [{"label": "x"}, {"label": "y"}]}),
    ],
    ids=str,
)
def test_json_files(tmp_path: Path, content: Any, columns: dict[str, list[Any]]) -> None:
    (tmp_path / "t.json").write_text(json.dumps(content))
    assert read_table(tmp_path / "t.json").columns == columns


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PAR1\x00\x00", "a Parquet file"),
        (b"PK\x03\x04", "a workbook"),
        (b"<!DOCTYPE html>\n<p>\n", "a web page"),
        (b'[{"a": 1}]', "a JSON file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:a\n", "a pointer of Git LFS"),
        ("a,b\n1,2\n".encode("utf-16-le"), "a UTF-16 or a binary file"),
    ],
    ids=str,
)
def test_files_of_another_kind_are_named(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(TableError, match=what):
        read_table(tmp_path / "t.csv")


def test_separators_in_quotes_make_no_title(tmp_path: Path) -> None:
    texts = ["Great, fast.", "Bad, slow.", "Great; bad, both"]
    (tmp_path / "reviews.csv").write_text("review\n" + "".join(f'"{text}"\n' for text in texts))
    assert read_table(tmp_path / "reviews.csv").columns == {"review": texts}


def test_a_title_above_the_names_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Report of May\n\na,b\n1,x\n2,y\n")
    with pytest.warns(PolymodalWarning, match="above its names, which a, b are"):
        read_table(tmp_path / "t.csv")


def test_a_manifest_of_one_object_a_line(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"audio_filepath": "a.wav", "text": "hi"}\n{"audio_filepath": "b.wav"}\n')
    assert read_table(tmp_path / "t.json").columns["text"] == ["hi", None]


def test_json_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("[1, 2]")
    with pytest.raises(TableError, match="Expected a list of objects"):
        read_table(tmp_path / "t.json")


def test_a_workbook_is_read_with_its_types(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    pytest.importorskip("python_calamine")
    book = openpyxl.Workbook()
    for row in (["name", "size", "ok"], ["x", 1.5, True], [None, 2, False]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    assert read_table(tmp_path / "t.xlsx").columns == {"name": ["x", None], "size": [1.5, 2], "ok": [True, False]}


def test_a_damaged_workbook_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("python_calamine")
    (tmp_path / "t.xlsx").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(TableError, match=r"t\.xlsx cannot be read as a workbook"):
        read_table(tmp_path / "t.xlsx")


def test_a_dataset_keeps_its_order() -> None:
    datasets = pytest.importorskip("datasets")
    shuffled = datasets.Dataset.from_dict({"x": [1.0, 2.0, 3.0], "y": ["a", "b", "c"]}).shuffle(seed=1).select([0, 2])
    assert read_table(shuffled).columns == {"x": list(shuffled["x"]), "y": list(shuffled["y"])}
    with pytest.raises(TableError, match="Pass one of them"):
        read_table(datasets.DatasetDict({"train": shuffled}))


def test_categories_of_polars() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"c": polars.Series(["a", None, "b"], dtype=polars.Categorical)})
    assert read_table(frame).columns == {"c": ["a", None, "b"]}
    assert read_table(frame.lazy()).columns == {"c": ["a", None, "b"]}
