"""The result of a run, as a comparison shows it: scores, sizes and times."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch

from polymodal.config import TrainConfig
from polymodal.fusion import fusion_entry
from polymodal.model.build import num_parameters
from polymodal.model.evaluation import FINAL, FUSION
from polymodal.model.inference_network import NO_MASK
from polymodal.model.predict import combine, predict_members
from polymodal.model.torch_network import torch_network
from polymodal.report.comparison import RunResult, TargetResult
from polymodal.runs.run import Run
from polymodal.targets import RowContext

TIMED_ROWS = 2048
TIMED_REPEATS = 3


def result_of(run: Run) -> RunResult:
    """Return the result of a run, as a comparison shows it.

    Args:
        run: The finished run.

    Returns:
        Its result.
    """
    report_data, model, network = run.model.report_data, run.model, torch_network(run.model, "A comparison")
    stacked = sum(len(stacker.parameters) for stacker in model.stackers.values())
    history = report_data["history"]
    return RunResult(
        fusion=model.config.fusion.name,
        level=fusion_entry(model.config.fusion.choice).level,
        seed=model.config.seed,
        split=run.split,
        rows=report_data["evaluation"]["rows"],
        fusion_parameters=num_parameters(network.fusion) + stacked,
        parameters=num_parameters(network) + stacked,
        epochs=len(history),
        train_seconds=len(history) * statistics.median(epoch["seconds"] for epoch in history),
        predict_ms=_predict_ms(run),
        targets={
            info["name"]: _target_result(info, run)
            for info in report_data["targets_info"]
            if info["primary_metric"] in report_data["evaluation"]["targets"].get(info["name"], {})
        },
        budget=_budget(model.config.train),
    )


def _budget(settings: TrainConfig) -> str:
    """Say what a run was allowed to use."""
    patience = "no early stopping" if settings.patience is None else f"a patience of {settings.patience}"
    limit = "no time limit" if settings.time_limit_s is None else f"a time limit of {settings.time_limit_s:g} s"
    return f"at most {settings.epochs} epochs with {patience}, batches of {settings.batch_size} rows, {limit}"


def _target_result(info: Mapping[str, Any], run: Run) -> TargetResult:
    evaluation, history = run.model.report_data["evaluation"], run.model.report_data["history"]
    name, metric = info["name"], info["primary_metric"]
    samples = run.evaluation.samples.get(name, {})
    final, fused = evaluation["targets"][name], evaluation["fusion"].get(name)
    interval = evaluation["intervals"][name].get(metric)
    if fused:
        interval = evaluation["member_intervals"][name].get("fusion")
    streams = {stream: scores[metric] for stream, scores in evaluation["streams"][name].items() if metric in scores}
    return TargetResult(
        metric=metric,
        higher_is_better=info["higher_is_better"],
        fused=(fused or final)[metric],
        interval=interval,
        final=final[metric],
        streams=streams if len(streams) > 1 else {},
        samples=samples.get(FUSION if fused else FINAL, []),
        curve=[epoch["validation_score"].get(name) for epoch in history],
    )


def _predict_ms(run: Run) -> float:
    """Return the milliseconds a row from decoded arrays to the final prediction: the median of some repeats."""
    examples = run.data_module.splits[run.split]
    timed = dataclasses.replace(examples, rows=examples.rows[:TIMED_ROWS])
    columns, context = timed.columns_in_use(), timed.row_context()
    seconds = [_predict_seconds(run, columns, context) for _ in range(TIMED_REPEATS)]
    return 1000 * statistics.median(seconds) / len(timed)


def _predict_seconds(run: Run, columns: Mapping[str, Any], context: RowContext) -> float:
    started = time.perf_counter()
    (members,) = predict_members(run.model, columns, context, [NO_MASK])
    combine(run.model, members)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started
