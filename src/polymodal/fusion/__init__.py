"""How streams become one, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from torch import nn

from polymodal.errors import parameter_error
from polymodal.fusion.base import Fusion
from polymodal.fusion.feature import build_attention, build_concat, build_gated
from polymodal.fusion.model import build_transformer_fusion
from polymodal.sizes import Size, check_sizes


class FusionEntry(NamedTuple):
    """A row of the table of fusions.

    Attributes:
        build: Builder; None for a fusion of decisions, which has no module.
        level: Where it joins the streams: pooled features, inside a model, or decisions.
        summary: One line.
        paper: Where it comes from.
    """

    build: Callable[..., nn.Module] | None
    level: Literal["feature", "model", "decision"]
    summary: str
    paper: str


FUSIONS: dict[str, FusionEntry] = {
    "transformer": FusionEntry(
        build_transformer_fusion,
        "model",
        "a class token and all streams' tokens look at each other",
        "Vaswani et al. 2017; Devlin et al. 2019",
    ),
    "concat": FusionEntry(build_concat, "feature", "pooled streams side by side, two layers", "Ngiam et al. 2011"),
    "gated": FusionEntry(build_gated, "feature", "a gate for each value of each stream", "Arevalo et al. 2017"),
    "attention": FusionEntry(
        build_attention, "feature", "a weighted mean; predictions can return the weights", "Bahdanau et al. 2015"
    ),
    "vote": FusionEntry(None, "decision", "a weighted vote of the streams' own predictions", "Kittler et al. 1998"),
}

DEFAULT_FUSION = "transformer"


def build_fusion(name: str, streams: Sequence[str], width: int, sizes: Mapping[str, Size]) -> nn.Module | None:
    """Build a fusion by name.

    Args:
        name: Name in ``FUSIONS``.
        streams: Names of the streams.
        width: Width of all tokens.
        sizes: Keyword arguments of the builder.

    Returns:
        The fusion, or None where only decisions are joined.

    Raises:
        ConfigError: If the name or a size is unknown, or a size cannot work.
    """
    if name not in FUSIONS:
        raise parameter_error("fusion", "a run", f"one of: {', '.join(FUSIONS)}", name)
    build = FUSIONS[name].build
    if build is None:
        check_none(name, sizes)
        return None
    check_sizes(build, f"the fusion {name!r}", sizes)
    return build(streams, width, **sizes)


def check_none(name: str, sizes: Mapping[str, Size]) -> None:
    """Check that a fusion without a module is given no sizes.

    Args:
        name: Name of the fusion.
        sizes: What the user gave.

    Raises:
        ConfigError: If there are any.
    """
    if sizes:
        raise parameter_error("sizes", f"the fusion {name!r}", "left out: it has none", next(iter(sizes)))


__all__ = ["DEFAULT_FUSION", "FUSIONS", "Fusion", "FusionEntry", "build_fusion"]
