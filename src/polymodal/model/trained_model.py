"""The trained model: everything that is saved, loaded and predicted with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from polymodal.certainty.calibration import Calibration
from polymodal.certainty.reference import Reference
from polymodal.config import RunConfig
from polymodal.data.features import FeatureFunction, add_features
from polymodal.data.preprocessor import Preprocessor
from polymodal.data.schema.schema import Schema
from polymodal.data.tables.table import Table
from polymodal.ensemble.baselines import Baseline
from polymodal.ensemble.ensemble import Ensemble
from polymodal.ensemble.features import FeatureExtractor
from polymodal.ensemble.stacking import Stacker
from polymodal.errors import ConfigError
from polymodal.model.inference_network import InferenceNetwork
from polymodal.recovery.recovery import Recovery
from polymodal.targets import AnyTarget


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A trained model.

    Attributes:
        config: The resolved configuration of its run.
        preprocessor: From table to arrays; holds the schema.
        targets: Name to fitted target.
        network: The network in torch, in evaluation mode, or, of an exported model, in ONNX Runtime.
        features: Feature extractor of the baselines; None where baselines are off.
        baselines: Target to its baselines.
        ensembles: Target to the weights of its ensemble (the decision level).
        stackers: Target to the model over the streams' predictions; empty unless the fusion is stacking.
        calibrations: Target to its calibration rows, for prediction sets, intervals and abstention; empty without
            validation rows, and in models of earlier versions.
        reference: What is remembered of training and validation rows, for unusual rows and drift; None in models of
            earlier versions.
        recovery: What recovers absent cells beside the network; None unless the run was asked to ``--reconstruct``, and
            in models of earlier versions.
        report_data: Plain JSON with all that ``report.html`` and ``metrics.json`` show.
        feature_functions: Name to the feature functions that were given from Python; they are not saved.
    """

    config: RunConfig
    preprocessor: Preprocessor
    targets: Mapping[str, AnyTarget]
    network: InferenceNetwork
    features: FeatureExtractor | None
    baselines: Mapping[str, list[Baseline]]
    ensembles: Mapping[str, Ensemble]
    stackers: Mapping[str, Stacker] = field(default_factory=dict)
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    reference: Reference | None = None
    recovery: Recovery | None = None
    report_data: dict[str, Any] = field(default_factory=dict)
    feature_functions: Mapping[str, FeatureFunction] = field(default_factory=dict)

    @property
    def schema(self) -> Schema:
        """What each column is."""
        return self.preprocessor.schema

    def with_features(self, table: Table) -> Table:
        """Add the columns of the run's feature functions to a table that lacks them.

        Args:
            table: Any table.

        Returns:
            The table with them; the table itself without such functions.

        Raises:
            ConfigError: If a function is neither given nor one of an installed package.
            SchemaError: If one fails on this table.
        """
        targets = [target.name for target in self.schema.targets]
        names = self.config.features
        return add_features(table, names, self.feature_functions, targets, asked_by="The model asks")

    def check_no_features(self, what: str) -> None:
        """Refuse what cannot run Python of the user's.

        Args:
            what: Begins the sentence, such as "A bundle".

        Raises:
            ConfigError: If the run has feature functions.
        """
        if self.config.features:
            names = ", ".join(map(repr, self.config.features))
            raise ConfigError(
                f"{what} runs no Python of yours, but this model asks for the feature functions {names}. Add their "
                "columns to the table yourself and train on it."
            )
