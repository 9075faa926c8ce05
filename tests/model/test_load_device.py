"""Which device a loaded model runs on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import polymodal
import tiny
from polymodal.errors import ConfigError
from polymodal.nn.devices import choose_device, use_device
from polymodal.nn.distributed import process_device


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_it_is_the_cpu() -> None:
    assert choose_device() == torch.device("cpu")


def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device().type == "cuda"
    assert choose_device("cpu").type == "cpu"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cells")
    table = tiny.write_table(folder, rows=16)
    tiny.train(tiny.only(table, "size", "kind"), "kind", output=folder / "run")
    return folder / "run"


@pytest.mark.parametrize("asked", ["cuda:99", "gpu", ""])
def test_a_device_that_is_not_here_is_refused(asked: str, run_folder: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^There is no device '{asked}' here \(.+\)\. Use 'cpu', or leave it out"):
        polymodal.load(run_folder, device=asked)


def test_a_model_is_loaded_onto_the_device_that_is_asked_for(run_folder: Path) -> None:
    model = polymodal.load(run_folder, device="cpu")
    assert {parameter.device.type for parameter in model.trained.network.parameters()} == {"cpu"}


def test_a_run_may_be_told_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with use_device("cpu"):
        assert choose_device() == process_device() == torch.device("cpu")
        with use_device(None):
            assert choose_device() == torch.device("cpu")
    assert choose_device().type == "cuda"
    with pytest.raises(ConfigError, match=r"^There is no device 'gpu' here"):
        tiny.train(tiny.numbers_table(), device="gpu")
