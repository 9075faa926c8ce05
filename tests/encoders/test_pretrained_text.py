from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from polymodal.arrays import Column
from polymodal.data.cache.cache import ArrayCache
from polymodal.encoders import ENCODERS, build_encoder
from polymodal.encoders.checkpoint_adapter import batches_by_length
from polymodal.encoders.pooling import NUM_TOKENS
from polymodal.encoders.pretrained import Pretrained, layer_level
from polymodal.errors import ConfigError
from polymodal.modalities import Text
from polymodal.progress import SilentProgress
from polymodal.tokens import ColumnBatch

transformers = pytest.importorskip("transformers")
WIDTH = 16
FITTED = Text(tokenizer="", num_ids=60, max_length=40)


def save_bert(folder: Path, **options: Any) -> str:
    torch.manual_seed(0)
    sizes = {"hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.BertConfig(vocab_size=60, max_position_embeddings=32, **sizes)
    transformers.BertModel(config).save_pretrained(folder, **options)
    return str(folder)


def save_distilbert(folder: Path) -> str:
    torch.manual_seed(0)
    config = transformers.DistilBertConfig(
        vocab_size=60, max_position_embeddings=64, dim=12, n_layers=2, n_heads=2, hidden_dim=24
    )
    transformers.DistilBertModel(config).save_pretrained(folder)
    return str(folder)


def save_roberta(folder: Path) -> str:
    torch.manual_seed(0)
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.RobertaConfig(vocab_size=60, max_position_embeddings=34, **sizes)
    transformers.RobertaModel(config).save_pretrained(folder)
    return str(folder)


SAVERS = {"bert": save_bert, "distilbert": save_distilbert, "roberta": save_roberta}


@pytest.fixture(params=SAVERS)
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return SAVERS[request.param](tmp_path / request.param)


@pytest.fixture
def bert(tmp_path: Path) -> str:
    return save_bert(tmp_path / "bert")


def texts(rows: int = 6) -> Column:
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 41, rows)
    lengths[:2] = (40, 2)
    ids = generator.integers(4, 60, (rows, 40)).astype(np.int32)
    ids[np.arange(40) >= lengths[:, None]] = 0
    present = np.ones(rows, np.bool_)
    present[3:4] = False
    return Column(ids, present, lengths)


def with_outputs(column: Column, outputs: Column) -> Column:
    return dataclasses.replace(column, outputs=outputs)


def build(checkpoint: str, **hyperparameters: Any) -> Pretrained:
    torch.manual_seed(0)
    encoder = build_encoder("text", checkpoint, FITTED, WIDTH, hyperparameters)
    assert isinstance(encoder, Pretrained)
    return encoder


def test_frozen_outputs_are_computed_ahead(checkpoint: str) -> None:
    encoder = build(checkpoint)
    column, limit = texts(), 64 if "distilbert" in checkpoint else 32
    outputs = encoder.precompute(column, SilentProgress())
    assert outputs.values.dtype == np.float16
    assert outputs.values.shape == (6, int(column.lengths.max()), 24)
    assert outputs.lengths.tolist() == np.where(column.present, np.minimum(column.lengths, limit), 0).tolist()
    assert np.array_equal(outputs.present, column.present)
    assert not outputs.values[3].any()
    tokens = encoder(ColumnBatch.from_column(with_outputs(column, outputs)))
    assert tokens.values.shape == (6, NUM_TOKENS, WIDTH)
    assert tokens.row_present.tolist() == column.present.tolist()


def test_frozen_outputs_go_to_the_disk_as_they_are_computed(bert: str, tmp_path: Path) -> None:
    encoder, column = build(bert), texts()
    in_memory = encoder.precompute(column, SilentProgress())
    cache = ArrayCache(tmp_path / "cache")
    for _ in range(2):
        kept, _ = cache.column("k", lambda entry: (encoder.precompute(column, SilentProgress(), entry), []))
        assert isinstance(kept.values, np.memmap)
        assert np.array_equal(kept.values, in_memory.values)
        assert np.array_equal(kept.present, in_memory.present)
        assert kept.lengths.tolist() == in_memory.lengths.tolist()


def test_long_texts_are_shortened_to_the_tokens_asked_for(bert: str) -> None:
    outputs = build(bert, max_tokens=3).precompute(texts(), SilentProgress())
    assert outputs.values.shape == (6, 3, 24)
    assert int(outputs.lengths.max()) == 3


def test_the_order_and_batches_of_computing_ahead_do_not_matter(bert: str) -> None:
    encoder, column = build(bert), texts(rows=9)
    together = encoder.precompute(column, SilentProgress()).values.astype(np.float32)
    for row in range(9):
        alone = encoder.precompute(column.take(slice(row, row + 1)), SilentProgress()).values[0]
        np.testing.assert_allclose(together[row, : len(alone)], alone.astype(np.float32), atol=0.03)


def test_frozen_token_ids_are_read_on_the_fly(bert: str) -> None:
    encoder, column = build(bert).eval(), texts()
    ahead = encoder(ColumnBatch.from_column(with_outputs(column, encoder.precompute(column, SilentProgress()))))
    on_the_fly = encoder(ColumnBatch.from_column(column))
    torch.testing.assert_close(ahead.pooled(), on_the_fly.pooled(), atol=0.1, rtol=0.1)


def test_only_the_layers_around_a_frozen_checkpoint_are_trained_and_saved(bert: str) -> None:
    encoder = build(bert).train()
    encoder(ColumnBatch.from_column(texts())).pooled().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    assert all(name.startswith("reader.") for name in encoder.state_dict())


def test_fine_tuning_reaches_every_layer(checkpoint: str) -> None:
    encoder = build(checkpoint, tuning="full").train()
    tokens = encoder(ColumnBatch.from_column(texts()))
    assert tokens.values.shape == (6, NUM_TOKENS, WIDTH)
    assert tokens.row_present.tolist() == [True, True, True, False, True, True]
    (tokens.pooled() * torch.randn(6, WIDTH)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_absent_rows_are_never_read(bert: str) -> None:
    column = texts()
    other = Column(np.where(column.present[:, None], column.values, 9), column.present, column.lengths)
    for tuning in ("frozen", "lora", "full"):
        encoder = build(bert, tuning=tuning).eval()
        first, second = (encoder(ColumnBatch.from_column(each)).pooled() for each in (column, other))
        assert torch.equal(first, second)


def test_an_empty_column(bert: str) -> None:
    encoder, column = build(bert), texts().take(slice(0, 0))
    outputs = encoder.precompute(column, SilentProgress())
    assert outputs.values.shape == (0, 1, 24)
    assert encoder(ColumnBatch.from_column(with_outputs(column, outputs))).values.shape[::2] == (0, WIDTH)
    assert encoder(ColumnBatch.from_column(column)).values.shape[::2] == (0, WIDTH)


def test_lower_layers_learn_more_slowly(bert: str) -> None:
    groups = build(bert, tuning="full", backbone_rate=0.1).parameter_groups(1e-3, 0.5)
    assert [group["lr"] for group in groups] == pytest.approx([1e-3, 1.25e-5, 2.5e-5, 5e-5, 1e-4])
    encoder = build(bert, tuning="full")
    grouped = [id(p) for group in encoder.parameter_groups(1e-3, 0.5) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in encoder.parameters())


def test_a_frozen_checkpoint_has_one_group(bert: str) -> None:
    groups = build(bert).parameter_groups(1e-3, 0.5)
    assert [group["lr"] for group in groups] == [1e-3]


def test_a_saved_checkpoint_can_be_used_in_place_of_the_first(bert: str, tmp_path: Path) -> None:
    first = build(bert)
    first.save_backbone(tmp_path / "kept")
    second = build(str(tmp_path / "kept"))
    outputs = [encoder.precompute(texts(), SilentProgress()).values for encoder in (first, second)]
    assert np.array_equal(*outputs)
    assert {path.suffix for path in (tmp_path / "kept").iterdir()} == {".json", ".safetensors"}


def test_a_saved_checkpoint_keeps_the_card_that_states_its_licence(bert: str, tmp_path: Path) -> None:
    given = Path(shutil.copytree(bert, tmp_path / "given"))
    (given / "README.md").write_text("---\nlicense: mit\n---\n")
    build(str(given)).save_backbone(tmp_path / "kept")
    assert (tmp_path / "kept" / "README.md").read_text() == "---\nlicense: mit\n---\n"


def test_the_name_pretrained_takes_the_checkpoint_as_a_size(bert: str) -> None:
    encoder = build_encoder("text", "pretrained", FITTED, WIDTH, {"checkpoint": bert})
    assert isinstance(encoder, Pretrained)
    assert "pretrained" in ENCODERS["text"]


def test_rows_of_like_length_are_read_together() -> None:
    lengths = np.array([3, 0, 9, 1, 9])
    assert [batch.tolist() for batch in batches_by_length(lengths, max_steps=18)] == [[2, 4], [0, 3]]


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("embeddings.word_embeddings.weight", 0),
        ("wte.weight", 0),
        ("encoder.layer.0.attention.self.query.weight", 1),
        ("transformer.layer.5.ffn.lin1.bias", 6),
        ("h.3.mlp.c_fc.weight", 4),
        ("final_norm.weight", 6),
    ],
)
def test_levels(name: str, level: int) -> None:
    assert layer_level(name, top=6) == level


def test_a_missing_folder_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"checkpoint '.*nowhere' cannot be loaded: there is no folder .*nowhere\. Exp"
    ):
        build(str(tmp_path / "nowhere"))


def test_a_folder_without_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be loaded: the folder has no config\.json\. Expected a folder with"):
        build(str(tmp_path))


def test_weights_must_be_safetensors(bert: str) -> None:
    folder = Path(bert)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="the folder has no weights in safetensors form"):
        build(bert)


def test_broken_weights(bert: str) -> None:
    (Path(bert) / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        build(bert, tuning="full")


def test_a_hub_name_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"'nobody/no-such-model' cannot be loaded: .*or a hub name such as"):
        build("nobody/no-such-model")


def test_a_tokenizer_of_another_vocabulary_is_refused(bert: str) -> None:
    fitted = Text(tokenizer="", num_ids=61, max_length=40)
    with pytest.raises(ConfigError, match=r"knows 61 tokens, the checkpoint .* only 60\. Use the checkpoint's own"):
        build_encoder("text", bert, fitted, WIDTH, {})


def test_the_checkpoint_must_be_named() -> None:
    with pytest.raises(
        ConfigError, match="'checkpoint' parameter of the text encoder 'pretrained' must be a folder or"
    ):
        build_encoder("text", "pretrained", FITTED, WIDTH, {})


def test_a_translator_is_refused(tmp_path: Path) -> None:
    config = transformers.T5Config(vocab_size=60, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    transformers.T5Model(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"must be an encoder such as BERT\. Got 't5' instead"):
        build(str(tmp_path))
