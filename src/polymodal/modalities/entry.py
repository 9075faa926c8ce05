"""A row that a package names in the entry-point group ``polymodal.modalities``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from polymodal.modalities.base import Modality


@dataclass(frozen=True, kw_only=True)
class ModalityEntry:
    """A modality of an installed package, with what other tables hold of polymodal's own modalities.

    What is left out, the modality does without; its encoders are entry points of their own, ``MODALITY.NAME`` in the
    group ``polymodal.encoders``.

    Attributes:
        modality: The class; its ``name`` is that of the entry point.
        evidence: What gives it away in a column's cells, an ``Evidence``; without it the user has to name the modality.
        features: From a ``Column`` to float32 ``[rows, features]``, which the baselines learn from; without them the
            baselines leave the modality out, and the report says so.
        sketch: From a ``Column`` to float64 ``[rows, values]``, by which streams are recovered from each other.
        augment: Varies a batch while the network learns, from the fitted modality and a ``ColumnBatch`` to a
            ``ColumnBatch``.
        render: From a ``GalleryCell`` and the folder of relative paths to markup, for the report's gallery.
    """

    modality: type[Modality]
    evidence: Any = None
    features: Callable[..., Any] | None = None
    sketch: Callable[..., Any] | None = None
    augment: Callable[..., Any] | None = None
    render: Callable[..., Any] | None = None
