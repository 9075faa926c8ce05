"""The object that an entry point of the group ``polymodal.modalities`` names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from polymodal.modalities.base import Modality


@dataclass(frozen=True, kw_only=True)
class ModalityEntry:
    """A modality of an installed package, with the rows that polymodal's tables hold of its own modalities.

    A row that is left out has a default. The modality's encoders are entry points of their own, ``MODALITY.NAME`` in
    the group ``polymodal.encoders``.

    Attributes:
        modality: The class; its ``name`` is that of the entry point.
        evidence: An ``Evidence`` of ``polymodal.data.schema.evidence``; without, columns are of the modality only where
            the user says so.
        sketch: From a ``Column`` and a ``SketchLayout`` of ``polymodal.data.sketches`` to float32 ``[rows, values]``;
            without, means of stretches of all values of a row.
        recovery: A ``Decoding`` of ``polymodal.recovery.decoders``; without, absent cells are recovered by retrieval.
        features: A ``FeatureEntry`` of ``polymodal.ensemble.stream_features``; without, the baselines do not see the
            modality.
        augmentation: An ``Augmentation`` of ``polymodal.training.augmentation``; without, inputs are not varied.
        rendering: A ``Rendering`` of ``polymodal.report.gallery``; without, cells are shown as text.
    """

    modality: type[Modality]
    evidence: Any = None
    sketch: Callable[..., Any] | None = None
    recovery: Callable[..., Any] | None = None
    features: Any = None
    augmentation: Any = None
    rendering: Any = None
