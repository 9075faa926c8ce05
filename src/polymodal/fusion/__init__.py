"""Fusions: from the tokens of all streams to one vector a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from torch import nn

from polymodal.config import Hyperparameter, part_name
from polymodal.errors import ConfigError, parameter_error
from polymodal.fusion.base import Fusion
from polymodal.fusion.cross import CrossAttentionFusion, LatentFusion
from polymodal.fusion.decision import EvidentialFusion
from polymodal.fusion.feature import AttentionFusion, ConcatFusion, GatedFusion, SumFusion
from polymodal.fusion.film import FilmFusion
from polymodal.fusion.model import BottleneckFusion, TransformerFusion
from polymodal.fusion.product import LowRankFusion, MatchFusion, TensorFusion
from polymodal.nn.builders import build, check_hyperparameters
from polymodal.plugins import FUSION_GROUP, PartTable


class FusionEntry(NamedTuple):
    """A row of the table of fusions.

    Attributes:
        build: The class, or a function that makes the module: called with the names of the streams, the width and, by
            name, its hyperparameters, which are its keyword-only parameters. None for a fusion of predictions without
            a module.
        level: What it combines: pooled features, tokens (inside a model), or predictions (decisions).
        summary: One line.
        paper: The paper.
        kinds: Kinds of targets it can predict; None for all.
        exports: Whether it can be exported as a graph of a bundle.
    """

    build: Callable[..., nn.Module] | None
    level: Literal["feature", "model", "decision"]
    summary: str
    paper: str
    kinds: tuple[str, ...] | None = None
    exports: bool = True


FusionChoice = str | FusionEntry | Callable[..., nn.Module]
"""A name in ``FUSIONS``, or a row, class or function given directly."""

FUSIONS = PartTable(
    FUSION_GROUP,
    FusionEntry,
    {
        "transformer": FusionEntry(
            TransformerFusion,
            "model",
            "self-attention over a class token and all streams' tokens",
            "Vaswani et al. 2017; Devlin et al. 2019",
        ),
        "bottleneck": FusionEntry(
            BottleneckFusion, "model", "streams exchange through a few bottleneck tokens", "Nagrani et al. 2021"
        ),
        "cross_attention": FusionEntry(
            CrossAttentionFusion, "model", "cross-attention from each stream to each other one", "Tsai et al. 2019"
        ),
        "latent": FusionEntry(
            LatentFusion, "model", "cross-attention from a few learned latents to all tokens", "Jaegle et al. 2021"
        ),
        "concat": FusionEntry(ConcatFusion, "feature", "pooled streams side by side, two layers", "Ngiam et al. 2011"),
        "sum": FusionEntry(SumFusion, "feature", "pooled streams projected and added", "Baltrusaitis et al. 2019"),
        "gated": FusionEntry(GatedFusion, "feature", "a gate for each value of each stream", "Arevalo et al. 2017"),
        "attention": FusionEntry(
            AttentionFusion, "feature", "a weighted mean; predictions can return the weights", "Bahdanau et al. 2015"
        ),
        "film": FusionEntry(FilmFusion, "feature", "the others scale and shift a stream's tokens", "Perez et al. 2018"),
        "low_rank": FusionEntry(LowRankFusion, "feature", "a low-rank product of all streams", "Liu et al. 2018"),
        "match": FusionEntry(
            MatchFusion, "feature", "products and differences of all pairs of streams", "Mou et al. 2016"
        ),
        "tensor": FusionEntry(TensorFusion, "feature", "the outer product of up to eight streams", "Zadeh et al. 2017"),
        "vote": FusionEntry(None, "decision", "a weighted vote of the streams' own predictions", "Kittler et al. 1998"),
        "stacking": FusionEntry(
            None, "decision", "a small model over the streams' own predictions", "Wolpert 1992; Ting and Witten 1999"
        ),
        "evidential": FusionEntry(
            EvidentialFusion, "decision", "the streams' evidence by Dempster's rule", "Han et al. 2021", ("category",)
        ),
    },
)

DEFAULT_FUSION = "transformer"


def fusion_entry(choice: FusionChoice) -> FusionEntry:
    """Return the row of a fusion.

    Args:
        choice: Name in ``FUSIONS``, or a row, class or function given directly.

    Returns:
        The row; of a class or function one of the level "model".

    Raises:
        ConfigError: If there is no fusion of that name, or it is none of all these.
    """
    if isinstance(choice, FusionEntry):
        return choice
    if callable(choice):
        return FusionEntry(choice, "model", "given directly", "")
    if choice not in FUSIONS:
        raise parameter_error("fusion", "a run", f"one of: {', '.join(FUSIONS)}", choice, FUSIONS)
    return FUSIONS[choice]


def build_fusion(
    choice: FusionChoice, streams: Sequence[str], width: int, hyperparameters: Mapping[str, Hyperparameter]
) -> nn.Module | None:
    """Build a fusion.

    Args:
        choice: Name in ``FUSIONS``, or a row, class or function given directly.
        streams: Names of the streams.
        width: Width of all tokens.
        hyperparameters: Name to value; the others keep their defaults.

    Returns:
        The fusion, or None where only predictions are combined.

    Raises:
        ConfigError: If the name or a hyperparameter is unknown, or a value cannot work.
    """
    entry, owner = fusion_entry(choice), f"the fusion {part_name(choice)!r}"
    if entry.build is None:
        check_hyperparameters(None, owner, hyperparameters)
        return None
    return build(entry.build, owner, streams, width, hyperparameters)


def check_kinds(choice: FusionChoice, kinds: Mapping[str, str]) -> None:
    """Check that a fusion supports the kinds of the targets.

    Args:
        choice: Name in ``FUSIONS``, or a row, class or function given directly.
        kinds: Target to its kind.

    Raises:
        ConfigError: If the name is unknown, or a kind is not supported.
    """
    wanted = fusion_entry(choice).kinds
    for target, kind in kinds.items():
        if wanted is not None and kind not in wanted:
            raise ConfigError(
                f"The fusion {part_name(choice)!r} predicts targets of the kind {' or '.join(wanted)} only. The target "
                f"{target!r} is of the kind {kind!r}. Choose another --fusion, such as 'stacking' or 'transformer'."
            )


__all__ = [
    "DEFAULT_FUSION",
    "FUSIONS",
    "EvidentialFusion",
    "Fusion",
    "FusionChoice",
    "FusionEntry",
    "build_fusion",
    "check_kinds",
    "fusion_entry",
]
