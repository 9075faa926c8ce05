"""The trained model: everything that is saved, loaded and predicted with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from polymodal.arrays import Column
from polymodal.certainty.calibration import Calibration
from polymodal.certainty.reference import Reference
from polymodal.config import RunConfig
from polymodal.data.cache.cache import ArrayCache, content_key
from polymodal.data.preprocessor import Preprocessor
from polymodal.data.schema.schema import Schema
from polymodal.encoders import Pretrained
from polymodal.ensemble.baselines import Baseline
from polymodal.ensemble.ensemble import Ensemble
from polymodal.ensemble.features import FeatureExtractor
from polymodal.ensemble.stacking import Stacker
from polymodal.model.network import Network
from polymodal.progress import Progress
from polymodal.targets import AnyTarget


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A trained model.

    Attributes:
        config: The resolved configuration of its run.
        preprocessor: From table to arrays; holds the schema.
        targets: Name to fitted target.
        network: The network, in evaluation mode.
        features: Feature extractor of the baselines; None where baselines are off.
        baselines: Target to its baselines.
        ensembles: Target to the weights of its ensemble (the decision level).
        stackers: Target to the model over the streams' predictions; empty unless the fusion is stacking.
        calibrations: Target to its calibration rows, for prediction sets, intervals and abstention; empty without
            validation rows, and in models of earlier versions.
        reference: What is remembered of training and validation rows, for unusual rows and drift; None in models of
            earlier versions.
        report_data: Plain JSON with all that ``report.html`` and ``metrics.json`` show.
    """

    config: RunConfig
    preprocessor: Preprocessor
    targets: Mapping[str, AnyTarget]
    network: Network
    features: FeatureExtractor | None
    baselines: Mapping[str, list[Baseline]]
    ensembles: Mapping[str, Ensemble]
    stackers: Mapping[str, Stacker] = field(default_factory=dict)
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    reference: Reference | None = None
    report_data: dict[str, Any] = field(default_factory=dict)

    @property
    def schema(self) -> Schema:
        """What each column is."""
        return self.preprocessor.schema


def precompute(
    network: Network, columns: Mapping[str, Column], cache: ArrayCache, progress: Progress
) -> dict[str, Column]:
    """Precompute the outputs of frozen pretrained encoders.

    Args:
        network: The network.
        columns: Stream to arrays; of all streams or of some.
        cache: Cache of the outputs.
        progress: Reports every batch.

    Returns:
        Stream to arrays, with ``outputs`` for frozen encoders.
    """
    result = dict(columns)
    for stream, encoder in zip(network.streams, network.encoders, strict=True):
        if stream in columns and isinstance(encoder, Pretrained) and encoder.is_frozen:
            outputs = _outputs(encoder, columns[stream], cache, progress)
            result[stream] = dataclasses.replace(columns[stream], outputs=outputs)
    return result


def _outputs(encoder: Pretrained, column: Column, cache: ArrayCache, progress: Progress) -> Column:
    if cache.folder is None:
        return encoder.precompute(column, progress)
    key = content_key("outputs", (encoder.fingerprint(), column.values, column.present, column.lengths))
    outputs, _ = cache.column(key, lambda entry: (encoder.precompute(column, progress, entry), []))
    return outputs
