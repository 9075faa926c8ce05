"""Labels that another source wrote in another way."""

from __future__ import annotations

import pytest

from polymodal.modalities import Category, CategorySettings
from polymodal.modalities.label_lookup import LabelLookup


@pytest.mark.parametrize(
    ("labels", "text", "place"),
    [
        (["02139", "10001"], "2139", 0),
        (["0.10", "0.25"], "0.1", 0),
        (["yes", "no"], "true", 0),
        (["true", "false"], "0", 1),
        (["1", "01"], "1.0", -1),
        (["a", "b"], "c", -1),
        (["yes", "no", "maybe"], "true", -1),
        (["nan", "x"], "NaN", -1),
    ],
)
def test_only_what_means_the_same_is_found(labels: list[str], text: str, place: int) -> None:
    assert LabelLookup(labels).find(text) == place


def test_codes_read_as_numbers_are_the_same_categories() -> None:
    fitted = Category.fit(["02139", "00501", "02139"], CategorySettings(), None)
    assert fitted.transform([2139, 501.0, "02139", 7], None)[0].values.tolist() == [1, 2, 1, 0]
