"""Sharded weights, gradients and optimizer states: the same training, with a part of the memory in each process."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import polymodal
import tiny
from polymodal.cli.main import app
from polymodal.model.present_rows import encode_present
from polymodal.nn import layers
from polymodal.runs.run_folder import STATE_FILE
from polymodal.tokens import ColumnBatch, Tokens
from polymodal.training.sharding import full_tensor, local_rows
from polymodal.training.strategy import Strategy
from polymodal.training.training_step import training_step
from tiny_checkpoints import save_reader

DEADLINE_S = 900
WITHOUT_DROPOUT = """
import os
import shutil
import sys
import torch
from polymodal.training import trainer
from polymodal.nn import layers
from polymodal.cli.main import main

torch.nn.Dropout.forward = layers.Dropout.forward = lambda _, x: x
torch.nn.functional.dropout = lambda x, *_, **__: x
shard_module, save_checkpoint = trainer.shard_module, trainer.save_checkpoint


def report_sizes(*given):
    sharded = shard_module(*given)
    shards, parameters = sharded.parameter_of_shard.keys(), sharded.parameter_of_shard.values()
    own, full = (sum(map(torch.Tensor.numel, weights)) for weights in (shards, parameters))
    print("holds", own, "of", full, file=sys.stderr)
    return sharded


def save_and_copy(path, *given):
    save_checkpoint(path, *given)
    if os.environ["RANK"] == "0" and not os.path.exists(os.environ["COPY"]):
        shutil.copytree(path.parent, os.environ["COPY"])


trainer.shard_module = report_sizes
if "COPY" in os.environ:
    trainer.save_checkpoint = save_and_copy
main()
"""
"""Dropout is sampled by each process; everything else is the same for any number of processes. ``COPY`` gets what a run
that is killed after its first checkpoint would leave."""
BATCH_SIZE = 17
SETTINGS = [
    *(f"train.batch_size={BATCH_SIZE}", "train.augment=false", "train.precision=float32", "train.checkpoint_steps=2"),
    *("width=16", "baselines=false", "num_threads=1", "train.patience=9"),
]
SHARED = "train.shard=true"


def arguments(data: Path, output: Path, *settings: str, more: Any = ()) -> list[str]:
    options = [argument for setting in (*SETTINGS, *settings) for argument in ("--set", setting)]
    tables = [str(data), "--validation", str(data.parent / "validation.csv")]
    named = ["--target", "kind", "--target", "weight", "--output", str(output), "--json"]
    return ["train", *tables, *options, *named, *more]


def train_alone(*given: Any, **named: Any) -> None:
    """Train in this process, without dropout too."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in (torch.nn.Dropout, layers.Dropout):
            patch.setattr(kind, "forward", lambda _, x: x)
        patch.setattr(torch.nn.functional, "dropout", lambda x, *_, **__: x)
        patch.setenv("ACCELERATE_USE_CPU", "true")
        found = CliRunner().invoke(app, arguments(*given, **named))
    assert found.exit_code == 0, found.output


def start(data: Path, output: Path, *settings: str, more: Any = (), **named: str) -> list[Any]:
    """Start two processes that train together, as torchrun would: what it starts outlives it when it is killed."""
    script = data.parent / "train.py"
    script.write_text(WITHOUT_DROPOUT)
    command = [sys.executable, str(script), *arguments(data, output, *settings, more=more)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    environment = os.environ | named | together | {"CUDA_VISIBLE_DEVICES": ""}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    ranks = [{"RANK": number, "LOCAL_RANK": number} for number in ("0", "1")]
    return [subprocess.Popen(command, env=environment | rank, **pipes) for rank in ranks]


def finish(processes: list[Any]) -> list[str]:
    """Wait for the processes; kill those that are left."""
    try:
        said = [process.communicate(timeout=DEADLINE_S) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    for process, (_, complaint) in zip(processes, said, strict=True):
        assert process.returncode == 0, complaint
    return [complaint for _, complaint in said]


def train_together(data: Path, output: Path, *settings: str, **named: Any) -> list[str]:
    """Train with two processes; once more where one of them dies by a signal.

    The thread in which torch's gloo sends and receives crashes now and then when a process ends ("pt_gloo_runloop:
    segfault", torch 2.13), which says nothing of the training.
    """
    processes = start(data, output, *settings, **named)
    try:
        return finish(processes)
    except AssertionError:
        if all(process.returncode >= 0 for process in processes):
            raise
    for folder in (output, Path(named.get("COPY", output))):
        shutil.rmtree(folder, ignore_errors=True)
    return finish(start(data, output, *settings, **named))


def record_of(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "metrics.json").read_text())["record"]
    return found


def check_same(record: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Compare the losses of every epoch, whose last batch has one row, so that one of two processes has none."""
    assert record["tables"][0]["rows"] % BATCH_SIZE == 1
    for entry, found in zip(record["history"], other["history"], strict=True):
        for name in ("train_loss", "validation_loss"):
            assert found[name] == pytest.approx(entry[name], abs=1e-3)
        assert found["part_losses"]["train"] == pytest.approx(entry["part_losses"]["train"], abs=1e-3)


def fraction_of_weights(complaint: str) -> float:
    (line,) = [line.split() for line in complaint.splitlines() if line.startswith("holds")]
    return int(line[1]) / int(line[3])


def write_tables(folder: Path, *names: str, sparse: str = "", twin: str = "") -> Path:
    """Write training and validation rows; ``sparse`` is a column with few cells, ``twin`` a copy of the first."""
    for name, rows, seed in (("tiny", 61, 0), ("validation", 30, 1)):
        table = tiny.only(tiny.write_table(folder, rows=rows, seed=seed), *names, "size", "colour", "kind", "weight")
        changed = {"weight": [None if row % 4 == 1 else cell for row, cell in enumerate(table.columns["weight"])]}
        if sparse:
            changed[sparse] = [None if row % 12 else cell for row, cell in enumerate(table.columns[sparse])]
        if twin:
            changed[twin] = table.columns[names[0]][::-1]
        tiny.write_csv(tiny.with_cells(table, **changed), folder / f"{name}.csv")
    return folder / "tiny.csv"


@pytest.mark.slow
@pytest.mark.exhaustive
def test_two_processes_with_sharded_weights_train_the_same_model_as_one(tmp_path: Path) -> None:
    """Few notes are present, so that often one of the processes, or both, have none; all streams share layers."""
    epochs, launch, more = "train.epochs=2", {"ACCELERATE_USE_FSDP": "true"}, ["--share", "all"]
    with tiny.decode_cache(tmp_path):
        data = write_tables(tmp_path, "note", "code", sparse="note")
        train_alone(data, tmp_path / "one", epochs, SHARED, more=more)
        complaints = train_together(data, tmp_path / "two", epochs, "train.accumulate=2", more=more, **launch)
    alone, together = record_of(tmp_path / "one"), record_of(tmp_path / "two")
    check_same(alone, together)
    assert [fraction_of_weights(complaint) for complaint in complaints] == pytest.approx([0.5, 0.5], abs=0.05)
    assert [notice for notice in alone["notices"] if "processes to shard them" in notice]
    assert not [notice for notice in together["notices"] if "processes to shard them" in notice]
    found = {path.name for path in (tmp_path / "two").iterdir()}
    assert found == {"model", "report.html", "metrics.json", "run.yaml", "log.txt"}


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Fine-tune a checkpoint that two streams share: without and with sharding, and resumed in mid-epoch."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("sharded")
    checkpoint = save_reader(folder / "bert")
    settings = ["train.epochs=2", SHARED]
    for stream in ("note", "remark"):
        settings += [f"encoder.{stream}.name={checkpoint}", f"encoder.{stream}.hyperparameters.tuning=full"]
    more = ["--share", "words=note,remark"]
    with tiny.decode_cache(folder):
        data = write_tables(folder, "note", sparse="note", twin="remark")
        train_alone(data, folder / "whole", *settings, "train.shard=false", more=more)
        broken = folder / "broken"
        complaints = train_together(data, folder / "shared", *settings, more=more, COPY=str(broken))
        assert (broken / STATE_FILE).exists()
        shutil.copytree(broken, folder / "alone")
        finish(start(data, broken, *settings, more=[*more, "--resume"]))
        train_alone(data, folder / "alone", *settings, more=[*more, "--resume"])
    return {"folder": folder, "complaints": complaints}


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_fine_tuned_checkpoint_trains_the_same_with_sharding(read: dict[str, Any]) -> None:
    check_same(record_of(read["folder"] / "whole"), record_of(read["folder"] / "shared"))
    assert [fraction_of_weights(complaint) for complaint in read["complaints"]] == pytest.approx([0.5, 0.5], abs=0.05)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_resumed_sharded_run_equals_an_uninterrupted_one(read: dict[str, Any]) -> None:
    first, second = (polymodal.load(read["folder"] / name) for name in ("shared", "broken"))
    assert tiny.same(tiny.weights_of(first), tiny.weights_of(second))
    assert tiny.scores_of(first) == tiny.scores_of(second)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_single_process_resumes_a_sharded_checkpoint(read: dict[str, Any]) -> None:
    check_same(record_of(read["folder"] / "shared"), record_of(read["folder"] / "alone"))


@pytest.mark.parametrize("rows", [0, 1, 2, 5, 6, 7])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_local_rows_are_those_of_chunk(monkeypatch: pytest.MonkeyPatch, rows: int, count: int) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(count))
    value = torch.arange(rows * 2.0).view(rows, 2)
    chunks = list(value.chunk(count)) + [value[:0]] * count
    for number in range(count):
        monkeypatch.setenv("RANK", str(number))
        assert torch.equal(local_rows(value, len(chunks[number])), chunks[number])


def test_an_ordinary_tensor_is_full_already() -> None:
    value = torch.ones(2)
    assert full_tensor(value) is value


class Doubling(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((1,), 2.0))

    def forward(self, column: ColumnBatch) -> Tokens:
        return Tokens((self.weight * column.values).unsqueeze(1), torch.ones(len(column), 1, dtype=torch.bool))


def test_a_dummy_row_gives_no_token_and_gradients_of_zeros() -> None:
    absent = ColumnBatch(torch.zeros(3, 4), torch.zeros(3, dtype=torch.bool), None)
    row = ColumnBatch(torch.ones(1, 4), torch.ones(1, dtype=torch.bool), None)
    encoder = Doubling()
    assert not encode_present(encoder, absent, 4).values.requires_grad
    tokens = encode_present(encoder, absent, 4, row)
    assert tokens.values.shape == (3, 1, 4)
    assert not tokens.present.any()
    tokens.values.sum().backward()
    assert encoder.weight.grad is not None
    assert encoder.weight.grad.tolist() == [0.0]


def test_with_sharding_out_of_memory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def out_of_memory(*given: Any) -> None:
        tried.append(given)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("polymodal.training.training_step.compute_gradients", out_of_memory)
    given: Any = {name: SimpleNamespace() for name in ("network", "optimizer", "sharded")}
    inputs: Any = SimpleNamespace(settings=SimpleNamespace(accumulate=None))
    state: Any = SimpleNamespace(accumulation_steps=1)
    with pytest.raises(torch.OutOfMemoryError):
        training_step(Strategy(**given, device=torch.device("cpu")), inputs, state, [1, 2, 3])
    assert len(tried) == 1
