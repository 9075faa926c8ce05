"""Integrated gradients of the network with respect to what it reads of one row.

Gradients are taken of what an encoder can be differentiated by: pixels, spectrograms, samples, points; and the vectors
of words, categories and numbers.

Shape legend: N copies of a row, T tokens, F fields, E width of a vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polymodal.encoders import Pretrained
from polymodal.encoders.tabular import CellEmbedding
from polymodal.encoders.word_embedding import WordEmbedding
from polymodal.errors import ConfigError
from polymodal.model.network import Network
from polymodal.targets import AnyTarget, CategoriesTarget, CategoryTarget, NumberTarget
from polymodal.tokens import ColumnBatch

ARRAYS = frozenset({"image", "video", "audio", "series", "points", "vector"})
"""Modalities whose decoded arrays are numbers that an encoder can be differentiated by."""
STEPS_AT_ONCE = 16
"""Most copies of a row that are run at once."""

Floats = NDArray[np.float64]


def check_captum() -> Any:
    """Import ``captum``.

    Returns:
        Its class ``IntegratedGradients``.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        from captum.attr import IntegratedGradients
    except ImportError:
        raise ConfigError(
            "The method 'gradients' needs the package captum. Install it with `pip install 'polymodal[explain]'`, or "
            "choose the method 'occlusion'."
        ) from None
    return IntegratedGradients


@dataclass(frozen=True)
class Scalar:
    """One output of the network.

    Attributes:
        name: The target.
        target: The fitted target: of classes, labels or a number.
        index: The class or label; 0 of a number.
    """

    name: str
    target: AnyTarget
    index: int

    def of(self, output: Tensor) -> Tensor:
        """Return the scalar, as the target's ``to_prediction`` computes it.

        Args:
            output: Output of a head ``[N, output_dim]``.

        Returns:
            A probability or a number, ``[N]``.
        """
        if isinstance(self.target, CategoryTarget):
            offset = self.target.logit_offset
            logits = output if offset is None else output + output.new_tensor(offset)
            return logits.softmax(dim=1)[:, self.index]
        if isinstance(self.target, CategoriesTarget):
            return output[:, self.index].sigmoid()
        assert isinstance(self.target, NumberTarget)
        return output[:, 0] * self.target.std + self.target.mean


@dataclass(frozen=True)
class Attribution:
    """What each number that the network reads did to one output of one row.

    Attributes:
        values: Stream to float64: of the decoded cell's shape, or ``[T]`` or ``[F]`` where vectors are differentiated.
        total: The output of the row minus that of the baseline.
        error: The sum of the values minus that total.
    """

    values: dict[str, Floats]
    total: float
    error: float


@dataclass
class _Embedding:
    """An embedding inside of one or several encoders, whose outputs can be read and replaced.

    Attributes:
        module: Gives a tensor, or a tuple that begins with one.
        given: What replaces its next outputs, in the order of the streams.
        seen: Its outputs, where nothing replaced them.
    """

    module: nn.Module
    given: list[Tensor] = field(default_factory=list)
    seen: list[Tensor] = field(default_factory=list)

    def hook(self, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        """Replace the output, or read it.

        Args:
            _module: The embedding.
            _inputs: Its inputs.
            output: Its output.

        Returns:
            What goes on.
        """
        first, rest = (output[0], output[1:]) if isinstance(output, tuple) else (output, None)
        if not self.given:
            self.seen.append(first.detach())
            return output
        values = self.given.pop(0).to(first.dtype)
        return values if rest is None else (values, *rest)


class IntegratedRow:
    """The network as a function of what it reads of one row.

    Example:
        >>> row = IntegratedRow(network, batch, {"photo": "image"})  # doctest: +SKIP
        >>> row.attribute(Scalar("label", target, 3), {}, num_steps=50).values["photo"].shape  # doctest: +SKIP
        (28, 28, 1)
    """

    def __init__(self, network: Network, batch: Mapping[str, ColumnBatch], modalities: Mapping[str, str]) -> None:
        """Read the row once.

        Args:
            network: The network, in evaluation mode.
            batch: One row; not the outputs of frozen encoders.
            modalities: Stream to modality.
        """
        self.network, self.batch = network, dict(batch)
        self._embeddings: dict[str, _Embedding | None] = {}
        self._find_embeddings(modalities)
        self.streams = list(self._embeddings)
        with self._traced(), torch.no_grad():
            network.encode(self.batch)
            self.inputs = {stream: self._input(stream) for stream in self.streams}

    def attribute(self, scalar: Scalar, baselines: Mapping[str, NDArray[Any]], num_steps: int) -> Attribution:
        """Integrate gradients on the way from a baseline to the row: Sundararajan et al. 2017, arXiv 1703.01365.

        All streams go the way together, so that the values of all of them add up (completeness, proposition 1).

        Args:
            scalar: The output.
            baselines: Stream to the array at the beginning of the way; of other streams it is zeros, the mean of
                training. Words begin at zero vectors, columns at the vector that stands for an absent cell.
            num_steps: Steps of the Gauss-Legendre quadrature; each is a network pass forwards and backwards.

        Returns:
            The values.
        """
        inputs = tuple(self.inputs[stream] for stream in self.streams)
        starts = tuple(self._baseline(stream, baselines) for stream in self.streams)
        integrated = check_captum()(lambda *values: self._output(values, scalar))
        with self._traced():
            found = integrated.attribute(
                inputs, starts, n_steps=num_steps, method="gausslegendre", internal_batch_size=STEPS_AT_ONCE
            )
            with torch.no_grad():
                total = float(self._output(inputs, scalar)[0]) - float(self._output(starts, scalar)[0])
        values = {stream: self._summed(stream, part[0]) for stream, part in zip(self.streams, found, strict=True)}
        return Attribution(values, total, sum(float(part.sum()) for part in values.values()) - total)

    def gradient_times_input(self, scalar: Scalar) -> dict[str, Floats]:
        """Multiply the gradient at the row by what is read: plain gradients, which others are compared with.

        Args:
            scalar: The output.

        Returns:
            Stream to values, as in ``attribute``.
        """
        inputs = tuple(self.inputs[stream].clone().requires_grad_() for stream in self.streams)
        with self._traced():
            found = torch.autograd.grad(self._output(inputs, scalar).sum(), inputs)
        pairs = zip(self.streams, found, inputs, strict=True)
        return {stream: self._summed(stream, (part * values.detach())[0]) for stream, part, values in pairs}

    def _output(self, values: Sequence[Tensor], scalar: Scalar) -> Tensor:
        copies = torch.zeros(len(values[0]), dtype=torch.int64, device=values[0].device)
        batch = {stream: column.take(copies) for stream, column in self.batch.items()}
        for stream, given in zip(self.streams, values, strict=True):
            embedding = self._embeddings[stream]
            if embedding is None:
                batch[stream] = replace(batch[stream], values=given)
            else:
                embedding.given.append(given)
        tokens = self.network.encode(batch)
        of_stream = self.network.stream_outputs(tokens)
        fused = self.network.fused_outputs(tokens, of_stream, self.network.fuse(tokens))
        if scalar.name in fused:
            return scalar.of(fused[scalar.name])
        return torch.stack([scalar.of(of_stream[scalar.name][stream]) for stream in self._present]).mean(dim=0)

    @property
    def _present(self) -> list[str]:
        return [stream for stream in self.network.streams if bool(self.batch[stream].row_present.all())]

    def _input(self, stream: str) -> Tensor:
        embedding = self._embeddings[stream]
        return self.batch[stream].values.float() if embedding is None else embedding.seen.pop(0).float()

    def _baseline(self, stream: str, baselines: Mapping[str, NDArray[Any]]) -> Tensor:
        values, embedding = self.inputs[stream], self._embeddings[stream]
        if embedding is not None and isinstance(embedding.module, CellEmbedding):
            return embedding.module.absent_FE.detach().expand_as(values).clone()
        if stream in baselines:
            return torch.from_numpy(baselines[stream].astype(np.float32))[None].to(values.device)
        return torch.zeros_like(values)

    def _summed(self, stream: str, values: Tensor) -> Floats:
        values = values.double() if self._embeddings[stream] is None else values.double().sum(dim=-1)
        return np.asarray(values.cpu().numpy())

    def _find_embeddings(self, modalities: Mapping[str, str]) -> None:
        """Find what each present stream is differentiated by; streams may share an encoder, and so its embedding."""
        shared: dict[nn.Module, _Embedding] = {}
        for stream, encoder in zip(self.network.streams, self.network.encoders, strict=True):
            if stream not in self._present:
                continue
            if modalities[stream] in ARRAYS:
                self._embeddings[stream] = None
                continue
            module = _embedding_module(encoder)
            if module is not None:
                self._embeddings[stream] = shared.setdefault(module, _Embedding(module))

    @contextmanager
    def _traced(self) -> Iterator[None]:
        """Read and replace outputs of embeddings; let gradients through frozen checkpoints and recurrent layers."""
        with ExitStack() as stack:
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            for encoder in self.network.own_encoders:
                if isinstance(encoder, Pretrained):
                    stack.enter_context(encoder.tracing_inputs())
            for embedding in {id(found): found for found in self._embeddings.values() if found is not None}.values():
                embedding.given.clear()
                embedding.seen.clear()
                stack.callback(embedding.module.register_forward_hook(embedding.hook).remove)
            yield


def _embedding_module(encoder: nn.Module) -> nn.Module | None:
    """Return the module that gives the vectors of words or cells; None where an encoder has none that is known."""
    if isinstance(encoder, Pretrained):
        with encoder.tracing_inputs() as backbone:
            found: nn.Module | None = backbone.get_input_embeddings()
            return found
    return next((module for module in encoder.modules() if isinstance(module, WordEmbedding | CellEmbedding)), None)
