"""Every family of checkpoints, in every way of use, through the same checks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from polymodal.arrays import Column
from polymodal.encoders import ENCODERS, PRETRAINED, Pretrained
from polymodal.errors import ConfigError
from polymodal.progress import SilentProgress
from polymodal.tokens import ColumnBatch
from pretrained_examples import ABSENT, ROWS, WAYS, WIDTH, WITHOUT_ATTENTION, build
from products import pairwise
from tiny_checkpoints import RECIPES, save_checkpoint

transformers = pytest.importorskip("transformers")
every_case = pairwise("family,tuning", WAYS)
every_family = pytest.mark.parametrize("family", list(RECIPES))
UNREAD = ("layernorm.", "post_layernorm.", "embed_positions", "logit", "masked_spec_embed", "key.bias", "k_proj.bias")
"""Parameters without effect on what is read: norms above the last output, and biases that attention cancels."""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {family: save_checkpoint(family, folder / family) for family in RECIPES}


def encoded(encoder: Pretrained, cells: Column) -> torch.Tensor:
    values: torch.Tensor = encoder(ColumnBatch.from_column(cells)).pooled()
    return values


def test_the_recipes_cover_the_table() -> None:
    assert {recipe.modality for recipe in RECIPES.values()} == set(PRETRAINED)
    assert all(
        ENCODERS[modality]["pretrained"] is entry for modality, entry in PRETRAINED.items() if modality in ENCODERS
    )


@every_case
def test_tokens_are_few_finite_and_as_wide_as_asked(family: str, tuning: str, checkpoints: Any) -> None:
    encoder, cells = build(family, tuning, checkpoints)
    tokens = encoder.eval()(ColumnBatch.from_column(cells))
    assert tokens.values.shape[0] == ROWS
    assert 1 <= tokens.values.shape[1] <= 32
    assert tokens.values.shape[2] == WIDTH
    assert tokens.values.dtype == torch.float32
    assert tokens.values.isfinite().all()
    assert tokens.row_present.tolist() == cells.present.tolist()


@every_case
def test_what_shall_learn_gets_gradients_and_nothing_else(family: str, tuning: str, checkpoints: Any) -> None:
    encoder, cells = build(family, tuning, checkpoints)
    for parameter in getattr(encoder, "adapters", torch.nn.Module()).parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    tokens = encoder.train()(ColumnBatch.from_column(cells))
    (tokens.pooled() * torch.randn(ROWS, WIDTH)).sum().backward()
    learning = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    without = [name for name, p in learning.items() if p.grad is None and not any(part in name for part in UNREAD)]
    assert not without
    assert all(p.grad.isfinite().all() for p in learning.values() if p.grad is not None)
    parts = {name.split(".")[0] for name in learning}
    assert parts == {"frozen": {"reader"}, "lora": {"reader", "adapters"}, "full": {"reader", "backbone"}}[tuning]
    grouped = [id(p) for group in encoder.parameter_groups(1e-3, 0.5) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in learning.values())


@every_case
def test_absent_rows_and_padding_are_never_read(family: str, tuning: str, checkpoints: Any) -> None:
    encoder, cells = build(family, tuning, checkpoints)
    other = cells.values.copy()
    other[ABSENT] = 7
    if cells.lengths is not None:
        other[np.arange(other.shape[1]) >= cells.lengths[:, None]] = 9
    changed = dataclasses.replace(cells, values=other)
    assert torch.equal(encoded(encoder.eval(), cells), encoded(encoder.eval(), changed))


@every_case
def test_a_row_does_not_depend_on_its_batch(family: str, tuning: str, checkpoints: Any) -> None:
    encoder, cells = build(family, tuning, checkpoints)
    among = encoded(encoder.eval(), cells)
    tolerance = 0.05 if tuning == "frozen" else 1e-4
    for row in (0, 1, 2):
        alone = encoded(encoder, cells.take(slice(row, row + 1)))
        torch.testing.assert_close(among[row : row + 1], alone, atol=tolerance, rtol=tolerance)


@every_case
def test_no_row_and_one_row(family: str, tuning: str, checkpoints: Any) -> None:
    encoder, cells = build(family, tuning, checkpoints)
    assert encoded(encoder.train(), cells.take(slice(0, 0))).shape == (0, WIDTH)
    tokens = encoder(ColumnBatch.from_column(cells.take(slice(2, 3))))
    tokens.pooled().sum().backward()
    assert tokens.values.isfinite().all()


@every_case
def test_saved_copies_restore_an_encoder_to_the_bit(family: str, tuning: str, checkpoints: Any, tmp_path: Path) -> None:
    encoder, cells = build(family, tuning, checkpoints)
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            parameter.data += 0.01 * torch.randn_like(parameter)
    encoder.save_backbone(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    again, _ = build(family, tuning, {family: str(tmp_path)})
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(encoded(encoder.eval(), cells), encoded(again.eval(), cells))


@every_case
def test_the_state_holds_what_learns(family: str, tuning: str, checkpoints: Any) -> None:
    encoder, _ = build(family, tuning, checkpoints)
    parts = {name.split(".")[0] for name in encoder.state_dict()}
    assert parts == {"frozen": {"reader"}, "lora": {"reader", "adapters"}, "full": {"reader", "backbone"}}[tuning]


@every_family
def test_frozen_outputs_computed_ahead_are_those_computed_at_once(family: str, checkpoints: Any) -> None:
    encoder, cells = build(family, "frozen", checkpoints)
    outputs = encoder.precompute(cells, SilentProgress())
    assert outputs.values.dtype == np.float16
    assert outputs.values.shape[1] <= encoder.max_tokens
    assert outputs.present.tolist() == cells.present.tolist()
    assert (outputs.lengths > 0).tolist() == cells.present.tolist()
    assert not outputs.values[ABSENT].any()
    ahead = encoded(encoder.eval(), dataclasses.replace(cells, outputs=outputs))
    torch.testing.assert_close(ahead, encoded(encoder, cells), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("family", [family for family in RECIPES if family not in WITHOUT_ATTENTION])
def test_adapters_start_from_the_checkpoint_as_it_is(family: str, checkpoints: Any) -> None:
    adapted, cells = build(family, "lora", checkpoints)
    tuned, _ = build(family, "full", checkpoints)
    tuned.reader.load_state_dict(adapted.reader.state_dict())
    torch.testing.assert_close(encoded(adapted.eval(), cells), encoded(tuned.eval(), cells), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", WITHOUT_ATTENTION)
def test_adapters_need_attention(family: str, checkpoints: Any) -> None:
    with pytest.raises(ConfigError, match=r"has no attention layers that low-rank adapters could be added to\. Choose"):
        build(family, "lora", checkpoints)


@every_family
def test_lower_layers_learn_more_slowly(family: str, checkpoints: Any) -> None:
    encoder, _ = build(family, "full", checkpoints, backbone_rate=0.1)
    rates = [group["lr"] for group in encoder.parameter_groups(1e-3, 0.5)]
    levels = 5 if family in WITHOUT_ATTENTION else 3
    assert rates == pytest.approx([1e-3, *(1e-4 * 0.5**level for level in reversed(range(levels)))])
