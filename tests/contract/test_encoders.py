"""Every encoder of the table through the same checks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from encoder_examples import CASES, SOUND_ENCODERS, WIDTH, WORD_ENCODERS, build, build_from, column, fitted
from polymodal.encoders import ENCODERS, build_encoder, default_encoder
from polymodal.errors import ConfigError
from polymodal.nn.precision import autocast
from polymodal.tokens import ColumnBatch

every_encoder = pytest.mark.parametrize(("modality", "name"), CASES, ids=["-".join(case) for case in CASES])
RAGGED = [case for case in CASES if column(*case, rows=1).lengths is not None]
every_ragged = pytest.mark.parametrize(("modality", "name"), RAGGED, ids=["-".join(case) for case in RAGGED])


def with_absent(batch: ColumnBatch, row: int) -> ColumnBatch:
    present = batch.present.clone()
    present[row] = False
    return ColumnBatch(batch.values, present, batch.lengths)


def with_other_values(batch: ColumnBatch, place: Tensor | int | tuple[int, ...]) -> ColumnBatch:
    values = batch.values.clone()
    values[place] = float("nan") if values.is_floating_point() else 7
    return ColumnBatch(values, batch.present, batch.lengths)


@every_encoder
def test_tokens_are_few_and_as_wide_as_asked(modality: str, name: str) -> None:
    tokens = build(modality, name)(column(modality, name, rows=3))
    assert tokens.values.shape[0] == 3
    assert 1 <= tokens.values.shape[1] <= 32
    assert tokens.values.shape[2] == WIDTH
    assert tokens.values.dtype == torch.float32
    assert tokens.row_present.all()
    assert tokens.values.isfinite().all()


@every_encoder
def test_all_parameters_get_finite_gradients(modality: str, name: str) -> None:
    encoder = build(modality, name).train()
    tokens = encoder(column(modality, name, rows=4))
    (tokens.pooled() * torch.randn(4, WIDTH)).sum().backward()
    without = [key for key, parameter in encoder.named_parameters() if parameter.grad is None]
    assert without == (["embed.table.weight"] if name.endswith("+frozen") else [])
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters() if parameter.grad is not None)


@every_encoder
def test_learning_in_bfloat16_is_nearly_the_same(modality: str, name: str) -> None:
    batch, gradients = column(modality, name, rows=4), []
    found = []
    for precision in ("float32", "bfloat16"):
        encoder = build(modality, name).eval()  # without dropout, which would draw anew
        with autocast(precision, torch.device("cpu")):
            values = encoder(batch).values.float()
        values.square().mean().backward()
        found.append(values.detach())
        gradients.append([p.grad for p in encoder.parameters() if p.grad is not None])
    assert all(gradient.isfinite().all() for gradient in gradients[1])
    assert all(gradient.dtype == torch.float32 for gradient in gradients[1])
    assert (found[0] - found[1]).abs().mean() < 0.03 * found[0].abs().mean()


@every_encoder
def test_an_empty_batch_gives_no_rows(modality: str, name: str) -> None:
    encoder = build(modality, name).train()
    assert encoder(column(modality, name, rows=0)).values.shape[::2] == (0, WIDTH)


@every_encoder
def test_a_training_batch_of_one_row_works(modality: str, name: str) -> None:
    tokens = build(modality, name).train()(column(modality, name, rows=1))
    tokens.pooled().sum().backward()
    assert tokens.values.isfinite().all()
    assert tokens.values.std() > 0


@every_encoder
def test_a_row_does_not_depend_on_its_batch(modality: str, name: str) -> None:
    encoder = build(modality, name).eval()
    batch = column(modality, name, rows=5)
    alone = encoder(batch.take(torch.tensor([2])))
    among = encoder(batch)
    torch.testing.assert_close(among.values[2:3], alone.values, atol=1e-5, rtol=1e-5)


@every_encoder
def test_the_value_of_an_absent_row_is_never_read(modality: str, name: str) -> None:
    encoder = build(modality, name).train()
    batch = with_absent(column(modality, name, rows=4), row=1)
    others = torch.tensor([0, 2, 3])
    outputs = []
    for variant in (batch, with_other_values(batch, 1)):
        torch.manual_seed(1)
        outputs.append(encoder(variant))
    assert not outputs[0].row_present[1]
    assert outputs[0].row_present[others].all()
    assert torch.equal(outputs[0].values[others], outputs[1].values[others])
    assert torch.equal(outputs[0].pooled(), outputs[1].pooled())


@every_encoder
def test_the_same_seed_builds_the_same_encoder(modality: str, name: str) -> None:
    batch = column(modality, name, rows=2)
    first, second = (build(modality, name).eval()(batch) for _ in range(2))
    assert torch.equal(first.values, second.values)


@every_encoder
def test_weights_alone_restore_an_encoder(modality: str, name: str) -> None:
    batch = column(modality, name, rows=2)
    first = build(modality, name).eval()
    plain = fitted(modality, name)
    second = build_from(modality, name, type(plain).from_state(plain.state())).eval()
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(batch).values, second(batch).values)


@every_ragged
def test_more_padding_changes_nothing(modality: str, name: str) -> None:
    encoder = build(modality, name).eval()
    batch = column(modality, name, rows=3)
    garbage = torch.full_like(batch.values, torch.nan if batch.values.is_floating_point() else 7)
    kept = int(batch.lengths.max())
    more = 2 if modality == "text" else kept
    longer = torch.cat([batch.values[:, :kept], garbage[:, :more]], dim=1)
    for row, length in enumerate(batch.lengths.tolist()):
        longer[row, length:] = garbage[row, 0]
    expected = encoder(ColumnBatch(batch.values[:, :kept], batch.present, batch.lengths))
    found = encoder(ColumnBatch(longer, batch.present, batch.lengths))
    num_tokens = expected.values.shape[1]
    mask = expected.present.unsqueeze(2)
    torch.testing.assert_close(
        torch.where(mask, found.values[:, :num_tokens], 0), torch.where(mask, expected.values, 0), atol=1e-5, rtol=1e-5
    )
    assert torch.equal(found.present[:, :num_tokens], expected.present)
    assert not found.present[:, num_tokens:].any()


@pytest.mark.parametrize("name", list(ENCODERS["tabular"]))
def test_an_absent_table_cell_is_never_read_and_not_the_same_as_the_mean(name: str) -> None:
    encoder = build("tabular", name).eval()
    batch = column("tabular", name, rows=3)
    present = batch.present.clone()
    present[1, 2] = present[1, 5] = False
    holes = ColumnBatch(batch.values, present)
    other = with_other_values(with_other_values(holes, (1, 2)), (1, 5))
    assert torch.equal(encoder(holes).values, encoder(other).values)
    mean = batch.values.clone()
    mean[1, 2] = mean[1, 5] = 0
    assert not torch.allclose(encoder(holes).values[1], encoder(ColumnBatch(mean, batch.present)).values[1])


@every_encoder
def test_an_unknown_hyperparameter_is_named_with_those_there_are(modality: str, name: str) -> None:
    plain = name.partition("+")[0]
    with pytest.raises(
        ConfigError, match=rf"'hyperparameters' parameter of the {modality} encoder '{plain}' must be one of: .*"
    ):
        build_encoder(modality, plain, fitted(modality, name), WIDTH, {"colour": 3})


@pytest.mark.parametrize("modality", list(ENCODERS))
def test_an_unknown_encoder_is_named_with_those_there_are(modality: str) -> None:
    expected = rf"'encoder' parameter of the modality '{modality}' must be one of: {next(iter(ENCODERS[modality]))}"
    with pytest.raises(ConfigError, match=expected):
        build_encoder(modality, "oracle", fitted(modality), WIDTH, {})


@pytest.mark.parametrize(
    ("hyperparameter", "value"),
    [
        ("channels", -1),
        ("depth", 0),
        ("channels", 2.5),
        ("channels", "many"),
        ("channels", True),
        ("dropout", 1.5),
        ("dropout", "x"),
    ],
)
def test_a_hyperparameter_that_cannot_work_is_refused(hyperparameter: str, value: Any) -> None:
    with pytest.raises(
        ConfigError, match=rf"The '{hyperparameter}' parameter of the image encoder 'cnn' must be .*Got {value!r}"
    ):
        build_encoder("image", "cnn", fitted("image"), WIDTH, {hyperparameter: value})


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="'num_heads' parameter of a transformer must be a divisor of the width 32"):
        build_encoder("text", "transformer", fitted("text"), WIDTH, {"num_heads": 5})


@pytest.mark.parametrize(("modality", "name"), WORD_ENCODERS)
def test_words_begin_with_their_vectors_and_as_large_as_learned_ones(modality: str, name: str) -> None:
    words = fitted(modality, f"{name}+vectors")
    encoder: Any = build(modality, f"{name}+vectors").eval()
    assert torch.equal(encoder.embed.table.weight, torch.from_numpy(words.vectors))
    batch = column(modality, name, rows=8)
    sizes = [one.embed(batch)[0].detach().std().item() for one in (encoder, build(modality, name).eval())]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.2)


def test_only_word_vectors_can_be_frozen() -> None:
    with pytest.raises(ConfigError, match=r"'frozen' parameter of a text encoder must be false where .*'vectors'"):
        build_encoder("text", "bag", fitted("text"), WIDTH, {"frozen": True})


@pytest.mark.parametrize(("modality", "name"), SOUND_ENCODERS)
def test_both_channels_of_a_sound_are_heard(modality: str, name: str) -> None:
    encoder, batch = build(modality, f"{name}+stereo").eval(), column(modality, f"{name}+stereo", rows=2)
    half = batch.values.shape[2] // 2
    swapped = torch.cat([batch.values[..., half:], batch.values[..., :half]], dim=2)
    other = ColumnBatch(swapped, batch.present, batch.lengths)
    assert not torch.allclose(encoder(batch).values, encoder(other).values, atol=1e-3)


def test_every_modality_has_a_default() -> None:
    for modality, encoders in ENCODERS.items():
        assert default_encoder(modality, fitted(modality)) == next(iter(encoders))
    assert default_encoder("audio", fitted("audio", "waveform")) == "waveform"
    assert default_encoder("audio", fitted("audio")) == "cnn"
    assert default_encoder("points", fitted("points")) == "gru"
    assert default_encoder("points", replace(fitted("points"), num_frames=1)) == "pointnet"


def test_audio_encoders_refuse_what_they_cannot_read() -> None:
    with pytest.raises(ConfigError, match="audio with the features 'waveform' must be waveform"):
        build_encoder("audio", "cnn", fitted("audio", "waveform"), WIDTH, {})
    with pytest.raises(ConfigError, match="audio with the features 'log_mel' must be one of: cnn, gru, transformer"):
        build_encoder("audio", "waveform", fitted("audio"), WIDTH, {})


def test_summaries_fit_one_line() -> None:
    entries = [entry for by_name in ENCODERS.values() for entry in by_name.values()]
    assert all(0 < len(entry.summary) <= 60 and "\n" not in entry.summary for entry in entries)
    assert all(entry.paper for entry in entries)
