from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from polymodal.encoders import PRETRAINED
from polymodal.encoders.lora import ALPHA, add_adapters
from polymodal.errors import ConfigError
from polymodal.modalities import Text
from tiny_checkpoints import save_checkpoint

transformers = pytest.importorskip("transformers")


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.value, self.output = nn.Linear(6, 4), nn.Linear(6, 4, bias=False), nn.Linear(4, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.output(torch.sigmoid(self.query(x)) * self.value(x))
        return answer


def test_an_adapter_adds_a_matrix_of_low_rank() -> None:
    torch.manual_seed(0)
    module, x = Attention(), torch.randn(3, 6)
    before = module(x)
    adapters = add_adapters(module, rank=2)
    assert list(adapters) == ["query", "value"]
    assert torch.equal(module(x), before)
    for name, adapter in adapters.items():
        nn.init.normal_(adapter.up)
        added = ALPHA / 2 * adapter.up @ adapter.down
        assert torch.linalg.matrix_rank(added) == 2
        expected = nn.functional.linear(x, getattr(module, name).weight + added, getattr(module, name).bias)
        torch.testing.assert_close(getattr(module, name)(x), expected)


def test_only_adapters_learn() -> None:
    module = Attention()
    adapters = add_adapters(module, rank=2)
    module(torch.randn(3, 6)).sum().backward()
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert all(adapter.up.grad is not None for adapter in adapters.values())


def test_a_module_without_attention_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model Sequential has no attention layers .* Choose tuning=frozen"):
        add_adapters(nn.Sequential(nn.Linear(2, 2)), rank=2)


def test_the_saved_base_is_the_checkpoint_without_its_adapters(tmp_path: Path) -> None:
    checkpoint = save_checkpoint("bert", tmp_path / "bert")
    fitted = Text(tokenizer="", num_ids=60, max_length=20)
    encoder = PRETRAINED["text"].build(fitted, 16, checkpoint=checkpoint, tuning="lora", rank=3)
    for parameter in encoder.adapters.parameters():
        nn.init.normal_(parameter)
    encoder.save_backbone(tmp_path / "copy")
    first, copy = (load_file(folder / "model.safetensors") for folder in (tmp_path / "bert", tmp_path / "copy"))
    assert copy.keys() == {name for name in first if not name.startswith("pooler.")}
    assert all(torch.equal(first[name], value) for name, value in copy.items())
    assert {parameter.shape[0] for name, parameter in encoder.adapters.named_parameters() if "down" in name} == {3}
