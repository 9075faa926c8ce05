"""The fusion and the heads of a network as one graph: everything after the encoders (torch).

Shape legend: B rows of the batch, T tokens of a stream, P locations or time steps, W width, S streams.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.bundle.graph_info import Details, FusionGraphInfo, step_file
from polymodal.export.encoder_graph import OPSET, fold_constants, loops_over_steps, quiet_exporter, save_program
from polymodal.model.network import Network
from polymodal.targets.structured_head import StepGraph
from polymodal.tokens import Detail, Fused, Tokens

EXAMPLE_ROWS = 3
FIRST_TOKENS = 5
"""Tokens of the first stream in the example; each further size is one larger, so that no two are taken for one."""


class FusionGraph(nn.Module):
    """A network without its encoders: from the streams' tokens to the outputs of all heads, by name.

    Inputs: ``tokens:I`` float ``[B, T, W]`` and ``present:I`` bool ``[B, T]`` of each stream, and ``detail:I`` float
    ``[B, P, W]`` and ``detail_present:I`` bool ``[B, P]`` of those with a detail; I is the number of the stream. A
    stream is masked by ``present`` False and a detail of zeros.

    Outputs: ``stream_pooled:I`` ``[B, W]``; ``stream:TARGET:I`` ``[B, output_dim]``, the stream's own head;
    ``fused:TARGET`` ``[B, output_dim]`` of a fusion inside the network; ``pooled`` ``[B, W]``, the fused rows;
    ``weights`` ``[B, S]`` where the fusion has them; ``TARGET:NAME``, the outputs of the heads of structured targets.
    """

    def __init__(self, network: Network, details: Details) -> None:
        """Wrap the network.

        Args:
            network: The network.
            details: Stream to its detail.
        """
        super().__init__()
        self.network = network
        self.details = {network.streams.index(stream): locations for stream, locations in details.items()}

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Run fusion and heads.

        Args:
            inputs: Input name to tensor.

        Returns:
            Output name to tensor.
        """
        network = self.network
        tokens = {stream: self._tokens(number, inputs) for number, stream in enumerate(network.streams)}
        found = {f"stream_pooled:{number}": tokens[stream].pooled() for number, stream in enumerate(network.streams)}
        streams = network.stream_outputs(tokens)
        for target, outputs in streams.items():
            found |= {f"stream:{target}:{number}": output for number, output in enumerate(outputs.values())}
        fused = network.fuse(tokens)
        found |= {f"fused:{name}": output for name, output in network.fused_outputs(tokens, streams, fused).items()}
        return found if fused is None else found | _fused_rows(fused) | self._structured(fused)

    def _structured(self, fused: Fused) -> dict[str, Tensor]:
        heads = self.network.named_structured_heads()
        return {f"{target}:{name}": value for target, head in heads for name, value in head.outputs(fused).items()}

    def _tokens(self, number: int, inputs: Mapping[str, Tensor]) -> Tokens:
        values, present = inputs[f"tokens:{number}"], inputs[f"present:{number}"]
        if number not in self.details:
            return Tokens(values, present)
        detail = Detail(inputs[f"detail:{number}"], inputs[f"detail_present:{number}"], self.details[number])
        return Tokens(values, present, detail)


def _fused_rows(fused: Fused) -> dict[str, Tensor]:
    return {"pooled": fused.pooled} if fused.weights is None else {"pooled": fused.pooled, "weights": fused.weights}


def export_fusion(network: Network, details: Details, path: Path, opset: int = OPSET) -> FusionGraphInfo:
    """Write the fusion and the heads of a network as an ONNX file, and the steps of structured targets beside it.

    The numbers of rows and of the tokens of each stream are free in the graph.

    Args:
        network: The network, in evaluation mode.
        details: Stream to its detail.
        path: The file to write.
        opset: ONNX operator set.

    Returns:
        Names of inputs and outputs.
    """
    graph, inputs = FusionGraph(network, details).eval(), example_inputs(network, details)
    outputs = write_graph(graph, inputs, dynamic_shapes(network, details), path, opset)
    return FusionGraphInfo(
        streams=network.streams,
        width=network.width,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        details=dict(details),
        steps=export_steps(network, outputs, path.parent, opset),
    )


def export_steps(network: Network, outputs: Mapping[str, Tensor], folder: Path, opset: int) -> dict[str, int]:
    """Write the graphs of the targets that are read step by step.

    Args:
        network: The network, in evaluation mode.
        outputs: Outputs of its ``FusionGraph`` for a few rows.
        folder: Where to write them.
        opset: ONNX operator set.

    Returns:
        Structured target to the number of its step's file.
    """
    numbers = {}
    for number, (target, head) in enumerate(network.named_structured_heads()):
        step = head.build_step()
        if step is not None:
            numbers[target] = number
            inputs = step_inputs(step, outputs_of(target, outputs))
            write_graph(step.eval(), inputs, step_shapes(step, inputs), folder / step_file(number), opset)
    return numbers


def write_graph(
    graph: nn.Module, inputs: dict[str, Tensor], shapes: dict[str, dict[int, Any]], path: Path, opset: int
) -> dict[str, Tensor]:
    """Write a module from and to tensors by name as an ONNX file.

    Args:
        graph: The module, in evaluation mode.
        inputs: Example inputs.
        shapes: Input to axis to dimension, of the free sizes.
        path: The file to write.
        opset: ONNX operator set.

    Returns:
        The outputs for the example inputs.

    Raises:
        RuntimeError: If torch gives no program.
    """
    with torch.no_grad(), quiet_exporter():
        outputs: dict[str, Tensor] = graph(inputs)
        program = torch.onnx.export(
            graph,
            (),
            kwargs={"inputs": inputs},
            dynamic_shapes={"inputs": shapes},
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    fold_constants(program)
    save_program(program, path)
    return outputs


def outputs_of(target: str, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Select the outputs of one structured target.

    Args:
        target: Its name.
        outputs: Outputs of a ``FusionGraph``.

    Returns:
        Output name of the head to tensor.
    """
    prefix = f"{target}:"
    return {name.removeprefix(prefix): value for name, value in outputs.items() if name.startswith(prefix)}


def step_inputs(step: StepGraph, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Build example inputs of a step.

    Args:
        step: The step, in evaluation mode.
        outputs: Outputs of its head for a few rows.

    Returns:
        Input name to tensor.
    """
    with torch.no_grad():
        return step.example_inputs(outputs)


def step_shapes(step: StepGraph, inputs: Mapping[str, Tensor]) -> dict[str, dict[int, Any]]:
    """Return which sizes of the inputs of a step are free.

    Args:
        step: The step.
        inputs: Its inputs.

    Returns:
        Input name to axis to dimension.
    """
    axes = {name: step.free_axes(name) for name in inputs}
    return {name: {axis: torch.export.Dim(size, min=1) for axis, size in free.items()} for name, free in axes.items()}


def trace_fusion(network: Network, details: Details) -> torch.export.ExportedProgram:
    """Trace the fusion and the heads of a network, with free numbers of rows and tokens.

    Args:
        network: The network, in evaluation mode.
        details: Stream to its detail.

    Returns:
        A program called with ``inputs``, the inputs of ``FusionGraph``.
    """
    return _trace(FusionGraph(network, details), example_inputs(network, details), dynamic_shapes(network, details))


def trace_step(step: StepGraph, inputs: dict[str, Tensor]) -> torch.export.ExportedProgram:
    """Trace a step, with free numbers of rows, tokens and steps.

    Args:
        step: The step.
        inputs: Its example inputs, of ``step_inputs``.

    Returns:
        A program called with ``inputs``.
    """
    return _trace(step, inputs, step_shapes(step, inputs))


def _trace(
    graph: nn.Module, inputs: dict[str, Tensor], shapes: dict[str, dict[int, Any]]
) -> torch.export.ExportedProgram:
    with torch.no_grad(), quiet_exporter(), loops_over_steps():
        return torch.export.export(
            graph.eval(), (), {"inputs": inputs}, dynamic_shapes={"inputs": shapes}, strict=False
        )


def example_inputs(network: Network, details: Details) -> dict[str, Tensor]:
    """Build inputs of which all free sizes differ.

    Args:
        network: The network.
        details: Stream to its detail.

    Returns:
        Input name to tensor.
    """
    device, width = network.log_variances.device, network.width
    sizes = {f"tokens:{number}": FIRST_TOKENS + number for number in range(len(network.streams))}
    for stream, locations in details.items():
        number = network.streams.index(stream)
        steps = FIRST_TOKENS + len(network.streams) + number
        sizes[f"detail:{number}"] = steps if locations is None else locations[0] * locations[1]
    inputs: dict[str, Tensor] = {}
    for name, size in sizes.items():
        inputs[name] = torch.randn(EXAMPLE_ROWS, size, width, device=device)
        inputs[_mask_name(name)] = torch.ones(EXAMPLE_ROWS, size, dtype=torch.bool, device=device)
    return inputs


def dynamic_shapes(network: Network, details: Details) -> dict[str, dict[int, Any]]:
    """Return which sizes of the inputs are free.

    Args:
        network: The network.
        details: Stream to its detail.

    Returns:
        Input name to axis to dimension.
    """
    shapes: dict[str, dict[int, Any]] = {}
    for number in range(len(network.streams)):
        shapes |= _free(f"tokens:{number}", {1: torch.export.Dim(f"tokens_{number}", min=1)})
    for stream, locations in details.items():
        number = network.streams.index(stream)
        steps = {} if locations else {1: torch.export.Dim(f"steps_{number}", min=1)}
        shapes |= _free(f"detail:{number}", steps)
    return shapes


def _free(name: str, axes: dict[int, Any]) -> dict[str, dict[int, Any]]:
    free = {0: torch.export.Dim("rows", min=1), **axes}
    return {name: free, _mask_name(name): free}


def _mask_name(name: str) -> str:
    return name.replace("tokens:", "present:").replace("detail:", "detail_present:")
