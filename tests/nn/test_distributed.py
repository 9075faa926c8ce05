"""Two data-parallel processes train the same model as a single one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import tiny
from polymodal.cli.main import app
from polymodal.nn import layers
from polymodal.nn.distributed import all_reduce_gradients, process_device, rank_slice

DEADLINE_S = 900
SETTINGS = [
    *("train.epochs=3", "train.batch_size=23", "train.modality_dropout=0.2", "train.augment=false"),
    *("train.precision=float32", "width=16", "baselines=false", "num_threads=1"),
]
WITHOUT_DROPOUT = """
import torch
from polymodal.nn import layers
from polymodal.cli.main import main

torch.nn.Dropout.forward = layers.Dropout.forward = lambda _, x: x
main()
"""
"""Dropout is sampled by each process; everything else is the same for any number of processes."""


def arguments(data: Path, output: Path) -> list[str]:
    settings = [argument for setting in SETTINGS for argument in ("--set", setting)]
    return ["train", str(data), *settings, "--target", "kind", "--target", "weight", "--output", str(output), "--json"]


def train_alone(data: Path, output: Path) -> None:
    """Train in this process, without dropout too."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in (torch.nn.Dropout, layers.Dropout):
            patch.setattr(kind, "forward", lambda _, x: x)
        patch.setenv("ACCELERATE_USE_CPU", "true")
        found = CliRunner().invoke(app, arguments(data, output))
    assert found.exit_code == 0, found.output


def train_together(data: Path, output: Path) -> subprocess.CompletedProcess[str]:
    script = data.parent / "train.py"
    script.write_text(WITHOUT_DROPOUT)
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", str(script)]
    command = [sys.executable, *launch, *arguments(data, output)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False, env=environment)


@pytest.mark.slow
def test_two_processes_train_the_same_model_as_one(tmp_path: Path) -> None:
    table = tiny.only(tiny.write_table(tmp_path, rows=90), "note", "size", "colour", "code", "kind", "weight")
    weights = [None if row % 4 == 1 else cell for row, cell in enumerate(table.columns["weight"])]
    with tiny.decode_cache(tmp_path):
        data = tiny.write_csv(tiny.with_cells(table, weight=weights), tmp_path / "tiny.csv")
        first, second = tmp_path / "run1", tmp_path / "run2"
        train_alone(data, first)
        two = train_together(data, second)
    assert two.returncode == 0, two.stderr
    json.loads(two.stdout)  # one process prints
    alone, together = (json.loads((folder / "metrics.json").read_text())["record"] for folder in (first, second))
    for entry, other in zip(alone["history"], together["history"], strict=True):
        for name in ("train_loss", "validation_loss"):
            assert other[name] == pytest.approx(entry[name], abs=1e-3)
    scores, others = (found["evaluation"]["targets"] for found in (alone, together))
    for target in scores:
        assert others[target] == pytest.approx(scores[target], abs=0.02)
    assert {path.name for path in second.iterdir()} == {"model", "report.html", "metrics.json", "run.yaml", "log.txt"}


@pytest.mark.parametrize(("rows", "count"), [(10, 3), (1, 2), (7, 7), (2, 5)])
def test_every_row_belongs_to_one_process(monkeypatch: pytest.MonkeyPatch, rows: int, count: int) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(count))
    places, found = np.arange(rows), []
    for number in range(count):
        monkeypatch.setenv("RANK", str(number))
        found.append(places[rank_slice(places)])
    assert np.concatenate(found).tolist() == places.tolist()
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_gradients_are_summed_and_none_stays_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")

    def as_if_two_processes(message: Any) -> None:
        message *= 2

    monkeypatch.setattr("torch.distributed.all_reduce", as_if_two_processes)
    used, unused, frozen = (torch.nn.Parameter(torch.ones(2, 3)) for _ in range(3))
    frozen.requires_grad_(False)
    used.grad = torch.arange(6.0).view(2, 3)
    losses = all_reduce_gradients([used, unused, frozen], torch.tensor([1.0, 0.5]))
    assert losses.tolist() == [2.0, 1.0]
    assert torch.equal(used.grad, 2 * torch.arange(6.0).view(2, 3))
    assert unused.grad is None


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(4, 3, 3, 3), (4, 3, 1, 1), (1, 3, 2, 2), (0, 3, 2, 2)])
def test_summed_gradients_have_the_memory_format_of_their_weights(
    monkeypatch: pytest.MonkeyPatch, layout: torch.memory_format, shape: tuple[int, ...]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("torch.distributed.all_reduce", lambda message: message.mul_(2))
    weight = torch.nn.Parameter(torch.ones(shape).contiguous(memory_format=layout))
    gradient = torch.randn(shape)
    for given in (gradient.clone(), gradient.clone(memory_format=torch.channels_last)):
        weight.grad = given
        all_reduce_gradients([weight], torch.zeros(1))
        assert torch.equal(weight.grad, 2 * gradient)
        assert weight.grad.stride() == weight.stride()


def test_the_launcher_may_ask_for_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert process_device() == torch.device("cuda")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")  # accelerate launch --cpu
    assert process_device() == torch.device("cpu")
