"""The look at validation after each epoch: loss and primary scores (torch)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from polymodal.config import TrainConfig
from polymodal.metrics import score, score_of
from polymodal.model.batches import Examples, inference_batch_size, presence_mask, truth_batch
from polymodal.model.network import Network, NetworkOutput
from polymodal.nn.distributed import gathered, share_of
from polymodal.nn.precision import lowered
from polymodal.targets import AnyTarget, StructuredTarget, Target, primary_metric_of
from polymodal.targets.structured import StructuredPrediction, values_of
from polymodal.training.losses import LossInputs, count_rows, stream_presence, target_losses

PLAIN = TrainConfig(label_smoothing=0.0)
"""Validation compares epochs, and runs, by the plain loss, whatever was trained with."""


@dataclass(frozen=True)
class Validation:
    """How a network does on validation.

    Attributes:
        loss: Sum over targets of the fused loss, or of the streams' mean loss without a fusion.
        scores: Target to primary metric, fused (the streams' mean probabilities without a fusion); none where the loss
            is no finite number.
        stream_scores: Target to stream to primary metric of the stream's own head.
        part_losses: Loss of the fused part and of each stream's own heads.
    """

    loss: float
    scores: dict[str, float]
    stream_scores: dict[str, dict[str, float]]
    part_losses: list[float]


def validate(
    network: Network, examples: Examples, targets: Mapping[str, AnyTarget], precision: str = "float32"
) -> Validation:
    """Run the network over the examples; of several processes each takes a share of the rows.

    Args:
        network: The network; left in evaluation mode.
        examples: Rows with truth.
        targets: Name to fitted target.
        precision: In which it computes, as in ``lowered``; heads and losses are exact.

    Returns:
        Loss and scores.
    """
    network.eval()
    rows = np.arange(len(examples))
    known = {name: torch.from_numpy(found) for name, found in examples.known.items()}
    counts = count_rows(known, presence_mask(examples, network.streams, rows))
    seen = gathered(_look(network, examples, targets, counts, rows[share_of(rows)], precision))
    outputs = [found for look in seen for found in look.outputs]
    answers = {name: [answer for look in seen for answer in look.answers[name]] for name in network.structured}
    sums = torch.stack([look.sums for look in seen]).sum(dim=0)
    loss = float(sums[0] if network.fusion is not None else sums[1:].mean())
    judged = targets if math.isfinite(loss) else {}
    scores = {
        name: (_answer_score(name, target, answers[name], examples), {})
        if isinstance(target, StructuredTarget)
        else _scores(name, target, outputs, examples)
        for name, target in judged.items()
    }
    return Validation(
        loss=loss,
        scores={name: fused for name, (fused, _) in scores.items() if fused is not None},
        stream_scores={name: streams for name, (_, streams) in scores.items()},
        part_losses=sums.tolist(),
    )


@dataclass(frozen=True)
class _Look:
    """What one process saw of its rows; its part of the losses, whose means are taken over all processes' rows."""

    sums: torch.Tensor
    outputs: list[NetworkOutput]
    answers: dict[str, list[StructuredPrediction]]


def _look(
    network: Network,
    examples: Examples,
    targets: Mapping[str, AnyTarget],
    counts: Mapping[str, torch.Tensor],
    rows: NDArray[np.int64],
    precision: str,
) -> _Look:
    device = network.log_variances.device
    sums = torch.zeros(1 + len(network.streams), dtype=torch.float64)
    outputs: list[NetworkOutput] = []
    answers: dict[str, list[StructuredPrediction]] = {name: [] for name in network.structured}
    step = inference_batch_size(examples.columns)
    here = {name: count.to(device) for name, count in counts.items()}
    with torch.inference_mode():
        for start in range(0, len(rows), step):
            places = rows[start : start + step]
            batch = {stream: column.to(device) for stream, column in examples.batch(places).items()}
            truth = {name: (a.to(device), b.to(device)) for name, (a, b) in truth_batch(examples, places).items()}
            with lowered(precision, device):
                found = network(batch, None, truth)
            outputs.append(_flat_outputs(found))
            if found.fusion_output is not None:
                for name, said in network.predict_structured(found.fusion_output).items():
                    answers[name] += said
            present = stream_presence(batch, network.streams)
            sums += _part_losses(
                found, LossInputs(targets=targets, truth=truth, present=present, settings=PLAIN, counts=here)
            )
    return _Look(sums, outputs, answers)


def _flat_outputs(found: NetworkOutput) -> NetworkOutput:
    """Return what flat targets are judged by, on the CPU."""
    fused = {name: values.cpu() for name, values in found.fused.items()}
    streams = {name: {stream: v.cpu() for stream, v in said.items()} for name, said in found.streams.items()}
    return NetworkOutput(fused=fused, streams=streams, fusion_output=None, losses={})


def _part_losses(outputs: NetworkOutput, loss_inputs: LossInputs) -> torch.Tensor:
    """Return the fused loss and each stream's, summed over targets, in their plain form."""
    found = [target_losses(outputs, name, target, loss_inputs) for name, target in loss_inputs.targets.items()]
    return torch.stack([torch.cat([fused.reshape(1), streams]) for fused, streams in found]).sum(dim=0).cpu()


def _answer_score(
    name: str, target: StructuredTarget, found: list[StructuredPrediction], examples: Examples
) -> float | None:
    known = np.flatnonzero(examples.known[name])
    if not len(known):
        return None
    source = examples.row_context(known)
    said = values_of(target.finish([found[place] for place in known], source))
    truth = examples.references(name, target, known)
    return score_of(target.measure(truth, said), len(known)).get(target.primary_metric)


def _scores(
    name: str, target: Target, outputs: list[NetworkOutput], examples: Examples
) -> tuple[float | None, dict[str, float]]:
    def primary(parts: list[torch.Tensor]) -> float | None:
        prediction = target.to_prediction(torch.cat(parts).float().numpy())[known]
        found = score(target.kind, examples.truth[name][known], prediction, target.classes or ())
        return found.get(primary_metric_of(target))

    known = examples.known[name]
    if not known.any():
        return None, {}
    fused = primary([part.fused[name] for part in outputs]) if name in outputs[0].fused else None
    streams = {stream: primary([part.streams[name][stream] for part in outputs]) for stream in outputs[0].streams[name]}
    return fused, {stream: value for stream, value in streams.items() if value is not None}
