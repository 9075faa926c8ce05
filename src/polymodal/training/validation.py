"""Validation after each epoch: loss and primary metrics (torch)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from polymodal.config import TrainConfig
from polymodal.metrics import score, score_of
from polymodal.model.batches import Examples, inference_batch_size
from polymodal.model.collate import collate_examples, presence_mask, truth_batch
from polymodal.model.network import Network, NetworkOutput
from polymodal.nn.distributed import all_gather_objects, rank_slice
from polymodal.nn.precision import autocast
from polymodal.targets import AnyTarget, CategoryTarget, StructuredTarget, Target, label_weights_of, primary_metric_of
from polymodal.targets.structured import StructuredPrediction, values_of
from polymodal.training.losses import LossInputs, count_rows, stream_presence, target_losses

PLAIN_LOSS = TrainConfig(label_smoothing=0.0)
"""Options of the validation loss: cross-entropy without label smoothing, whatever the training loss, so that epochs and
runs can be compared."""


@dataclass(frozen=True)
class Validation:
    """Result of a validation.

    Attributes:
        loss: Sum over targets of the fused loss, or of the streams' mean loss without a fusion.
        scores: Target to primary metric, of the fused predictions; empty where the loss is not finite.
        stream_scores: Target to stream to primary metric of the stream's own head.
        term_losses: The loss terms: fused, then of each stream's own heads.
    """

    loss: float
    scores: dict[str, float]
    stream_scores: dict[str, dict[str, float]]
    term_losses: list[float]


def validate(
    network: Network, examples: Examples, targets: Mapping[str, AnyTarget], precision: str = "float32"
) -> Validation:
    """Evaluate the network on examples; the rows are split among the processes.

    Args:
        network: The network; left in evaluation mode.
        examples: The validation examples.
        targets: Name to fitted target.
        precision: Precision of the forward pass, as in ``autocast``; heads and losses are float32.

    Returns:
        Loss and scores.
    """
    network.eval()
    shards = _run_shards(network, examples, targets, precision, predicts=True)
    outputs = [output for shard in shards for output in shard.outputs]
    predictions = {name: [p for shard in shards for p in shard.predictions[name]] for name in network.structured}
    sums = torch.stack([shard.loss_sums for shard in shards]).sum(dim=0)
    loss = _total(network, sums)
    scored = targets if math.isfinite(loss) else {}
    scores = {
        name: (_structured_score(name, target, predictions[name], examples), {})
        if isinstance(target, StructuredTarget)
        else _scores(name, target, outputs, examples)
        for name, target in scored.items()
    }
    return Validation(
        loss=loss,
        scores={name: fused for name, (fused, _) in scores.items() if fused is not None},
        stream_scores={name: streams for name, (_, streams) in scores.items()},
        term_losses=sums.tolist(),
    )


def evaluated_loss(
    network: Network, examples: Examples, targets: Mapping[str, AnyTarget], precision: str = "float32"
) -> float:
    """Compute the loss of ``validate`` alone: in evaluation mode, without augmentation, dropout or label smoothing.

    Args:
        network: The network; left in evaluation mode.
        examples: Any rows, such as a sample of the training rows.
        targets: Name to fitted target.
        precision: As for ``validate``.

    Returns:
        The loss, the same quantity as ``Validation.loss``.
    """
    network.eval()
    shards = _run_shards(network, examples, targets, precision, predicts=False)
    return _total(network, torch.stack([shard.loss_sums for shard in shards]).sum(dim=0))


def _run_shards(
    network: Network, examples: Examples, targets: Mapping[str, AnyTarget], precision: str, predicts: bool
) -> list[_RankResult]:
    """Run each process on its share of the rows, and gather the results of all."""
    rows = np.arange(len(examples))
    known = {name: torch.from_numpy(mask) for name, mask in examples.known.items()}
    counts = count_rows(known, presence_mask(examples, network.streams, rows))
    own = rows[rank_slice(rows)]
    return all_gather_objects(_run_rows(network, examples, targets, counts, own, precision, predicts))


def _total(network: Network, sums: torch.Tensor) -> float:
    return float(sums[0] if network.fusion is not None else sums[1:].mean())


@dataclass(frozen=True)
class _RankResult:
    """Outputs of one process's rows, and their contribution to the loss terms, which are means over all rows."""

    loss_sums: torch.Tensor
    outputs: list[NetworkOutput]
    predictions: dict[str, list[StructuredPrediction]]


def _run_rows(
    network: Network,
    examples: Examples,
    targets: Mapping[str, AnyTarget],
    counts: Mapping[str, torch.Tensor],
    rows: NDArray[np.int64],
    precision: str,
    predicts: bool,
) -> _RankResult:
    device = network.log_variances.device
    sums = torch.zeros(1 + len(network.streams), dtype=torch.float64)
    outputs: list[NetworkOutput] = []
    predictions: dict[str, list[StructuredPrediction]] = {name: [] for name in network.structured}
    step = inference_batch_size(examples.columns)
    counts = {name: count.to(device) for name, count in counts.items()}
    with torch.inference_mode():
        for start in range(0, len(rows), step):
            indices = rows[start : start + step]
            batch = {stream: column.to(device) for stream, column in collate_examples(examples, indices).items()}
            truth = {name: (a.to(device), b.to(device)) for name, (a, b) in truth_batch(examples, indices).items()}
            with autocast(precision, device):
                output = network(batch, None, truth)
            if predicts:
                outputs.append(_flat_outputs(output))
                fused = output.fusion_output
                for name, found in ({} if fused is None else network.predict_structured(fused)).items():
                    predictions[name] += found
            present = stream_presence(batch, network.streams)
            loss_inputs = LossInputs(targets=targets, truth=truth, present=present, settings=PLAIN_LOSS, counts=counts)
            sums += _term_losses(_with_offsets(output, targets), loss_inputs)
    return _RankResult(sums, outputs, predictions)


def _flat_outputs(output: NetworkOutput) -> NetworkOutput:
    """Return the outputs for flat targets, on the CPU."""
    fused = {name: values.cpu() for name, values in output.fused.items()}
    streams = {name: {stream: v.cpu() for stream, v in heads.items()} for name, heads in output.streams.items()}
    return NetworkOutput(fused=fused, streams=streams, fusion_output=None, losses={})


def _with_offsets(outputs: NetworkOutput, targets: Mapping[str, AnyTarget]) -> NetworkOutput:
    """Add the logit offsets of a network that learns from balanced classes: validation rows have the table's."""
    fused, streams = dict(outputs.fused), dict(outputs.streams)
    for name, target in targets.items():
        if isinstance(target, CategoryTarget) and target.logit_offset is not None:
            offset = torch.tensor(target.logit_offset, device=next(iter(streams[name].values())).device)
            streams[name] = {stream: output + offset for stream, output in streams[name].items()}
            fused |= {name: fused[name] + offset} if name in fused else {}
    return dataclasses.replace(outputs, fused=fused, streams=streams)


def _term_losses(outputs: NetworkOutput, loss_inputs: LossInputs) -> torch.Tensor:
    """Return the fused loss and each stream's, summed over targets."""
    losses = [target_losses(outputs, name, target, loss_inputs) for name, target in loss_inputs.targets.items()]
    return torch.stack([torch.cat([fused.reshape(1), streams]) for fused, streams in losses]).sum(dim=0).cpu()


def _structured_score(
    name: str, target: StructuredTarget, predictions: list[StructuredPrediction], examples: Examples
) -> float | None:
    known = np.flatnonzero(examples.known[name])
    if not len(known):
        return None
    context = examples.row_context(known)
    values = values_of(target.postprocess([predictions[index] for index in known], context))
    truth = examples.references(name, target, known)
    return score_of(target.measure(truth, values), len(known)).get(target.primary_metric)


def _scores(
    name: str, target: Target, outputs: list[NetworkOutput], examples: Examples
) -> tuple[float | None, dict[str, float]]:
    def primary(batches: list[torch.Tensor]) -> float | None:
        prediction = target.to_prediction(torch.cat(batches).float().numpy())[known]
        truth, classes = examples.truth[name][known], target.classes or ()
        values = score(target.kind, truth, prediction, classes, label_weights_of(target))
        return values.get(primary_metric_of(target))

    known = examples.known[name]
    if not known.any():
        return None, {}
    fused = primary([output.fused[name] for output in outputs]) if name in outputs[0].fused else None
    streams = {stream: primary([o.streams[name][stream] for o in outputs]) for stream in outputs[0].streams[name]}
    return fused, {stream: value for stream, value in streams.items() if value is not None}
