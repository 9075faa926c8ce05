"""The fusion and the heads of a network as one graph: everything after the encoders (torch).

Shape legend: B rows of the batch, T tokens of a stream, P locations or time steps, W width, S streams.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polymodal.bundle.graph_info import Details, FusionGraphInfo
from polymodal.export.encoder_graph import OPSET, quiet_exporter, save_program
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


def export_fusion(
    network: Network, example_tokens: Mapping[str, Tokens], path: Path, opset: int = OPSET
) -> FusionGraphInfo:
    """Write the fusion and the heads of a network as an ONNX file.

    The numbers of rows and of the tokens of each stream are free in the graph.

    Args:
        network: The network, in evaluation mode.
        example_tokens: Stream to tokens of any rows, of which only the kind of detail is read.
        path: The file to write.
        opset: ONNX operator set.

    Returns:
        Names of inputs and outputs.
    """
    details = details_of(network, example_tokens)
    inputs, program = example_inputs(network, details), trace_fusion(network, details)
    with torch.no_grad():
        outputs = FusionGraph(network, details)(inputs)
    write_program(program, path, inputs, outputs, opset)
    return FusionGraphInfo(
        streams=network.streams,
        width=network.width,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        details=details,
        steps=export_steps(network, outputs, path, opset),
    )


def export_steps(network: Network, outputs: Mapping[str, Tensor], path: Path, opset: int) -> dict[str, str]:
    """Write the graphs of the targets that are read step by step.

    Args:
        network: The network, in evaluation mode.
        outputs: Outputs of its ``FusionGraph`` for a few rows.
        path: The file of the fusion; those of the steps lie beside it.
        opset: ONNX operator set.

    Returns:
        Structured target to the name of its file.
    """
    files = {}
    for number, (target, head) in enumerate(network.named_structured_heads()):
        graph = head.build_step()
        if graph is not None:
            files[target] = f"step-{number}.onnx"
            _export_step(graph.eval(), outputs_of(target, outputs), path.with_name(files[target]), opset)
    return files


def _export_step(graph: StepGraph, outputs: Mapping[str, Tensor], path: Path, opset: int) -> None:
    with torch.no_grad():
        inputs = graph.example_inputs(outputs)
        found = graph(inputs)
    write_program(trace_step(graph, inputs), path, inputs, found, opset)


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


def write_program(
    program: torch.export.ExportedProgram,
    path: Path,
    inputs: Mapping[str, Tensor],
    outputs: Mapping[str, Tensor],
    opset: int,
) -> None:
    """Write a traced program as an ONNX file.

    Args:
        program: The program.
        path: The file to write.
        inputs: Its inputs by name.
        outputs: Its outputs by name.
        opset: ONNX operator set.

    Raises:
        RuntimeError: If torch gives no program.
    """
    with torch.no_grad(), quiet_exporter():
        written = torch.onnx.export(
            program,
            opset_version=opset,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamo=True,
            verbose=False,
        )
    if written is None:
        raise RuntimeError("torch.onnx.export returned no program")
    save_program(written, path)


def trace_step(graph: StepGraph, inputs: Mapping[str, Tensor]) -> torch.export.ExportedProgram:
    """Trace a step with free numbers of rows, tokens and steps.

    Args:
        graph: The step, in evaluation mode.
        inputs: Its example inputs.

    Returns:
        A program called with ``inputs``.
    """
    axes = {name: graph.free_axes(name) for name in inputs}
    shapes = {name: {axis: torch.export.Dim(size, min=1) for axis, size in free.items()} for name, free in axes.items()}
    with torch.no_grad(), quiet_exporter():
        return torch.export.export(graph, (), {"inputs": dict(inputs)}, dynamic_shapes={"inputs": shapes}, strict=False)


def trace_fusion(network: Network, details: Details) -> torch.export.ExportedProgram:
    """Trace the fusion and the heads of a network, with free numbers of rows and tokens.

    Args:
        network: The network, in evaluation mode.
        details: Stream to its detail.

    Returns:
        A program called with ``inputs``, the inputs of ``FusionGraph``.
    """
    with torch.no_grad(), quiet_exporter():
        return torch.export.export(
            FusionGraph(network, details).eval(),
            (),
            {"inputs": example_inputs(network, details)},
            dynamic_shapes={"inputs": dynamic_shapes(network, details)},
            strict=False,
        )


def details_of(network: Network, example_tokens: Mapping[str, Tokens]) -> Details:
    """Return the details that are inputs of the graph.

    Args:
        network: The network.
        example_tokens: Stream to tokens of any rows.

    Returns:
        Stream to its detail.
    """
    found = {stream: example_tokens[stream].detail for stream in network.streams}
    return {stream: detail.shape for stream, detail in found.items() if detail is not None}


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
