"""Graphs of a bundle with int8 weights: dynamic, and static with calibration rows (ONNX Runtime's quantisation)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import Column
from polymodal.bundle.graph_network import GraphNetwork
from polymodal.bundle.load_bundle import FUSION_FILE, encoder_file

DYNAMIC, STATIC = "int8 dynamic", "int8 static"
CALIBRATION_BATCH = 8
Inputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class GraphVariant:
    """A graph with its weights stored in one way.

    Attributes:
        file: Name of the graph in the bundle.
        precision: ``float32``, ``int8 dynamic`` or ``int8 static``.
        path: The ONNX file.
    """

    file: str
    precision: str
    path: Path

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        return self.path.stat().st_size


def quantise(graph: Path, folder: Path, calibration: Sequence[Inputs]) -> tuple[list[GraphVariant], list[str]]:
    """Write int8 variants of a graph.

    Args:
        graph: The float32 graph.
        folder: Where they are written.
        calibration: Inputs of the graph of some training rows; empty: no static variant is made.

    Returns:
        Variants that are smaller than the graph; and why others are not there.
    """
    makers = {DYNAMIC: _dynamic} | ({STATIC: _static} if calibration else {})
    found, notices = [], []
    for precision, make in makers.items():
        path = folder / f"{precision.replace(' ', '-')}-{graph.name}"
        try:
            with _quiet():
                make(graph, path, calibration)
        except Exception as error:  # ONNX Runtime's quantisation raises whatever an operator makes it
            reason = (str(error).strip().splitlines() or [""])[0][:160]
            notices.append(f"{graph.name} has no {precision} variant: {type(error).__name__}: {reason}")
            continue
        variant = GraphVariant(graph.name, precision, path)
        found += [variant] if variant.num_bytes < graph.stat().st_size else []
    return found, notices


def calibration_inputs(
    network: GraphNetwork, columns: Mapping[str, Column], rows: NDArray[np.int64]
) -> dict[str, list[Inputs]]:
    """Run rows through the float32 graphs and keep what each of them reads.

    Args:
        network: The exported network.
        columns: Stream to arrays.
        rows: Rows to run.

    Returns:
        Name of the graph to its inputs, batch by batch.
    """
    found: dict[str, list[Inputs]] = {}
    for start in range(0, len(rows), CALIBRATION_BATCH):
        batch = rows[start : start + CALIBRATION_BATCH]
        for stream in network.streams:
            column = columns[stream].take(batch)
            there = np.flatnonzero(column.row_present)
            if len(there):
                name = encoder_file(network.info.encoders[stream])
                found.setdefault(name, []).append(_encoder_inputs(column.take(there)))
        tokens = network.encode(columns, batch)
        fused: dict[str, NDArray[Any]] = {}
        for number, stream in enumerate(network.streams):
            fused |= tokens[stream].inputs(number, False)
        found.setdefault(FUSION_FILE, []).append(fused)
    return found


def _encoder_inputs(column: Column) -> dict[str, NDArray[Any]]:
    values, present, lengths = column.values, column.present, column.lengths
    if lengths is None:
        return {"values": values, "present": present}
    return {"values": values[:, : max(int(lengths.max(initial=1)), 1)], "present": present, "lengths": lengths}


def _dynamic(graph: Path, path: Path, calibration: Sequence[Inputs]) -> None:  # noqa: ARG001
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        graph,
        path,
        op_types_to_quantize=["MatMul", "Gemm", "Gather", "LSTM", "Attention"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": 1, "MatMulConstBOnly": True},
    )


def _static(graph: Path, path: Path, calibration: Sequence[Inputs]) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    quantize_static(
        graph,
        path,
        _reader(graph, calibration),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "MatMul", "Gemm", "Gather"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": 1, "MatMulConstBOnly": True},
    )


def _reader(graph: Path, calibration: Sequence[Inputs]) -> Any:
    """Return ONNX Runtime's reader of calibration rows."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader

    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    read = [entry.name for entry in session.get_inputs()]

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Gives one batch after the other."""

        def __init__(self) -> None:
            self._batches = iter(calibration)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            """Return the inputs of the next batch, or None behind the last one."""
            batch = next(self._batches, None)
            return None if batch is None else {name: np.ascontiguousarray(batch[name]) for name in read}

    return Reader()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the advice of the quantisation to prepare models first off the screen."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.setLevel(level)
