"""Saving and loading a trained model: a folder of JSON, safetensors and text (no pickle).

::

    model/
      manifest.json               size and digest of each file
      model.json                  schema, fitted modalities and targets, ensembles, calibration rows, configuration,
                                  reference of drift, report data, parts
      network.safetensors         the network's weights
      baselines.safetensors       linear baselines' weights
      reference.safetensors       distributions and embeddings of some training and validation rows, for drift
      baselines/*.txt             boosted trees in LightGBM's text format
      checkpoints/N/              copies of pretrained checkpoints (safetensors + JSON)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file

from polymodal.arrays import arrays_under
from polymodal.atomic_files import atomic_folder
from polymodal.certainty.calibration import Calibration
from polymodal.certainty.reference import Reference
from polymodal.config import RunConfig, build_config
from polymodal.data.preprocessor import Preprocessor
from polymodal.encoders import Pretrained
from polymodal.ensemble.baselines import Baseline
from polymodal.ensemble.ensemble import Ensemble
from polymodal.ensemble.features import FeatureExtractor
from polymodal.ensemble.stacking import Stacker
from polymodal.errors import CheckpointError, ConfigError, PolymodalError
from polymodal.model.build import build_network
from polymodal.model.custom_objects import list_parts, with_parts
from polymodal.model.manifest import MANIFEST_FILE, DamagedFileError, check_files, file_size, read_json, write_manifest
from polymodal.model.network import Network
from polymodal.model.numeric_members import prior_of
from polymodal.model.state_checks import check_fields, check_prediction, load_weights, read_arrays, weight_bytes
from polymodal.model.trained_model import TrainedModel
from polymodal.nn.allocation import AllocationLimit
from polymodal.nn.devices import choose_device
from polymodal.nn.pruning import resize
from polymodal.targets import AnyTarget, target_class

FORMAT = 1
MODEL_FOLDER, MODEL_FILE = "model", "model.json"
WEIGHTS_FILE, ARRAYS_FILE = "network.safetensors", "baselines.safetensors"
REFERENCE_FILE = "reference.safetensors"
REQUIRED = (MODEL_FILE, WEIGHTS_FILE, ARRAYS_FILE)
CONTENTS = (*REQUIRED, MANIFEST_FILE, REFERENCE_FILE, "baselines", "checkpoints")
"""What a model's folder may consist of; anything else in it is someone else's."""
SPARE_BYTES, SPARE_TENSORS = 2**28, 1000
"""What building a network may allocate besides a few times its weights: initial values, tables of positions."""
OF_JSON = ("preprocessor", "targets", "ensembles", "stackers", "features", "baselines", "calibrations", "reference")
"""Parts of a model that JSON describes."""


def save_model(model: TrainedModel, folder: Path) -> None:
    """Write a model atomically; an older one of that name is replaced.

    Args:
        model: The model.
        folder: The model's folder.

    Raises:
        OSError: If it cannot be written: disk full, no permission.
    """
    with atomic_folder(folder, CONTENTS) as temporary:
        plain = _plain(model)
        plain["checkpoints"] = _save_checkpoints(model, temporary)
        arrays = _save_baselines(model, temporary, plain)
        save_arrays(arrays, temporary / ARRAYS_FILE)
        plain["reference"] = _save_reference(model, temporary)
        state_dict = model.network.state_dict()
        weights = {name: value.detach().cpu().contiguous().clone() for name, value in state_dict.items()}
        save_file(weights, temporary / WEIGHTS_FILE)
        (temporary / MODEL_FILE).write_text(json.dumps(plain, ensure_ascii=False), encoding="utf-8")
        write_manifest(temporary)


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
        "parts": list_parts(model.config, model.preprocessor.modalities, model.targets),
        **({"pruned": model.network.pruned} if model.network.pruned else {}),
    }


def _save_checkpoints(model: TrainedModel, folder: Path) -> dict[str, str]:
    """Copy pretrained checkpoints, so that the model folder is self-contained."""
    saved = {}
    indices = model.network.encoder_indices
    for stream, encoder, index in zip(model.network.streams, model.network.encoders, indices, strict=True):
        if isinstance(encoder, Pretrained):
            saved[stream] = f"checkpoints/{index}"
            if not (folder / saved[stream]).exists():
                encoder.save_backbone(folder / saved[stream])
    return saved


def _save_baselines(model: TrainedModel, folder: Path, plain: dict[str, Any]) -> dict[str, Any]:
    (folder / "baselines").mkdir()
    arrays: dict[str, Any] = {}
    plain["features"] = None
    if model.features is not None:
        plain["features"], fitted = model.features.state()
        arrays |= {f"features/{name}": value for name, value in fitted.items()}
    plain["baselines"] = {}
    for index, (target, baselines) in enumerate(model.baselines.items()):
        plain["baselines"][target] = [
            _save_baseline(baseline, f"{index}-{baseline.name}", folder, arrays) for baseline in baselines
        ]
    return arrays


def _save_reference(model: TrainedModel, folder: Path) -> dict[str, Any] | None:
    if model.reference is None:
        return None
    plain, arrays = model.reference.state()
    save_arrays({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / REFERENCE_FILE)
    return plain


def _save_baseline(baseline: Baseline, name: str, folder: Path, arrays: dict[str, Any]) -> dict[str, Any]:
    state, weights, texts = baseline.state()
    arrays |= {f"{name}/{key}": value for key, value in weights.items()}
    for key, text in texts.items():
        (folder / "baselines" / f"{name}-{key}.txt").write_text(text, encoding="utf-8")
    return {"name": name, "state": state, "arrays": sorted(weights), "texts": sorted(texts)}


def load_model(path: Path, device: str | None = None, custom_objects: Mapping[str, Any] | None = None) -> TrainedModel:
    """Read a model.

    Args:
        path: The model's folder, or the run folder around it.
        device: Where its network is to run; None takes a GPU where torch finds one.
        custom_objects: Name to class, function or table row, for parts that were given from Python.

    Returns:
        The model, ready to predict.

    Raises:
        CheckpointError: If there is no model, it is damaged or of another version, or it needs a part that is not here.
        ConfigError: If there is no such device.
    """
    chosen = choose_device(device)
    folder = path / MODEL_FOLDER if (path / MODEL_FOLDER / MODEL_FILE).is_file() else path
    if not (folder / MODEL_FILE).is_file():
        raise CheckpointError(
            f"There is no model in {path}: {folder / MODEL_FILE} is missing. "
            "Expected a run folder or its model/ folder."
        )
    with _damage(folder):
        check_files(folder, REQUIRED)
        plain = read_json(folder / MODEL_FILE)
        if plain.get("format") != FORMAT:
            raise CheckpointError(
                f"The model {folder} has format {repr(plain.get('format'))[:40]}; this version reads format {FORMAT}. "
                "Train it again, or use the version of polymodal that wrote it."
            )
        model = _build(plain, folder, custom_objects or {})
        check_fields({name: getattr(model, name) for name in OF_JSON}, MODEL_FILE)
        check_prediction(model)
    model.network.to(chosen)
    return model


@contextmanager
def _damage(folder: Path) -> Iterator[None]:
    """Turn what is raised in loading into one sentence: a changed file can make any part raise anything."""
    try:
        yield
    except CheckpointError:
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


def _build(plain: dict[str, Any], folder: Path, custom_objects: Mapping[str, Any]) -> TrainedModel:
    config = with_parts(_read_config(plain["config"]), plain.get("parts", []), custom_objects, folder)
    preprocessor = Preprocessor.from_state(plain["preprocessor"])
    targets = {name: target_class(t["kind"]).from_state(t["state"]) for name, t in plain["targets"].items()}
    network = _build_network(
        _with_checkpoints(config, plain, folder), preprocessor, targets, folder, plain.get("pruned", {})
    )
    arrays = read_arrays(folder / ARRAYS_FILE, "np")
    features = None
    if plain["features"] is not None:
        features = FeatureExtractor.from_state(plain["features"], arrays_under(arrays, "features/"))
    return TrainedModel(
        config=config,
        preprocessor=preprocessor,
        targets=targets,
        network=network,
        features=features,
        baselines={
            target: [_load_baseline(saved, folder, arrays) for saved in baselines]
            for target, baselines in plain["baselines"].items()
        },
        ensembles={
            name: Ensemble.from_state(state, prior_of(targets[name])) for name, state in plain["decisions"].items()
        },
        stackers={name: Stacker.from_state(state) for name, state in plain["stackers"].items()},
        calibrations={name: Calibration.from_state(state) for name, state in plain.get("conformal", {}).items()},
        reference=_load_reference(plain.get("reference"), folder),
        report_data=plain["record"],
    )


def _load_reference(plain: dict[str, Any] | None, folder: Path) -> Reference | None:
    return None if plain is None else Reference.from_state(plain, read_arrays(folder / REFERENCE_FILE, "np"))


def _read_config(values: dict[str, Any]) -> RunConfig:
    try:
        return build_config(values)
    except ConfigError as error:
        raise DamagedFileError(f"{MODEL_FILE}: {error}") from None


def _build_network(
    config: RunConfig,
    preprocessor: Preprocessor,
    targets: Mapping[str, AnyTarget],
    folder: Path,
    pruned: Mapping[str, int],
) -> Network:
    """Build the network, no larger than a few times its weights, and load them."""
    weights = read_arrays(folder / WEIGHTS_FILE, "pt")
    num_bytes, num_tensors = weight_bytes(folder)
    with AllocationLimit(SPARE_BYTES + 4 * num_bytes, SPARE_TENSORS + 8 * num_tensors):
        network = build_network(config, preprocessor.modalities, targets)
        _prune_like(network, pruned)
    load_weights(network, weights, WEIGHTS_FILE)
    return network.eval()


def _prune_like(network: Network, pruned: Mapping[str, int]) -> None:
    """Give the network the shapes of a pruned one."""
    try:
        resize(network, pruned)
    except ValueError as error:
        raise DamagedFileError(f"{MODEL_FILE} does not fit its network: {error}") from None
    network.pruned = dict(pruned)


def _with_checkpoints(config: RunConfig, plain: dict[str, Any], folder: Path) -> RunConfig:
    encoders = dict(config.encoder)
    for stream in plain["checkpoints"]:
        copy = folder / "checkpoints" / Path(plain["checkpoints"][stream]).name
        encoders[stream] = encoders[stream].model_copy(update={"name": str(copy)})
    return config.model_copy(update={"encoder": encoders})


def _load_baseline(saved: dict[str, Any], folder: Path, arrays: dict[str, Any]) -> Baseline:
    name = Path(saved["name"]).name
    paths = {key: folder / "baselines" / f"{name}-{Path(key).name}.txt" for key in saved["texts"]}
    for path in paths.values():
        file_size(path)
    try:
        texts = {key: path.read_text(encoding="utf-8") for key, path in paths.items()}
        return Baseline.from_state(saved["state"], arrays_under(arrays, f"{name}/"), texts)
    except ValueError as error:
        named = ", ".join(f"baselines/{path.name}" for path in paths.values()) or MODEL_FILE
        raise DamagedFileError(f"{named} cannot be read: {error}") from None
