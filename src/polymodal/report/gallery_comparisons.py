"""True and predicted answers that are better seen than read: images and series, side by side in the report."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from polymodal.arrays import Cell
from polymodal.report.charts import padded_range
from polymodal.targets.image_uri import PNG_URI

SHOWN_CHANNELS = 3
SHOWN_STEPS = 240


def render_comparison(kind: str, truth: Cell, prediction: Cell) -> Markup:
    """Draw a prediction beside the truth.

    Args:
        kind: Kind of the target.
        truth: The true value.
        prediction: The predicted value.

    Returns:
        Safe HTML; empty for kinds that are shown as text.
    """
    compare = COMPARISONS.get(kind)
    return compare(truth, prediction) if compare else Markup("")


def _images(truth: Cell, prediction: Cell) -> Markup:
    shown = [_image(name, str(uri)) for name, uri in (("answer", prediction), ("truth", truth))]
    return Markup('<div class="compared">{}</div>').format(Markup("").join(shown))


def _image(name: str, uri: str) -> Markup:
    safe = uri if uri.startswith(PNG_URI) else ""
    image = '<div><span class="column">{}</span><img class="tiny" src="{}" alt="The picture: {}"></div>'
    return Markup(image).format(name, safe, name)


def _series(truth: Cell, prediction: Cell) -> Markup:
    true, predicted = (np.array(cell, dtype=np.float64).reshape(len(cell), -1) for cell in (truth, prediction))
    drawn = [_channel(true[:, place], predicted[:, place]) for place in range(min(true.shape[1], SHOWN_CHANNELS))]
    left_out = true.shape[1] - len(drawn)
    note = "answer dashed, truth solid" + (f"; {left_out} more channels" if left_out else "")
    return Markup('<div>{}<span class="note">{}</span></div>').format(Markup("").join(drawn), note)


def _channel(true: NDArray[np.float64], predicted: NDArray[np.float64]) -> Markup:
    low, high = padded_range([*true.tolist(), *predicted.tolist()])
    step = 240 / max(len(true) - 1, len(predicted) - 1, 1)
    lines = Markup("").join(
        Markup('<polyline class="line {}" points="{}"/>').format(style, _points(values, step, low, high))
        for style, values in (("s1", true), ("s2", predicted))
    )
    head = '<svg class="spark" role="img" viewBox="0 0 240 48" preserveAspectRatio="none" aria-label="{}">{}</svg>'
    return Markup(head).format(f"{len(predicted)} steps of the answer beside the truth", lines)


def _points(values: NDArray[np.float64], step: float, low: float, high: float) -> str:
    every = -(-len(values) // SHOWN_STEPS)
    return " ".join(
        f"{place * step:.1f},{44 - 40 * (values[place] - low) / (high - low):.1f}"
        for place in range(0, len(values), every)
    )


COMPARISONS: dict[str, Callable[[Cell, Cell], Markup]] = {"image": _images, "series": _series}
