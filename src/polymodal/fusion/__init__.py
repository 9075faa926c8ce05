"""How streams become one, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from torch import nn

from polymodal.errors import ConfigError, parameter_error
from polymodal.fusion.base import Fusion
from polymodal.fusion.cross import build_cross_attention, build_latent
from polymodal.fusion.decision import EvidentialFusion, build_evidential
from polymodal.fusion.feature import build_attention, build_concat, build_gated, build_sum
from polymodal.fusion.film import build_film
from polymodal.fusion.model import build_bottleneck, build_transformer_fusion
from polymodal.fusion.product import build_low_rank, build_match, build_tensor
from polymodal.nn.builders import Size, builder_sizes, check_sizes


class FusionEntry(NamedTuple):
    """A row of the table of fusions.

    Attributes:
        build: Builder; None for a fusion of decisions that has no module.
        level: Where it joins the streams: pooled features, inside a model, or decisions.
        summary: One line.
        paper: Where it comes from.
        kinds: Kinds of targets it can answer; None for all.
    """

    build: Callable[..., nn.Module] | None
    level: Literal["feature", "model", "decision"]
    summary: str
    paper: str
    kinds: tuple[str, ...] | None = None


FUSIONS: dict[str, FusionEntry] = {
    "transformer": FusionEntry(
        build_transformer_fusion,
        "model",
        "a class token and all streams' tokens look at each other",
        "Vaswani et al. 2017; Devlin et al. 2019",
    ),
    "bottleneck": FusionEntry(
        build_bottleneck, "model", "streams exchange through a few bottleneck tokens", "Nagrani et al. 2021"
    ),
    "cross_attention": FusionEntry(
        build_cross_attention, "model", "each stream looks at each other one", "Tsai et al. 2019"
    ),
    "latent": FusionEntry(build_latent, "model", "a few learned vectors look at all tokens", "Jaegle et al. 2021"),
    "concat": FusionEntry(build_concat, "feature", "pooled streams side by side, two layers", "Ngiam et al. 2011"),
    "sum": FusionEntry(build_sum, "feature", "pooled streams projected and added", "Baltrusaitis et al. 2019"),
    "gated": FusionEntry(build_gated, "feature", "a gate for each value of each stream", "Arevalo et al. 2017"),
    "attention": FusionEntry(
        build_attention, "feature", "a weighted mean; predictions can return the weights", "Bahdanau et al. 2015"
    ),
    "film": FusionEntry(build_film, "feature", "the others scale and shift a stream's tokens", "Perez et al. 2018"),
    "low_rank": FusionEntry(build_low_rank, "feature", "a low-rank product of all streams", "Liu et al. 2018"),
    "match": FusionEntry(build_match, "feature", "products and differences of all pairs of streams", "Mou et al. 2016"),
    "tensor": FusionEntry(build_tensor, "feature", "the outer product of up to eight streams", "Zadeh et al. 2017"),
    "vote": FusionEntry(None, "decision", "a weighted vote of the streams' own predictions", "Kittler et al. 1998"),
    "stacking": FusionEntry(
        None, "decision", "a small model over the streams' own predictions", "Wolpert 1992; Ting and Witten 1999"
    ),
    "evidential": FusionEntry(
        build_evidential, "decision", "the streams' evidence by Dempster's rule", "Han et al. 2021", ("category",)
    ),
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
    if build is None or not builder_sizes(build):
        check_none(name, sizes)
    if build is None:
        return None
    check_sizes(build, f"the fusion {name!r}", sizes)
    return build(streams, width, **sizes)


def check_none(name: str, sizes: Mapping[str, Size]) -> None:
    """Check that a fusion without sizes is given none.

    Args:
        name: Name of the fusion.
        sizes: What the user gave.

    Raises:
        ConfigError: If there are any.
    """
    if sizes:
        raise parameter_error("sizes", f"the fusion {name!r}", "left out: it has none", next(iter(sizes)))


def check_kinds(name: str, kinds: Mapping[str, str]) -> None:
    """Check that a fusion can answer the targets.

    Args:
        name: Name in ``FUSIONS``.
        kinds: Target to its kind.

    Raises:
        ConfigError: If it cannot answer one.
    """
    wanted = FUSIONS[name].kinds if name in FUSIONS else None
    for target, kind in kinds.items():
        if wanted is not None and kind not in wanted:
            raise ConfigError(
                f"The fusion {name!r} answers targets of the kind {' or '.join(wanted)} only. The target {target!r} "
                f"is of the kind {kind!r}. Choose another --fusion, such as 'stacking' or 'transformer'."
            )


__all__ = [
    "DEFAULT_FUSION",
    "FUSIONS",
    "EvidentialFusion",
    "Fusion",
    "FusionEntry",
    "build_fusion",
    "check_kinds",
]
