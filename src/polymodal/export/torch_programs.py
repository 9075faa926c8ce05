"""The graphs of a bundle as programs of ``torch.export``, for those who call them from torch without polymodal.

They are written and checked; polymodal never reads one of a file.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from polymodal.arrays import Column
from polymodal.bundle.graph_info import BundleInfo
from polymodal.bundle.graph_network import GraphNetwork
from polymodal.errors import ConfigError
from polymodal.export.encoder_graph import quiet_exporter, trace_encoder
from polymodal.export.fusion_graph import example_inputs, outputs_of, step_inputs, trace_fusion, trace_step
from polymodal.model.network import Network
from polymodal.progress import Progress
from polymodal.targets import AnyTarget

Program = torch.export.ExportedProgram
SUFFIX = ".pt2"
TRACES = ("stack_trace", "source_fn_stack", "from_node", "nn_module_stack", "torch_fn")
"""What a program's nodes tell of the code that it was made from, paths of files among it."""


class ProgramGraph:
    """A program with the interface of a ``Graph``.

    Attributes:
        name: Name of its file.
        inputs: Names of its inputs.
        outputs: Names of its outputs.
    """

    def __init__(self, name: str, program: Program, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Wrap a program.

        Args:
            name: Name of its file.
            program: The program.
            inputs: Names of its inputs.
            outputs: Names of its outputs.
        """
        self.name, self.inputs, self.outputs = name, tuple(inputs), tuple(outputs)
        self._module = program.module()

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the program.

        Args:
            arrays: Input name to array.

        Returns:
            Output name to array.
        """
        tensors = {name: torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in self.inputs}
        with torch.no_grad():
            found = self._call(tensors)
        return {name: value.numpy() for name, value in found.items()}

    def _call(self, tensors: dict[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Call the program of an encoder, which takes tensors by name and returns a tuple."""
        return dict(zip(self.outputs, self._module(**tensors), strict=True))


class MappingGraph(ProgramGraph):
    """A program from a mapping of tensors to another: the fusion, or a step."""

    def _call(self, tensors: dict[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        found: Mapping[str, torch.Tensor] = self._module(inputs=tensors)
        return found


def write_programs(
    network: Network, columns: Mapping[str, Column], info: BundleInfo, folder: Path, progress: Progress
) -> dict[str, ProgramGraph]:
    """Write the graphs of a network as ``.pt2`` files.

    Args:
        network: The network, in evaluation mode.
        columns: Stream to arrays of any rows.
        info: What ``bundle.json`` says.
        folder: Where to write them.
        progress: Reports each one.

    Returns:
        File to what runs it.

    Raises:
        ConfigError: If ``torch.export`` cannot trace a part.
    """
    found: dict[str, ProgramGraph] = {}
    with progress.phase("export as torch programs", len(info.graphs) + 1) as phase:
        for number, described in enumerate(info.graphs):
            stream = network.streams[network.encoder_indices.index(number)]
            program = _traced(stream, trace_encoder, network.stream_encoder(number), columns[stream])
            name = f"encoder-{number}{SUFFIX}"
            save_torch_program(program, folder / name)
            found[name] = ProgramGraph(name, program, [entry.name for entry in described.inputs], described.outputs)
            phase.advance(1, note=name)
        found |= _write_fusion(network, info, folder)
        phase.advance(1, note=f"fusion{SUFFIX}")
    return found


def _write_fusion(network: Network, info: BundleInfo, folder: Path) -> dict[str, ProgramGraph]:
    program = _traced("fusion", trace_fusion, without_encoders(network), info.fusion.details)
    name = f"fusion{SUFFIX}"
    save_torch_program(program, folder / name)
    fusion = MappingGraph(name, program, info.fusion.inputs, info.fusion.outputs)
    return {name: fusion, **_write_steps(network, info, folder, fusion)}


def _write_steps(network: Network, info: BundleInfo, folder: Path, fusion: ProgramGraph) -> dict[str, ProgramGraph]:
    if not info.fusion.steps:
        return {}
    given = {name: tensor.numpy() for name, tensor in example_inputs(network, info.fusion.details).items()}
    outputs = {name: torch.from_numpy(array) for name, array in fusion.run(given).items()}
    found: dict[str, ProgramGraph] = {}
    for target, head in network.named_structured_heads():
        step = head.build_step()
        if step is not None:
            inputs = step_inputs(step.eval(), outputs_of(target, outputs))
            program = _traced(target, trace_step, step, inputs)
            name = f"step-{info.fusion.steps[target]}{SUFFIX}"
            save_torch_program(program, folder / name)
            with torch.no_grad():
                found[name] = MappingGraph(name, program, list(inputs), list(step(inputs)))
    return found


def without_encoders(network: Network) -> Network:
    """Return the fusion and the heads of a network: a program holds all weights of its module, read or not.

    Args:
        network: The network.

    Returns:
        The same weights.
    """
    found = copy.copy(network)
    found._modules = dict(network._modules)
    found.own_encoders = found.shared_layers = nn.ModuleList()
    return found


def load_programs(
    programs: Mapping[str, ProgramGraph], info: BundleInfo, targets: Mapping[str, AnyTarget]
) -> GraphNetwork:
    """Join programs to a network that predicts.

    Args:
        programs: What ``write_programs`` returned.
        info: What ``bundle.json`` says.
        targets: Name to fitted target.

    Returns:
        The network.
    """
    return GraphNetwork(
        info,
        [programs[f"encoder-{number}{SUFFIX}"] for number in range(len(info.graphs))],
        programs[f"fusion{SUFFIX}"],
        targets,
        {name: programs[f"step-{number}{SUFFIX}"] for name, number in info.fusion.steps.items()},
    )


def save_torch_program(program: Program, path: Path) -> None:
    """Write a program without the traces of the code that it was made from, and without its example inputs.

    Args:
        program: The program; modified in place.
        path: The file to write.
    """
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for key in TRACES:
                    node.meta.pop(key, None)
    program.example_inputs = None
    with quiet_exporter():
        torch.export.save(program, path)


def _traced(what: str, trace: Any, *arguments: Any) -> Program:
    try:
        with torch.inference_mode(False):
            program: Program = trace(*arguments)
    except Exception as error:  # whatever torch.export raises for what a module does
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{what!r} cannot be exported as a program of torch: {type(error).__name__}: {reason[:300]}. Export it "
            "as ONNX: leave out --format torch."
        ) from error
    return program
