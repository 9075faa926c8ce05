"""Parts of a model that are not polymodal's own: those of installed packages, and those given from Python.

A saved model names them, so that loading it can say what is missing. Nothing is imported because a model names it,
unless it is an entry point of an installed package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from polymodal.config import EncoderConfig, RunConfig
from polymodal.encoders import ENCODERS, encoder_name
from polymodal.errors import CheckpointError
from polymodal.fusion import FUSIONS
from polymodal.modalities import MODALITIES, Modality
from polymodal.plugins import FEATURE_GROUP, NOUNS, InstalledPart, installed
from polymodal.targets import TARGETS, AnyTarget


def list_parts(
    config: RunConfig, modalities: Mapping[str, Modality], targets: Mapping[str, AnyTarget]
) -> list[dict[str, Any]]:
    """List the parts of a model that are not polymodal's own.

    Args:
        config: The configuration of its run.
        modalities: Stream to fitted modality.
        targets: Name to fitted target.

    Returns:
        Plain JSON: of a part given from Python its name and where it stands in the configuration, of an installed one
        its entry point and its package.
    """
    given = [{"name": part.name, "option": option} for option, part in _choices(config) if part.is_given]
    used = [] if config.fusion.is_given else [FUSIONS.installed_part(config.fusion.name)]
    used += [TARGETS.installed_part(target.kind) for target in targets.values()]
    for stream, fitted in modalities.items():
        used.append(MODALITIES.installed_part(fitted.name))
        chosen = config.encoder.get(stream, EncoderConfig())
        if not chosen.is_given:
            used.append(ENCODERS[fitted.name].installed_part(encoder_name(fitted.name, chosen.name, fitted)))
    used += [installed(FEATURE_GROUP).get(name) for name in config.features]
    return [*given, *map(_plain, dict.fromkeys(part for part in used if part is not None))]


def _choices(config: RunConfig) -> Iterator[tuple[list[str], Any]]:
    yield ["fusion"], config.fusion
    yield from ((["encoder", stream], chosen) for stream, chosen in config.encoder.items())


def _plain(part: InstalledPart) -> dict[str, Any]:
    return {"name": part.name, "group": part.group, "distribution": part.distribution, "version": part.version}


def custom_objects_of(config: RunConfig) -> dict[str, Any]:
    """Return the parts that were given from Python.

    Args:
        config: The configuration of a run.

    Returns:
        Name to class, function or table row.
    """
    return {part.name: part.choice for _, part in _choices(config) if part.is_given}


def with_parts(
    config: RunConfig, parts: list[dict[str, Any]], custom_objects: Mapping[str, Any], folder: Path
) -> RunConfig:
    """Find the parts that a saved model names.

    Args:
        config: The configuration of its run.
        parts: What ``list_parts`` returned when it was saved.
        custom_objects: Name to class, function or table row, for the parts that were given from Python.
        folder: The model's folder, for messages.

    Returns:
        The configuration with the parts that were given from Python.

    Raises:
        CheckpointError: If a package is not installed or lacks the part, or a custom object is missing.
    """
    encoders = dict(config.encoder)
    for part in parts:
        if "group" in part:
            _check_installed(part, folder)
            continue
        given = _custom_object(part, custom_objects, folder)
        if part["option"] == ["fusion"]:
            config = config.model_copy(update={"fusion": config.fusion.with_given(given)})
        else:
            stream = part["option"][1]
            encoders[stream] = encoders[stream].with_given(given)
    return config.model_copy(update={"encoder": encoders})


def _check_installed(part: Mapping[str, Any], folder: Path) -> None:
    if part["name"] in installed(part["group"]):
        return
    package = f"{part['distribution']}=={part['version']}"
    raise CheckpointError(
        f"The model {folder} needs the {NOUNS.get(part['group'], 'part')} {part['name']!r} of the package "
        f"{part['distribution']} {part['version']}, which is not installed here. Install it: pip install {package}"
    )


def _custom_object(part: Mapping[str, Any], custom_objects: Mapping[str, Any], folder: Path) -> Any:
    name, what = part["name"], part["option"][0]
    if name not in custom_objects:
        raise CheckpointError(
            f"The model {folder} needs the {what} {name!r}, which was given from Python when it was trained. Load it "
            f"with polymodal.load({str(folder)!r}, custom_objects={{{name!r}: {name}}})."
        )
    return custom_objects[name]
