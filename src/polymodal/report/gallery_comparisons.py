"""True and predicted answers that are better seen than read: pictures and series, side by side in the report."""

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


def compare_html(kind: str, truth: Cell, answer: Cell) -> Markup:
    """Draw an answer beside the truth.

    Args:
        kind: Kind of the target.
        truth: The true value.
        answer: The predicted value.

    Returns:
        Safe HTML; empty for kinds that are read, not seen.
    """
    compare = COMPARISONS.get(kind)
    return compare(truth, answer) if compare else Markup("")


def _pictures(truth: Cell, answer: Cell) -> Markup:
    shown = [_picture(name, str(uri)) for name, uri in (("answer", answer), ("truth", truth))]
    return Markup('<div class="compared">{}</div>').format(Markup("").join(shown))


def _picture(name: str, uri: str) -> Markup:
    safe = uri if uri.startswith(PNG_URI) else ""
    image = '<div><span class="column">{}</span><img class="tiny" src="{}" alt="The picture: {}"></div>'
    return Markup(image).format(name, safe, name)


def _series(truth: Cell, answer: Cell) -> Markup:
    true, said = (np.array(cell, dtype=np.float64).reshape(len(cell), -1) for cell in (truth, answer))
    drawn = [_channel(true[:, place], said[:, place]) for place in range(min(true.shape[1], SHOWN_CHANNELS))]
    left_out = true.shape[1] - len(drawn)
    note = "answer dashed, truth solid" + (f"; {left_out} more channels" if left_out else "")
    return Markup('<div>{}<span class="note">{}</span></div>').format(Markup("").join(drawn), note)


def _channel(true: NDArray[np.float64], said: NDArray[np.float64]) -> Markup:
    low, high = padded_range([*true.tolist(), *said.tolist()])
    step = 240 / max(len(true) - 1, len(said) - 1, 1)
    lines = Markup("").join(
        Markup('<polyline class="line {}" points="{}"/>').format(style, _points(values, step, low, high))
        for style, values in (("s1", true), ("s2", said))
    )
    head = '<svg class="spark" role="img" viewBox="0 0 240 48" preserveAspectRatio="none" aria-label="{}">{}</svg>'
    return Markup(head).format(f"{len(said)} steps of the answer beside the truth", lines)


def _points(values: NDArray[np.float64], step: float, low: float, high: float) -> str:
    every = -(-len(values) // SHOWN_STEPS)
    return " ".join(
        f"{place * step:.1f},{44 - 40 * (values[place] - low) / (high - low):.1f}"
        for place in range(0, len(values), every)
    )


COMPARISONS: dict[str, Callable[[Cell, Cell], Markup]] = {"image": _pictures, "series": _series}
