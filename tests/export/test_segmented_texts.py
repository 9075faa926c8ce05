"""A bundle cuts texts as its run does, and says what it needs for that."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import polymodal
import tiny
from polymodal.errors import MissingPackageError
from polymodal.modalities.segmentation import _jieba

REVIEWS = ("味道真的很好，送餐很快", "送餐太慢了，味道不好")


@pytest.mark.exhaustive  # an export of texts is tested; this is one more preparation of them
def test_a_bundle_cuts_texts_as_its_run_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"review": [f"{REVIEWS[row % 2]}{row}" for row in range(60)], "label": ["好评", "差评"] * 30}
    options = {"segmentation": "jieba", "stop_words": "auto", "stems": "en", "tokenizer": "word"}
    settings = {f"settings.review.{name}": value for name, value in options.items()}
    model = tiny.train(table, "label", modality={"review": "text"}, settings=settings)
    model.export(tmp_path / "bundle", table=table)
    loaded = polymodal.load(tmp_path / "bundle")
    expected, found = (asked.predictions(table).labels["label"] for asked in (model, loaded))
    assert found == expected
    monkeypatch.setitem(sys.modules, "rjieba", None)
    _jieba.cache_clear()
    with pytest.raises(MissingPackageError, match=r"pip install 'polymodal\[chinese\]'"):
        polymodal.load(tmp_path / "bundle")
