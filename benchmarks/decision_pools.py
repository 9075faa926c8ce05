"""Rows that ``decision_tables`` draws its tables from: shared datasets and scikit-learn's."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DATA = Path(os.environ.get("POLYMODAL_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
MADE_ROWS = 4500
Cells = list[Any]
Streams = Mapping[str, Mapping[str, Cells]]


@dataclass(frozen=True)
class Pool:
    """Rows to draw tables from.

    Attributes:
        streams: Stream to column to cells. A stream of one column is that column, of more it is number columns.
        target: The cells to predict.
        kind: "category", "categories" or "number".
        modality: Column to modality, where it is not to be inferred.
    """

    streams: Streams
    target: Cells
    kind: str = "category"
    modality: Mapping[str, str] = field(default_factory=dict)

    @property
    def grouped(self) -> dict[str, list[str]]:
        """Streams of several columns, as the option ``stream`` takes them; ``tabular`` needs no naming."""
        return {name: list(columns) for name, columns in self.streams.items() if len(columns) > 1 and name != "tabular"}


def columns_of(name: str, values: NDArray[Any]) -> dict[str, Cells]:
    """Return number columns.

    Args:
        name: What their names begin with.
        values: ``[rows, columns]``.

    Returns:
        Column to cells.
    """
    return {f"{name}{index}": values[:, index].astype(float).tolist() for index in range(values.shape[1])}


def vectors_of(name: str, values: NDArray[Any]) -> dict[str, Cells]:
    """Return one column of vectors.

    Args:
        name: Its name.
        values: ``[rows, columns]``.

    Returns:
        The column's name to its cells.
    """
    return {name: list(values.astype(np.float32))}


def _numbers(values: NDArray[Any], target: Cells, names: Sequence[str], kind: str = "category") -> Pool:
    """Split the columns of a matrix evenly into streams of number columns."""
    parts = np.array_split(np.arange(values.shape[1]), len(names))
    streams = {name: columns_of(name, values[:, part]) for name, part in zip(names, parts, strict=True)}
    every = [column for columns in streams.values() for column in columns]
    return Pool(streams, target, kind, dict.fromkeys(every, "number"))


@cache
def digits(form: str) -> Pool:
    """Return scikit-learn's handwritten digits.

    Args:
        form: "halves" and "thirds" of vectors, "quarters" of number columns, the "image", the image (blurred by
            noise) beside the lower half's "columns", or "eight": thirds, and whether the digit is an eight.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels, labels = found.data.reshape(-1, 8, 8), [f"d{label}" for label in found.target]
    pictures = (found.images * 15.9).astype(np.uint8)
    if form == "image":
        return Pool({"image": {"image": list(pictures)}}, labels)
    if form == "columns":
        noisy = np.clip(pictures + np.random.default_rng(0).normal(0, 60, pictures.shape), 0, 255).astype(np.uint8)
        lower = columns_of("lower", pixels[:, 4:].reshape(-1, 32))
        return Pool({"image": {"image": list(noisy)}, "lower": lower}, labels, modality=dict.fromkeys(lower, "number"))
    if form == "quarters":
        quarters = {f"q{i}{j}": pixels[:, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4] for i in (0, 1) for j in (0, 1)}
        streams = {name: columns_of(name, part.reshape(-1, 16)) for name, part in quarters.items()}
        return Pool(streams, labels, modality={c: "number" for columns in streams.values() for c in columns})
    cuts = {"halves": (0, 4, 8), "thirds": (0, 3, 5, 8), "eight": (0, 3, 5, 8)}[form]
    parts = {f"part{i}": pixels[:, a:b].reshape(len(pixels), -1) for i, (a, b) in enumerate(pairwise(cuts))}
    target = ["eight" if label == "d8" else "other" for label in labels] if form == "eight" else labels
    return Pool({name: vectors_of(name, part) for name, part in parts.items()}, target)


@cache
def sklearn_table(name: str, num_streams: int) -> Pool:
    """Return breast_cancer, wine, iris or diabetes of scikit-learn, columns split into streams.

    Args:
        name: Which.
        num_streams: How many streams.
    """
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    kind = "number" if name == "diabetes" else "category"
    target = found.target.astype(float).tolist() if kind == "number" else [f"c{label}" for label in found.target]
    return _numbers(found.data, target, [f"part{index}_" for index in range(num_streams)], kind)


@cache
def made_classes(num_classes: int, num_streams: int, separation: float = 1.0, flipped: float = 0.02) -> Pool:
    """Return made classes.

    Args:
        num_classes: How many.
        num_streams: How many streams of eight numbers each.
        separation: How far apart the classes are; 0 for no relation.
        flipped: Share of random labels.
    """
    from sklearn.datasets import make_classification

    values, labels = make_classification(
        n_samples=MADE_ROWS * (1 if num_classes > 2 else 4),
        n_features=8 * num_streams,
        n_informative=4 * num_streams,
        n_redundant=2 * num_streams,
        n_classes=num_classes,
        n_clusters_per_class=2 if num_classes < 6 else 1,
        class_sep=separation or 1.0,
        flip_y=flipped,
        random_state=7,
    )
    labels = np.random.default_rng(7).permutation(labels) if separation == 0 else labels
    return _numbers(values, [f"c{label}" for label in labels], [f"part{i}_" for i in range(num_streams)])


@cache
def friedman(num_streams: int, noise: float = 1.0) -> Pool:
    """Return the regression of Friedman 1991, with ten inputs.

    Args:
        num_streams: How many streams the inputs are split into.
        noise: Standard deviation of the noise.
    """
    from sklearn.datasets import make_friedman1

    values, target = make_friedman1(MADE_ROWS, n_features=10, noise=noise, random_state=7)
    order = np.random.default_rng(7).permutation(10)
    return _numbers(values[:, order], target.tolist(), [f"part{i}_" for i in range(num_streams)], "number")


@cache
def made_labels(num_labels: int, num_streams: int) -> Pool:
    """Return made rows with any number of labels each.

    Args:
        num_labels: Different labels.
        num_streams: How many streams of eight numbers each.
    """
    from sklearn.datasets import make_multilabel_classification

    values, has_label = make_multilabel_classification(
        MADE_ROWS, n_features=8 * num_streams, n_classes=num_labels, n_labels=2, random_state=7
    )
    target = [[f"l{index}" for index in np.flatnonzero(row)] for row in has_label]
    return _numbers(values, target, [f"part{i}_" for i in range(num_streams)], "categories")


def _rows(folder: str, prefix: str = "") -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for split in ("train", "validation", "test"):
        with (DATA / folder / f"{prefix}{split}.csv").open(encoding="utf-8", newline="") as file:
            found += csv.DictReader(file)
    return found


def _texts(rows: list[dict[str, str]], *names: str) -> dict[str, Cells]:
    return {name: [row[name] or None for row in rows] for name in names}


def _paths(rows: list[dict[str, str]], folder: str, name: str) -> dict[str, Cells]:
    return {name: [str(DATA / folder / row[name]) for row in rows]}


@cache
def avdigits() -> Pool:
    """Return pictures and sounds of digits."""
    rows = _rows("avdigits")
    streams = {name: _paths(rows, "avdigits", name) for name in ("image", "audio")}
    return Pool(streams, [row["digit"] for row in rows])


@cache
def leaf(target: str) -> Pool:
    """Return leaves.

    Args:
        target: "genus", of picture, margin, shape and texture; or "species", of the latter three.
    """
    rows = _rows("leaf")
    names = {part: [f"{part}{index}" for index in range(1, 65)] for part in ("margin", "shape", "texture")}
    values = {part: np.array([[float(row[c]) for c in columns] for row in rows]) for part, columns in names.items()}
    streams: dict[str, Mapping[str, Cells]] = {part: vectors_of(part, of_part) for part, of_part in values.items()}
    if target == "genus":
        streams["image"] = _paths(rows, "leaf", "image")
    return Pool(streams, [row["species"].split("_")[0] if target == "genus" else row["species"] for row in rows])


@cache
def clothing(target: str) -> Pool:
    """Return reviews of clothes: two texts and a table.

    Args:
        target: "recommended", "department_name" or "rating" as a number.
    """
    rows = [row for row in _rows("clothing") if row[target]]
    numbers = {name: [float(row[name]) for row in rows] for name in ("age", "positive_feedback_count")}
    tabular = numbers | ({} if target == "department_name" else _texts(rows, "division_name", "class_name"))
    streams = {"title": _texts(rows, "title"), "review_text": _texts(rows, "review_text"), "tabular": tabular}
    if target == "rating":
        return Pool(streams, [float(row[target]) for row in rows], "number")
    return Pool(streams, [row[target] for row in rows])


@cache
def baby_products() -> Pool:
    """Return products for babies: title, table, and the price."""
    rows = _rows("baby_products")
    tabular = _texts(rows, "category", "company_struct", "fabrics", "is_discounted", "weight", "length", "width")
    return Pool({"title": _texts(rows, "title"), "tabular": tabular}, [float(row["price"]) for row in rows], "number")


@cache
def takeaway() -> Pool:
    """Return Chinese reviews, good or bad."""
    rows = _rows("takeaway_zh")
    return Pool({"review": _texts(rows, "review")}, [row["label"] for row in rows])


@cache
def esc10() -> Pool:
    """Return sounds of ten kinds."""
    rows = _rows("esc10")
    return Pool({"audio": _paths(rows, "esc10", "audio")}, [row["label"] for row in rows])


@cache
def easyvqa() -> Pool:
    """Return questions about pictures; those with the two most frequent answers are left out."""
    rows = _rows("easyvqa")
    frequent = {answer for answer, _ in Counter(row["answer"] for row in rows).most_common(2)}
    rows = [row for row in rows if row["answer"] not in frequent]
    streams = {"image": _paths(rows, "easyvqa", "image"), "question": _texts(rows, "question")}
    return Pool(streams, [row["answer"] for row in rows])
