"""Whether the graphs of a bundle are those that ``bundle.json`` describes, before any row is predicted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from polymodal.bundle.graph_info import BundleInfo
from polymodal.bundle.session import Graph
from polymodal.model.manifest import DamagedFileError


def check_numbers(info: BundleInfo) -> None:
    """Check that each stream has an encoder.

    Args:
        info: What ``bundle.json`` says.

    Raises:
        DamagedFileError: If a stream has none.
    """
    for stream in info.fusion.streams:
        if not 0 <= info.encoders.get(stream, -1) < len(info.graphs):
            raise DamagedFileError(f"bundle.json names no encoder of the stream {stream!r}")


def check_graphs(info: BundleInfo, encoders: Sequence[Graph], fusion: Graph, steps: Mapping[str, Graph]) -> None:
    """Check the names of what graphs read and return.

    Args:
        info: What ``bundle.json`` says.
        encoders: The encoders' graphs by their numbers.
        fusion: The graph of the fusion and the heads.
        steps: Structured target to the graph of its step.

    Raises:
        DamagedFileError: If a graph reads or returns something else; one clause names it.
    """
    for graph, described in zip(encoders, info.graphs, strict=True):
        _check_names(graph, [entry.name for entry in described.inputs], described.outputs)
    _check_names(fusion, info.fusion.inputs, info.fusion.outputs)
    for graph in steps.values():
        if not graph.inputs or not graph.outputs:
            raise DamagedFileError(f"{graph.name} is no graph of a step: it reads or returns nothing")


def _check_names(graph: Graph, inputs: Collection[str], outputs: Collection[str]) -> None:
    unknown = [name for name in graph.inputs if name not in inputs]
    if unknown:
        raise DamagedFileError(f"{graph.name} reads {unknown[0]!r}, which bundle.json does not name")
    absent = [name for name in outputs if name not in graph.outputs]
    if absent:
        raise DamagedFileError(f"{graph.name} does not return {absent[0]!r}, which bundle.json names")
