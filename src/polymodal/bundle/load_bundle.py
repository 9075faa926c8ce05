"""Loading a bundle: an exported model, without torch.

::

    BUNDLE/
      bundle.json                 the graphs, their inputs and outputs, versions
      graphs/encoder-N.onnx       one graph for each encoder
      graphs/fusion.onnx          the fusion and all heads
      graphs/step-N.onnx          one step of decoding a caption
      README.md                   the model card
      ...                         the other parts of the model: ``model.saved_parts``
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from polymodal.bundle.graph_checks import check_graphs, check_numbers
from polymodal.bundle.graph_info import BundleInfo, step_file
from polymodal.bundle.graph_network import GraphNetwork
from polymodal.bundle.session import Graph
from polymodal.errors import CheckpointError
from polymodal.model.manifest import DamagedFileError, read_json
from polymodal.model.saved_parts import (
    ARRAYS_FILE,
    MODEL_FILE,
    assemble_model,
    damage_told,
    read_config,
    read_model_json,
    read_preprocessor,
)
from polymodal.model.trained_model import TrainedModel
from polymodal.targets import AnyTarget

BUNDLE_FORMAT = 1
BUNDLE_FILE, GRAPHS, CARD_FILE = "bundle.json", "graphs", "README.md"
FUSION_FILE = "fusion.onnx"
REQUIRED = (MODEL_FILE, ARRAYS_FILE, BUNDLE_FILE, f"{GRAPHS}/{FUSION_FILE}")


def encoder_file(number: int) -> str:
    """Return the name of an encoder's file.

    Args:
        number: Its number.

    Returns:
        The name in the folder of the graphs.
    """
    return f"encoder-{number}.onnx"


def is_bundle(path: Path) -> bool:
    """Tell whether a folder is a bundle.

    Args:
        path: Any path.

    Returns:
        Whether ``bundle.json`` or the graph of a fusion is in it.
    """
    return (path / BUNDLE_FILE).is_file() or (path / GRAPHS / FUSION_FILE).is_file()


def load_bundle(folder: Path) -> TrainedModel:
    """Read a bundle.

    Args:
        folder: Its folder.

    Returns:
        The model, ready to predict.

    Raises:
        CheckpointError: If it is damaged or of another version, or needs a part that is not installed.
    """
    with damage_told(folder):
        plain = read_model_json(folder, REQUIRED)
        info = read_bundle_info(folder)
        preprocessor, targets = read_preprocessor(plain)
        network = _read_network(folder, info, targets)
        return assemble_model(plain, folder, read_config(plain["config"]), preprocessor, targets, network)


def read_bundle_info(folder: Path) -> BundleInfo:
    """Read ``bundle.json``.

    Args:
        folder: The bundle.

    Returns:
        What it says.

    Raises:
        DamagedFileError: If it is damaged.
        CheckpointError: If it is of another version.
    """
    plain = read_json(folder / BUNDLE_FILE)
    if plain.get("format") != BUNDLE_FORMAT:
        raise CheckpointError(
            f"The bundle {folder} has format {repr(plain.get('format'))[:40]}; this version reads format "
            f"{BUNDLE_FORMAT}. Export the run again, or use the version of polymodal that wrote it."
        )
    try:
        return BundleInfo.model_validate(plain)
    except ValidationError as error:
        raise DamagedFileError(f"{BUNDLE_FILE}, {_place(error)}") from None


def _place(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"


def _read_network(folder: Path, info: BundleInfo, targets: Mapping[str, AnyTarget]) -> GraphNetwork:
    check_numbers(info)
    encoders = [Graph(folder / GRAPHS / encoder_file(number)) for number in range(len(info.graphs))]
    fusion = Graph(folder / GRAPHS / FUSION_FILE)
    steps = {name: Graph(folder / GRAPHS / step_file(number)) for name, number in info.fusion.steps.items()}
    check_graphs(info, encoders, fusion, steps)
    return GraphNetwork(info, encoders, fusion, targets, steps)
