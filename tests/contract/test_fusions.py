"""Every fusion of the table through the same checks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from polymodal.errors import ConfigError
from polymodal.fusion import DEFAULT_FUSION, FUSIONS, Fusion, build_fusion
from polymodal.model.network import Network
from polymodal.targets import CategoryTarget
from polymodal.tokens import Fused, Tokens

WIDTH = 16
STREAMS = {"image": 4, "a.dotted name": 1, "text": 3}
MODULES = [name for name, entry in FUSIONS.items() if entry.level != "decision"]
every_fusion = pytest.mark.parametrize("name", MODULES)


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    fusion = build_fusion(name, list(STREAMS), WIDTH, {})
    assert fusion is not None
    return fusion


def streams(rows: int, absent: dict[str, list[int]] | None = None) -> dict[str, Tokens]:
    generator = torch.Generator().manual_seed(0)
    made = {}
    for stream, num_tokens in STREAMS.items():
        present = torch.ones(rows, num_tokens, dtype=torch.bool)
        present[: rows // 2, 2:] = False
        present[(absent or {}).get(stream, [])] = False
        made[stream] = Tokens(torch.randn(rows, num_tokens, WIDTH, generator=generator), present)
    return made


def with_other_values(tokens: dict[str, Tokens]) -> dict[str, Tokens]:
    return {
        stream: Tokens(torch.where(part.present.unsqueeze(2), part.values, torch.nan), part.present)
        for stream, part in tokens.items()
    }


def seen(fused: Fused) -> torch.Tensor:
    return torch.where(fused.tokens.present.unsqueeze(2), fused.tokens.values, 0)


@every_fusion
def test_shapes(name: str) -> None:
    fused = build(name)(streams(rows=5))
    assert fused.pooled.shape == (5, WIDTH)
    assert fused.tokens.values.shape == (5, sum(STREAMS.values()), WIDTH)
    assert fused.pooled.isfinite().all()
    assert fused.weights is None or fused.weights.shape == (5, len(STREAMS))


@every_fusion
def test_all_parameters_get_finite_gradients(name: str) -> None:
    fusion = build(name).train()
    fused = fusion(streams(rows=6, absent={stream: [row] for row, stream in enumerate(STREAMS)}))
    (fused.pooled * torch.randn(6, WIDTH)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in fusion.parameters())


@every_fusion
@pytest.mark.parametrize("rows", [0, 1])
def test_batches_of_no_and_of_one_row(name: str, rows: int) -> None:
    fused = build(name).train()(streams(rows))
    assert fused.pooled.shape == (rows, WIDTH)
    assert fused.pooled.isfinite().all()


@every_fusion
def test_values_of_absent_tokens_are_never_read(name: str) -> None:
    fusion = build(name).train()
    tokens = streams(rows=6, absent={"image": [0, 1], "text": [1, 2], "a.dotted name": [1]})
    outputs = []
    for variant in (tokens, with_other_values(tokens)):
        torch.manual_seed(1)
        outputs.append(fusion(variant))
    assert torch.equal(outputs[0].pooled, outputs[1].pooled)
    assert torch.equal(seen(outputs[0]), seen(outputs[1]))
    assert outputs[0].weights is None or torch.equal(outputs[0].weights, outputs[1].weights)


@every_fusion
def test_no_gradient_reaches_or_comes_from_absent_tokens(name: str) -> None:
    fusion = build(name).train()
    tokens = with_other_values(streams(rows=4, absent={"image": [0], "text": [0, 2]}))
    leaves = {stream: part.values.requires_grad_() for stream, part in tokens.items()}
    fusion(tokens).pooled.sum().backward()
    for stream, leaf in leaves.items():
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert not leaf.grad[~tokens[stream].present].any()


@every_fusion
def test_an_absent_stream_changes_its_own_row_only(name: str) -> None:
    fusion = build(name).eval()
    full = fusion(streams(rows=6))
    holed = fusion(streams(rows=6, absent={"text": [3]}))
    others = [0, 1, 2, 4, 5]
    assert torch.equal(full.pooled[others], holed.pooled[others])
    assert not torch.allclose(full.pooled[3], holed.pooled[3])


@every_fusion
def test_a_row_without_anything_is_finite_and_the_same_everywhere(name: str) -> None:
    fused = build(name).eval()(streams(rows=6, absent={stream: [0, 4] for stream in STREAMS}))
    assert fused.pooled.isfinite().all()
    torch.testing.assert_close(fused.pooled[0], fused.pooled[4])
    assert fused.tokens.row_present.all()


@every_fusion
def test_a_missing_token_stands_in_alike_in_training_and_inference(name: str) -> None:
    fusion = build_fusion(name, list(STREAMS), WIDTH, {"dropout": 0.0})
    assert fusion is not None
    tokens = streams(rows=4, absent={"image": [1]})
    torch.testing.assert_close(fusion.train()(tokens).pooled, fusion.eval()(tokens).pooled)
    with torch.no_grad():
        before = fusion(tokens).pooled
        fusion.missing_SW[0] += torch.randn(WIDTH)
    changed = (fusion(tokens).pooled != before).any(dim=1)
    assert changed.tolist() == [False, True, False, False]


@every_fusion
def test_one_stream_is_enough(name: str) -> None:
    fusion = build_fusion(name, ["image"], WIDTH, {})
    assert fusion is not None
    assert fusion({"image": streams(rows=2)["image"]}).pooled.shape == (2, WIDTH)


def test_attention_weights_sum_to_one_over_what_is_there() -> None:
    absent = {"image": [0, 3], "a.dotted name": [3], "text": [1, 3]}
    weights = build("attention").eval()(streams(rows=4, absent=absent)).weights
    torch.testing.assert_close(weights.sum(dim=1), torch.tensor([1.0, 1.0, 1.0, 0.0]))
    order = list(STREAMS)
    for stream, rows in absent.items():
        assert (weights[rows, order.index(stream)] == 0).all()
    assert (weights[2] > 0).all()


@pytest.mark.parametrize("name", ["vote", "stacking"])
def test_fusions_on_validation_rows_have_no_module(name: str) -> None:
    assert FUSIONS[name].level == "decision"
    assert build_fusion(name, list(STREAMS), WIDTH, {}) is None


def test_the_default_is_in_the_table() -> None:
    assert DEFAULT_FUSION in FUSIONS


def test_an_unknown_fusion_is_named_with_those_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"'fusion' parameter of a run must be one of: transformer, .*vote, .*\. Got 'mixture'"
    ):
        build_fusion("mixture", list(STREAMS), WIDTH, {})


@pytest.mark.parametrize("name", list(FUSIONS))
def test_an_unknown_hyperparameter_is_refused(name: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"'hyperparameters' parameter of the fusion '{name}' must be .*Got 'colour'"
    ):
        build_fusion(name, list(STREAMS), WIDTH, {"colour": 3})


@every_fusion
@pytest.mark.parametrize("gives_tokens", [True, False])
def test_the_pooled_row_is_the_same_whether_tokens_are_wanted_or_not(name: str, gives_tokens: bool) -> None:
    fusion = build_fusion(name, list(STREAMS), WIDTH, {"dropout": 0.0})
    assert isinstance(fusion, Fusion)
    tokens = streams(rows=4, absent={"image": [1], "text": [1, 2]})
    expected, weights = fusion(tokens).pooled, torch.randn(4, WIDTH)
    wanted = torch.autograd.grad((expected * weights).sum(), list(fusion.parameters()))
    fusion.gives_tokens = gives_tokens
    fused = fusion(tokens)
    torch.testing.assert_close(fused.pooled, expected)
    found = torch.autograd.grad((fused.pooled * weights).sum(), list(fusion.parameters()))
    torch.testing.assert_close(found, wanted)


def test_tokens_that_no_head_reads_are_not_computed() -> None:
    layer_inputs = []
    fusion = build(DEFAULT_FUSION)
    fusion.layers.layers[-1].feed_forward.register_forward_hook(lambda _, given, __: layer_inputs.append(given[0]))
    network = Network(
        {stream: nn.Identity() for stream in STREAMS}, fusion, {"y": CategoryTarget.fit(["a", "b"])}, WIDTH
    )
    fused = network.fuse(streams(rows=4))
    assert fused is not None
    assert layer_inputs[0].shape == (4, 1, WIDTH)
    with pytest.raises(ValueError, match="reads_tokens"):
        fused.read_tokens()
