"""What has to be known of the graphs of a bundle to run them: their inputs and outputs, as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Form = Literal["onnx", "torch", "huggingface"]
"""What a bundle is written for."""
ROWS, STEPS = "rows", "steps"
"""Names of the dynamic axes of an encoder's inputs."""
TOKEN_OUTPUTS = ("tokens", "token_present")
DETAIL_OUTPUTS = ("detail", "detail_present")


Details = Mapping[str, tuple[int, int] | None]
"""Stream with a detail to its rows and columns of locations; None for any number of time steps."""


def step_file(number: int) -> str:
    """Return the name of the file of a step's graph.

    Args:
        number: Its number.

    Returns:
        The name in the folder of the graphs.
    """
    return f"step-{number}.onnx"


class _Plain(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GraphInput(_Plain):
    """An input of an encoder's graph.

    Attributes:
        name: ``values``, ``present`` or ``lengths``.
        dtype: Name of its numpy dtype.
        shape: Size of each axis; ``"rows"`` and ``"steps"`` are dynamic.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class GraphInfo(_Plain):
    """An encoder's graph: from the cells of present rows to tokens.

    Attributes:
        inputs: Its inputs in their order.
        outputs: Names of its outputs: ``tokens`` float32 ``[B, T, W]``, ``token_present`` bool ``[B, T]`` and, of an
            encoder with a detail, ``detail`` float32 ``[B, P, W]``, ``detail_present`` bool ``[B, P]``.
        detail_shape: Rows and columns of the detail's locations; None for steps, and without a detail.
        opset: Version of the ONNX operators.
        num_bytes: Size of its file and of the weights beside it.
    """

    inputs: tuple[GraphInput, ...]
    outputs: tuple[str, ...]
    detail_shape: tuple[int, int] | None
    opset: int
    num_bytes: int = Field(ge=0)

    @property
    def has_detail(self) -> bool:
        """Whether the encoder gives locations or time steps."""
        return DETAIL_OUTPUTS[0] in self.outputs


class FusionGraphInfo(_Plain):
    """The graph of the fusion and of all heads: from the streams' tokens to outputs by name.

    Attributes:
        streams: Names of the streams, in the order of the numbers of the inputs.
        width: Width of the tokens.
        inputs: Names of the inputs, in their order.
        outputs: Names of the outputs, in their order.
        details: Stream to its detail, of those with one.
        steps: Structured target that is read step by step to the number of its step's graph.
    """

    streams: tuple[str, ...] = Field(min_length=1)
    width: int = Field(ge=1)
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    details: dict[str, tuple[int, int] | None]
    steps: dict[str, int] = Field(default_factory=dict)


class BundleInfo(_Plain):
    """What ``bundle.json`` says.

    Attributes:
        format: Version of the bundle's form.
        polymodal: Version of polymodal that wrote it.
        created: When, in ISO 8601.
        opset: Version of the ONNX operators, the highest of the files.
        ir_version: Version of the ONNX files, the highest.
        producer: Program that wrote the ONNX files, and its version.
        encoders: Stream to the number of its encoder's graph; streams that share an encoder share one.
        graphs: The encoders' graphs, ``graphs/encoder-NUMBER.onnx``.
        fusion: The graph ``graphs/fusion.onnx``.
        pretrained: Streams whose encoder came from a pretrained checkpoint.
        precision: Graph to how its weights are stored, such as ``float32`` or ``int8``.
        programs: Files of the same graphs as programs of torch, which polymodal writes and never reads.
        inputs: Input column to its modality.
        outputs: Target to its kind.
        metrics: Target to metric to its value on ``split``.
        split: Rows that the metrics were measured on; None without a measurement.
        rows: Split to its number of rows.
        checkpoints: Stream to the pretrained checkpoint that its encoder came from.
        licenses: Checkpoint to its licence, as its own files say; None where they say nothing.
        parity: How far the answers were from those of the run, as ``polymodal export --json`` prints it.
    """

    format: int
    polymodal: str
    created: str
    opset: int
    ir_version: int
    encoders: dict[str, int]
    graphs: tuple[GraphInfo, ...]
    fusion: FusionGraphInfo
    pretrained: tuple[str, ...] = ()
    precision: dict[str, str] = Field(default_factory=dict)
    producer: str = ""
    programs: tuple[str, ...] = ()
    inputs: dict[str, str] = Field(default_factory=dict)
    outputs: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    split: str | None = None
    rows: dict[str, int] = Field(default_factory=dict)
    checkpoints: dict[str, str] = Field(default_factory=dict)
    licenses: dict[str, str | None] = Field(default_factory=dict)
    parity: dict[str, Any] = Field(default_factory=dict)
