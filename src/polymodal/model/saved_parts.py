"""The parts of a saved model besides its network: JSON, safetensors and text; a run's model and a bundle share them.

::

    model.json                  schema, fitted modalities and targets, ensembles, calibration rows, configuration,
                                reference of drift, report data, parts
    baselines.safetensors       linear baselines' weights
    reference.safetensors       distributions and embeddings of some training and validation rows, for drift
    recovery.safetensors        ridge regressions and sketches of some training rows, of ``--reconstruct``
    baselines/*.txt             boosted trees in LightGBM's text format
    manifest.json               size and digest of each file
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from polymodal.arrays import arrays_under, put_under
from polymodal.certainty.calibration import Calibration
from polymodal.certainty.reference import Reference
from polymodal.config import RunConfig, build_config
from polymodal.data.preprocessor import Preprocessor
from polymodal.ensemble.baselines import Baseline
from polymodal.ensemble.ensemble import Ensemble
from polymodal.ensemble.features import FeatureExtractor
from polymodal.ensemble.stacking import Stacker
from polymodal.errors import CheckpointError, ConfigError, MissingPackageError, PolymodalError
from polymodal.model.inference_network import InferenceNetwork
from polymodal.model.manifest import MANIFEST_FILE, DamagedFileError, check_files, file_size, read_json
from polymodal.model.numeric_members import prior_of
from polymodal.model.state_checks import check_fields, check_prediction, read_arrays
from polymodal.model.trained_model import TrainedModel
from polymodal.recovery.recovery import Recovery
from polymodal.targets import AnyTarget, target_class

FORMAT = 1
MODEL_FOLDER, MODEL_FILE, ARRAYS_FILE = "model", "model.json", "baselines.safetensors"
REFERENCE_FILE, RECOVERY_FILE, BASELINES = "reference.safetensors", "recovery.safetensors", "baselines"
PART_FILES = (MODEL_FILE, ARRAYS_FILE, MANIFEST_FILE, REFERENCE_FILE, RECOVERY_FILE, BASELINES)
"""What the parts of a model are written to."""
OF_JSON = (
    "preprocessor",
    "targets",
    "ensembles",
    "stackers",
    "features",
    "baselines",
    "calibrations",
    "reference",
    "recovery",
)
"""Parts of a model that JSON describes."""


def write_parts(model: TrainedModel, folder: Path, more: Mapping[str, Any]) -> None:
    """Write the parts of a model besides its network.

    Args:
        model: The model.
        folder: An empty folder, or one with other files.
        more: Further keys of ``model.json``, plain JSON.
    """
    plain = _plain(model) | dict(more)
    _save_arrays(_write_baselines(model, folder, plain), folder / ARRAYS_FILE)
    plain["reference"] = _write_stated(model.reference, folder / REFERENCE_FILE)
    plain["recovery"] = _write_stated(model.recovery, folder / RECOVERY_FILE)
    (folder / MODEL_FILE).write_text(json.dumps(plain, ensure_ascii=False), encoding="utf-8")


def _plain(model: TrainedModel) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "config": model.config.model_dump(mode="json"),
        "preprocessor": model.preprocessor.state(),
        "targets": {name: {"kind": t.kind, "state": t.state()} for name, t in model.targets.items()},
        "decisions": {name: ensemble.state() for name, ensemble in model.ensembles.items()},
        "stackers": {name: stacker.state() for name, stacker in model.stackers.items()},
        "conformal": {name: calibration.state() for name, calibration in model.calibrations.items()},
        "record": model.report_data,
    }


def _write_baselines(model: TrainedModel, folder: Path, plain: dict[str, Any]) -> dict[str, Any]:
    (folder / BASELINES).mkdir()
    arrays: dict[str, Any] = {}
    plain["features"] = None
    if model.features is not None:
        plain["features"], fitted = model.features.state()
        arrays |= put_under(fitted, "features/")
    plain["baselines"] = {}
    for index, (target, baselines) in enumerate(model.baselines.items()):
        plain["baselines"][target] = [
            _write_baseline(baseline, f"{index}-{baseline.name}", folder, arrays) for baseline in baselines
        ]
    return arrays


def _write_baseline(baseline: Baseline, name: str, folder: Path, arrays: dict[str, Any]) -> dict[str, Any]:
    state, weights, texts = baseline.state()
    arrays |= {f"{name}/{key}": value for key, value in weights.items()}
    for key, text in texts.items():
        (folder / BASELINES / f"{name}-{key}.txt").write_text(text, encoding="utf-8")
    return {"name": name, "state": state, "arrays": sorted(weights), "texts": sorted(texts)}


def _save_arrays(arrays: Mapping[str, Any], file: Path) -> None:
    """Write arrays; safetensors would write the memory behind a view of every second number, say, as it lies there."""
    save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, file)


def _write_stated(part: Reference | Recovery | None, file: Path) -> dict[str, Any] | None:
    """Write the arrays of a part, and return its plain JSON."""
    if part is None:
        return None
    plain, arrays = part.state()
    _save_arrays(arrays, file)
    return plain


def read_model_json(folder: Path, required: tuple[str, ...]) -> dict[str, Any]:
    """Check a model's files and read ``model.json``.

    Args:
        folder: The model's folder.
        required: Files that must be there.

    Returns:
        Plain JSON.

    Raises:
        DamagedFileError: If a file is missing or is not what was saved.
        CheckpointError: If it is of another version.
    """
    check_files(folder, required)
    plain = read_json(folder / MODEL_FILE)
    if plain.get("format") != FORMAT:
        raise CheckpointError(
            f"The model {folder} has format {repr(plain.get('format'))[:40]}; this version reads format {FORMAT}. "
            "Train it again, or use the version of polymodal that wrote it."
        )
    return plain


def read_config(values: dict[str, Any]) -> RunConfig:
    """Check the configuration of a saved model.

    Args:
        values: Plain JSON.

    Returns:
        The configuration.

    Raises:
        DamagedFileError: If a value cannot be.
    """
    try:
        return build_config(values)
    except ConfigError as error:
        raise DamagedFileError(f"{MODEL_FILE}: {error}") from None


def read_preprocessor(plain: Mapping[str, Any]) -> tuple[Preprocessor, dict[str, AnyTarget]]:
    """Read what leads from a table to arrays and from outputs to answers.

    Args:
        plain: ``model.json``.

    Returns:
        The preprocessor, and target to fitted target.
    """
    targets = {name: target_class(t["kind"]).from_state(t["state"]) for name, t in plain["targets"].items()}
    return Preprocessor.from_state(plain["preprocessor"]), targets


def assemble_model(
    plain: Mapping[str, Any],
    folder: Path,
    config: RunConfig,
    preprocessor: Preprocessor,
    targets: Mapping[str, AnyTarget],
    network: InferenceNetwork,
) -> TrainedModel:
    """Read the other parts of a model and check that all of them fit each other.

    Args:
        plain: ``model.json``.
        folder: The model's folder.
        config: The configuration of its run.
        preprocessor: From table to arrays.
        targets: Name to fitted target.
        network: The network.

    Returns:
        The model.

    Raises:
        DamagedFileError: If a file is damaged or parts do not fit; one clause says which.
    """
    arrays = read_arrays(folder / ARRAYS_FILE)
    features = None
    if plain["features"] is not None:
        features = FeatureExtractor.from_state(plain["features"], arrays_under(arrays, "features/"))
    model = TrainedModel(
        config=config,
        preprocessor=preprocessor,
        targets=targets,
        network=network,
        features=features,
        baselines={
            target: [_read_baseline(saved, folder, arrays) for saved in baselines]
            for target, baselines in plain["baselines"].items()
        },
        ensembles={
            name: Ensemble.from_state(state, prior_of(targets[name])) for name, state in plain["decisions"].items()
        },
        stackers={name: Stacker.from_state(state) for name, state in plain["stackers"].items()},
        calibrations={name: Calibration.from_state(state) for name, state in plain.get("conformal", {}).items()},
        reference=_read_reference(plain.get("reference"), folder),
        recovery=_read_recovery(plain.get("recovery"), folder),
        report_data=plain["record"],
    )
    check_fields({name: getattr(model, name) for name in OF_JSON}, MODEL_FILE)
    check_prediction(model)
    return model


def _read_reference(plain: dict[str, Any] | None, folder: Path) -> Reference | None:
    return None if plain is None else Reference.from_state(plain, read_arrays(folder / REFERENCE_FILE))


def _read_recovery(plain: dict[str, Any] | None, folder: Path) -> Recovery | None:
    return None if plain is None else Recovery.from_state(plain, read_arrays(folder / RECOVERY_FILE))


def _read_baseline(saved: dict[str, Any], folder: Path, arrays: dict[str, Any]) -> Baseline:
    name = Path(saved["name"]).name
    paths = {key: folder / BASELINES / f"{name}-{Path(key).name}.txt" for key in saved["texts"]}
    for path in paths.values():
        file_size(path)
    try:
        texts = {key: path.read_text(encoding="utf-8") for key, path in paths.items()}
        return Baseline.from_state(saved["state"], arrays_under(arrays, f"{name}/"), texts)
    except ValueError as error:
        named = ", ".join(f"{BASELINES}/{path.name}" for path in paths.values()) or MODEL_FILE
        raise DamagedFileError(f"{named} cannot be read: {error}") from None


@contextmanager
def damage_told(folder: Path) -> Iterator[None]:
    """Turn what is raised in loading into one sentence: a changed file can make any part raise anything.

    Args:
        folder: The model's folder.

    Raises:
        CheckpointError: In place of any other exception.
        MissingPackageError: If the model needs a package that is not installed.
    """
    try:
        yield
    except (CheckpointError, MissingPackageError):
        raise
    except PolymodalError as error:
        raise CheckpointError(f"The model {folder} cannot be loaded: {error}") from None
    except Exception as error:
        raise CheckpointError(f"The model {folder} is damaged: {_reason(error)}. Train or copy it again.") from error


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"{MODEL_FILE} asks for a network that is larger than its weights"
    text = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    if isinstance(error, DamagedFileError):
        return text
    return f"{MODEL_FILE} does not describe a model ({type(error).__name__}: {text})"
