"""Pruning removes whole units: the network gets smaller, still runs, and is the same after it was saved."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import pytest
import torch

import polymodal
from polymodal import CheckpointError
from polymodal.model.checkpoint import save_model
from polymodal.nn.attention import SelfAttention
from polymodal.nn.pruning import Heads, prunable_units, prune


def test_a_pruned_attention_is_one_without_those_heads() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(8, 4).eval()
    x, present = torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool)
    silent = copy.deepcopy(attention)
    with torch.no_grad():
        silent.project_out.weight[:, 2:4] = 0.0  # what the second head says is not read
    Heads(attention).keep(torch.tensor([0, 2, 3]))
    torch.testing.assert_close(attention(x, present), silent(x, present))
    torch.testing.assert_close(attention(x, present, num_queries=1), silent(x, present)[:, :1])


def test_the_least_important_units_go_first() -> None:
    attention = SelfAttention(8, 4)
    with torch.no_grad():
        attention.project_out.weight[:, 4:6] *= 1e-3
    assert Heads(attention).ranked(3).tolist() == [0, 1, 3]


def test_a_pruned_model_is_the_same_after_it_was_saved(run: Path, rows_path: Path, tmp_path: Path) -> None:
    model = polymodal.load(run)
    network = copy.deepcopy(model.trained.network)
    before = sum(parameter.numel() for parameter in network.parameters())
    network.pruned = prune(network, 0.5)
    assert set(network.pruned) == set(prunable_units(network))
    assert sum(parameter.numel() for parameter in network.parameters()) < before
    pruned = polymodal.Model(dataclasses.replace(model.trained, network=network))
    save_model(pruned.trained, tmp_path / "model")
    loaded = polymodal.load(tmp_path / "model")
    assert (loaded.predict_proba(rows_path)["kind"][1] == pruned.predict_proba(rows_path)["kind"][1]).all()


@pytest.mark.parametrize("pruned", [{"fusion.nothing": 1}, {"fusion.layers.layers.0.attention.heads": 99}])
def test_shapes_that_do_not_fit_are_damage(run: Path, tmp_path: Path, pruned: dict[str, int]) -> None:
    polymodal.load(run).save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pruned": pruned}))
    (tmp_path / "model" / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="damaged"):
        polymodal.load(tmp_path / "model")
