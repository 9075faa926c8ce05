"""Encoders as ONNX graphs: from the cells of present rows to tokens (torch).

Shape legend: B rows of the batch, L steps of the padded cells, T tokens, P locations or steps of the detail, W width.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from polymodal.arrays import Column
from polymodal.bundle.graph_info import DETAIL_OUTPUTS, ROWS, STEPS, TOKEN_OUTPUTS, GraphInfo, GraphInput
from polymodal.encoders import Pretrained
from polymodal.model.network import Network
from polymodal.tokens import ColumnBatch, Tokens

OPSET = 18
"""Version of the ONNX operators."""
EXAMPLE_ROWS = 3
"""Rows of the example to trace: sizes of 0 and 1, also those after strides, can become constants of the graph."""
TOKEN_IDS, SAMPLES, SPECTRA, FRAMES = 32, 4096, 256, 4
"""Steps of the example: most token ids, samples of a waveform, least steps of other features, frames of a video."""
MAX_INLINE_BYTES = 1_900_000_000
"""Largest weights inside of the graph's file; protobuf messages end at 2 GB, larger ones lie in a file beside it."""
MAX_FOLDED_VALUES = 2**31 - 1
"""Largest tensors whose computation from weights is done at export."""


class EncoderGraph(nn.Module):
    """An encoder from tensors to tensors.

    Attributes:
        encoder: From ``ColumnBatch`` to ``Tokens``.
        detail_shape: ``Detail.shape`` of the last call.
    """

    def __init__(self, encoder: nn.Module) -> None:
        """Wrap an encoder.

        Args:
            encoder: What ``Network.stream_encoder`` returned.
        """
        super().__init__()
        self.encoder = float32_encoder(encoder)
        self.training = encoder.training
        self.detail_shape: tuple[int, int] | None = None

    def forward(
        self, values: Tensor, present: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Encode rows that are there.

        Args:
            values: The modality's arrays ``[B, ...]``, ragged ones ``[B, L, ...]``.
            present: bool ``[B, cells]`` of streams of several cells a row; None: one cell, which is there.
            lengths: int64 ``[B]``, steps in use; None where rows are not ragged.

        Returns:
            float32 tokens ``[B, T, W]``, bool ``[B, T]``, and those of the detail, if there is one.
        """
        if present is None:
            present = torch.ones(values.shape[0], dtype=torch.bool, device=values.device)
        tokens: Tokens = self.encoder(ColumnBatch(values, present, lengths)).float()
        if tokens.detail is None:
            return tokens.values, tokens.present
        self.detail_shape = tokens.detail.shape
        return tokens.values, tokens.present, tokens.detail.values, tokens.detail.present


def float32_encoder(encoder: nn.Module) -> nn.Module:
    """Return the encoder that a graph agrees with.

    Args:
        encoder: An encoder of ``Network.encoders``.

    Returns:
        The same; of a pretrained one, a copy that computes in float32 and rounds nothing, whereas the outputs of a
        frozen checkpoint are otherwise rounded to float16 and, where the processor is fast with it, computed in
        bfloat16.
    """
    return encoder.in_float32() if isinstance(encoder, Pretrained) else encoder


def float32_network(network: Network) -> Network:
    """Return the network that exported graphs agree with.

    Args:
        network: A network with pretrained encoders or without.

    Returns:
        A network of the same modules, but of ``float32_encoder``, to run and not to train.
    """
    found = copy.copy(network)
    found._modules = dict(network._modules)
    found.own_encoders = nn.ModuleList(map(float32_encoder, network.own_encoders))
    return found


def encoder_inputs(batch: ColumnBatch) -> dict[str, Tensor]:
    """Return the inputs of a graph.

    Args:
        batch: Present rows in the modality's arrays.

    Returns:
        ``values``; ``present`` for streams of several cells a row; ``lengths`` for ragged rows.
    """
    inputs = {"values": batch.values}
    if batch.present.ndim == 2:
        inputs["present"] = batch.present
    if batch.lengths is not None:
        inputs["lengths"] = batch.lengths
    return inputs


def example_inputs(example: Column) -> dict[str, Tensor]:
    """Return the inputs to trace an encoder with.

    Args:
        example: Any cells of the stream; only their dtype and shape matter.

    Returns:
        Name to tensor: a few rows that are there, all of the same length.
    """
    shape = [EXAMPLE_ROWS, *example.values.shape[1:]]
    if example.lengths is not None:
        shape[1] = _example_steps(example)
    inputs = {"values": torch.from_numpy(np.zeros(shape, example.values.dtype))}
    if example.present.ndim == 2:
        inputs["present"] = torch.ones(shape, dtype=torch.bool)
    if example.lengths is not None:
        inputs["lengths"] = torch.full((EXAMPLE_ROWS,), shape[1])
    return inputs


def _example_steps(example: Column) -> int:
    """Return so many steps that several remain after all strides of an encoder; few of videos, which are large."""
    shape = example.values.shape
    if len(shape) == 2:
        return min(max(int(shape[1]), 2), TOKEN_IDS)
    if len(shape) == 3:
        return SAMPLES if shape[2] <= 2 else min(max(int(shape[1]), SPECTRA), SAMPLES)
    return FRAMES


def trace_encoder(encoder: nn.Module, example: Column) -> torch.export.ExportedProgram:
    """Trace an encoder with ``torch.export``, with a dynamic number of rows and steps.

    Args:
        encoder: In evaluation mode.
        example: Any cells of the stream.

    Returns:
        A program that takes the tensors of ``encoder_inputs`` by name.
    """
    inputs = example_inputs(example)
    axes = {name: dict.fromkeys(_axis_names(name, inputs), torch.export.Dim.DYNAMIC) for name in inputs}
    with _sizes_of_one(), loops_over_steps(), quiet_exporter(), torch.no_grad():
        return torch.export.export(EncoderGraph(encoder), (), kwargs=inputs, dynamic_shapes=axes, strict=False)


def export_encoder(encoder: nn.Module, example: Column, path: Path, opset: int = OPSET) -> GraphInfo:
    """Write an encoder as an ONNX graph.

    Args:
        encoder: In evaluation mode.
        example: Any cells of the stream.
        path: The file to write; weights of more than 1.9 GB lie beside it in ``NAME.data``.
        opset: Version of the ONNX operators.

    Returns:
        What has to be known of the graph.
    """
    graph, inputs = EncoderGraph(encoder), example_inputs(example)
    with torch.no_grad():
        outputs = graph(**inputs)
    names = (*TOKEN_OUTPUTS, *DETAIL_OUTPUTS)[: len(outputs)]
    axes = {name: _axis_names(name, inputs) for name in inputs}
    with quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            graph,
            (),
            kwargs=inputs,
            input_names=list(inputs),
            output_names=list(names),
            dynamic_shapes=axes,
            opset_version=opset,
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    assert program is not None
    fold_constants(program)
    num_bytes = save_program(program, path)
    return GraphInfo(
        inputs=_described(program.model.graph.inputs),
        outputs=names,
        detail_shape=graph.detail_shape,
        opset=opset,
        num_bytes=num_bytes,
    )


def fold_constants(program: torch.onnx.ONNXProgram) -> None:
    """Compute what depends on weights alone, whatever its size, such as transposed weights.

    Args:
        program: Modified in place.
    """
    from onnxscript import optimizer

    optimizer.optimize_ir(program.model, input_size_limit=MAX_FOLDED_VALUES, output_size_limit=MAX_FOLDED_VALUES)


def save_program(program: torch.onnx.ONNXProgram, path: Path) -> int:
    """Write an exported program without the traces of the code that it was made from.

    Args:
        program: The program.
        path: The file to write; weights of more than 1.9 GB lie beside it in ``NAME.data``.

    Returns:
        Bytes written.
    """
    model = program.model
    nodes = list(model.graph.all_nodes())
    values = [
        *model.graph.inputs,
        *model.graph.initializers.values(),
        *(value for node in nodes for value in node.outputs),
    ]
    for part in (model, model.graph, *nodes, *values):
        part.metadata_props.clear()  # type: ignore[attr-defined]
    weights = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    program.save(path, external_data=weights > MAX_INLINE_BYTES)
    return sum(file.stat().st_size for file in (path, path.with_name(f"{path.name}.data")) if file.exists())


def _axis_names(name: str, inputs: dict[str, Tensor]) -> dict[int, str]:
    return {0: ROWS, 1: STEPS} if name == "values" and "lengths" in inputs else {0: ROWS}


def _described(inputs: Sequence[Any]) -> tuple[GraphInput, ...]:
    return tuple(
        GraphInput(
            name=value.name,
            dtype=value.dtype.numpy().name,
            shape=tuple(size if isinstance(size, int) else str(size.value) for size in value.shape),
        )
        for value in inputs
    )


def _sizes_of_one() -> Any:
    """Let a dynamic axis have the sizes 0 and 1 too, as ``torch.onnx.export`` does."""
    return torch.fx.experimental._config.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]


@contextmanager
def loops_over_steps() -> Iterator[None]:
    """Trace recurrent layers as loops, so that the number of steps is dynamic.

    Yields:
        Nothing.
    """
    from torch.export import _patches

    with _patches.register_lstm_while_loop_decomposition(), _patches.register_gru_while_loop_decomposition():
        yield


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silence what the exporter says of its own workings.

    Yields:
        Nothing.
    """
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
