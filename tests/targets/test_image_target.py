"""The target image: size and colour, broken files, PNG files, and images that are learned."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from polymodal.data.tables.table import Table
from polymodal.metrics import score_of
from polymodal.targets import ImageTarget, RowContext, fit_target
from polymodal.targets.image_uri import PNG_URI, decode_image, encode_image
from polymodal.tokens import Fused, Tokens


def fit(cells: list[Any], folder: Path | None = None, **options: Any) -> ImageTarget:
    target = fit_target("image", cells, RowContext(folder=folder), options)
    assert isinstance(target, ImageTarget)
    return target


def pictures(height: int, width: int, channels: int = 1) -> list[Any]:
    random = np.random.default_rng(0)
    return list(random.integers(0, 255, (4, height, width, channels), dtype=np.uint8))


def answer_of(target: ImageTarget) -> Image.Image:
    head = target.build_head(16, {}).eval()
    tokens = Tokens(torch.zeros(1, 2, 16), torch.ones(1, 2, dtype=torch.bool))
    with torch.inference_mode():
        (answer,) = head.predict(Fused(torch.zeros(1, 16), tokens))
    kind, content = str(answer.value).split(",")
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.parametrize(
    ("height", "width", "options", "size"),
    [
        (8, 8, {}, (8, 8)),
        (100, 50, {}, (16, 32)),
        (50, 100, {"size": 64}, (64, 32)),
        (30, 30, {"size": 8}, (8, 8)),
        (9, 33, {"size": 64}, (32, 8)),
    ],
)
def test_answers_have_the_training_pictures_aspect_and_at_most_the_size(
    height: int, width: int, options: dict[str, Any], size: tuple[int, int]
) -> None:
    assert answer_of(fit(pictures(height, width), **options)).size == size


def test_colour_is_kept_where_there_is_any() -> None:
    assert answer_of(fit(pictures(12, 12))).mode == "L"
    assert answer_of(fit(pictures(12, 12, 3))).mode == "RGB"
    assert answer_of(fit(pictures(12, 12, 3), channels=1)).mode == "L"


def test_broken_files_are_named_and_not_known(shared_data: Path) -> None:
    names = ["truncated.png", "empty.jpg", "text_renamed.png", "huge_header.png", "missing.png", PNG_URI + "AAA"]
    good = [str(shared_data / "leaf" / "images" / f"00{number}.png") for number in range(3)]
    source = RowContext(folder=shared_data / "fixtures")
    target = fit([*good, *names], source.folder)
    assert target.encode([*names, *good, None], source)[1].tolist() == [False] * 6 + [True] * 3 + [False]
    problems = target.invalid_cells([*names, *good, None], source)
    assert [row for row, _ in problems] == [0, 1, 2, 3, 4, 5]
    assert all(reason for _, reason in problems)


def test_scores_are_in_units_of_black_to_white() -> None:
    black, grey = np.zeros((8, 8, 1), np.uint8), np.full((8, 8, 1), 51, np.uint8)
    target = fit([black, grey])
    truth, said = [encode_image(black)] * 2, [encode_image(grey), encode_image(black)]
    scores = score_of(target.measure(truth, said), 2)
    assert scores["rmse"] == pytest.approx(np.sqrt(0.02))
    assert scores["mae"] == pytest.approx(0.1)
    assert scores["psnr"] == pytest.approx((-10 * np.log10(0.04) + 100) / 2)
    assert target.row_scores(truth, said).tolist() == pytest.approx([0.8, 1.0])
    assert decode_image(target.prior.value).ravel()[0] in (25, 26)


def test_a_picture_is_learnt_and_shown_beside_the_truth(tmp_path: Path) -> None:
    table = tiny.write_table(tmp_path, 90, missing=0.0)
    table = Table({name: table.columns[name] for name in ("size", "note", "photo")}, table.folder, "tiny")
    settings = {"train.epochs": 24, "train.learning_rate": 0.005, "width": 32}
    model = tiny.train(table, "photo", settings=settings, output=tmp_path / "run")
    assert model.trained.targets["photo"].kind == "image"
    summary = model.summary()
    assert summary["targets"]["photo"]["rmse"] < 0.6 * summary["baselines"]["photo"]["prior"]["rmse"]
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert html.count('alt="The picture: answer"') == html.count('alt="The picture: truth"') > 0
