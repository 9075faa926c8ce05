"""Every option of a run, typed; dotted names of options; YAML read within bounds."""

from __future__ import annotations

from polymodal.config.config_file import load_config, save_config
from polymodal.config.run_config import (
    EncoderConfig,
    Hyperparameter,
    RunConfig,
    TrainConfig,
    build_config,
    part_name,
    values_of,
)

__all__ = [
    "EncoderConfig",
    "Hyperparameter",
    "RunConfig",
    "TrainConfig",
    "build_config",
    "load_config",
    "part_name",
    "save_config",
    "values_of",
]
