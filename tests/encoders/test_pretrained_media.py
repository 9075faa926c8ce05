"""Pretrained encoders of images, audio and video, beyond the shared checks."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from polymodal.encoders import PRETRAINED, Pretrained
from polymodal.encoders.backbone import cast_backbone
from polymodal.encoders.checkpoint_settings import audio_preprocessing, modality_settings
from polymodal.encoders.pretrained_audio import receptive_field
from polymodal.encoders.pretrained_video import sample_frames
from polymodal.errors import ConfigError
from polymodal.modalities import Audio, Image, build_settings
from polymodal.nn import precision
from polymodal.tokens import ColumnBatch
from tiny_checkpoints import RECIPES, save_checkpoint

transformers = pytest.importorskip("transformers")
WIDTH = 16


def image_encoder(checkpoint: str, side: int = 32, **hyperparameters: Any) -> Pretrained:
    torch.manual_seed(0)
    fitted = Image(height=side, width=side, channels=3, mean=[], std=[])
    built: Any = PRETRAINED["image"].build(fitted, WIDTH, checkpoint=checkpoint, **hyperparameters)
    return built


def audio_encoder(checkpoint: str, **hyperparameters: Any) -> Pretrained:
    torch.manual_seed(0)
    settings: Any = build_settings("audio", modality_settings("audio", checkpoint))
    built: Any = PRETRAINED["audio"].build(
        Audio.fit([], settings, None), WIDTH, checkpoint=checkpoint, **hyperparameters
    )
    return built


def pictures(rows: int = 2, side: int = 32) -> ColumnBatch:
    pixels = torch.randint(0, 256, (rows, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ColumnBatch(pixels, torch.ones(rows, dtype=torch.bool))


def outputs_of(encoder: Pretrained, batch: ColumnBatch) -> torch.Tensor:
    backbone = encoder.checkpoint_adapter.load().eval()
    with torch.no_grad():
        return encoder.checkpoint_adapter.run(backbone, batch)[0]


@pytest.mark.parametrize(
    ("family", "count"), [("vit", 17), ("dinov2", 17), ("dinov2-registers", 17), ("clip", 17), ("siglip", 16)]
)
def test_a_picture_becomes_its_class_token_and_a_grid(family: str, count: int, tmp_path: Path) -> None:
    encoder = image_encoder(save_checkpoint(family, tmp_path))
    model = encoder.checkpoint_adapter.load().eval()
    found = outputs_of(encoder, pictures())
    assert found.shape == (2, count, 16)
    with torch.no_grad():
        pixels = (pictures().values.float() / 255 - torch.tensor([0.4, 0.5, 0.6])) / torch.tensor([0.2, 0.25, 0.3])
        whole = model(pixel_values=pixels.permute(0, 3, 1, 2)).last_hidden_state
    torch.testing.assert_close(found[:, -16:], whole[:, -16:])
    if count == 17:
        torch.testing.assert_close(found[:, 0], whole[:, 0])


@pytest.mark.parametrize("levels", [None, frozenset({"amx_bf16"})])
@pytest.mark.parametrize("family", ["vit", "clip", "convnext", "resnet"])
def test_a_frozen_checkpoint_says_nearly_what_it_says_in_float32(
    family: str, levels: frozenset[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the processor is fast with; with AMX, convolutions stay float32."""
    if levels is not None:
        monkeypatch.setattr(precision, "_cpu_capabilities", lambda: levels)
    encoder, batch = image_encoder(save_checkpoint(family, tmp_path)), pictures()
    exact = outputs_of(encoder, batch)
    module = cast_backbone(encoder.checkpoint_adapter.load(), torch.device("cpu"))
    with torch.no_grad():
        found = encoder.checkpoint_adapter.run(module, batch)[0].float()
    assert (found - exact).norm() < 0.05 * exact.norm()
    again = copy.deepcopy(module).float()
    with torch.no_grad():
        torch.testing.assert_close(encoder.checkpoint_adapter.run(again, batch)[0], exact, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("family", ["vit", "deit", "dinov2", "clip", "siglip", "convnext", "resnet"])
def test_pictures_of_another_size_can_be_read(family: str, tmp_path: Path) -> None:
    encoder = image_encoder(save_checkpoint(family, tmp_path), side=48, max_tokens=9)
    found = outputs_of(encoder, pictures(side=48))
    assert found.shape[1] in (1, 4, 9, 10)
    assert found.isfinite().all()


def test_pictures_smaller_than_a_patch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'size' parameter of images for .* at least one patch of 8 pixels\. Got"):
        image_encoder(save_checkpoint("vit", tmp_path), side=4)


def test_batch_norms_keep_their_statistics_while_a_checkpoint_is_fine_tuned(tmp_path: Path) -> None:
    encoder = image_encoder(save_checkpoint("resnet", tmp_path), tuning="full").train()
    before = {name: value.clone() for name, value in encoder.named_buffers()}
    encoder(pictures(rows=4))
    assert before
    assert all(torch.equal(value, before[name]) for name, value in encoder.named_buffers())


def test_weights_that_lack_a_layer_are_refused(tmp_path: Path) -> None:
    checkpoint = save_checkpoint("dinov2", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "layer.1.attention" not in name}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"cannot be loaded: its weights lack 8 of the encoder's tensors, such as"):
        image_encoder(checkpoint, tuning="full")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hidden_size": "big"}, "Validation error for field 'hidden_size'"),
        ({"hidden_size": 32}, "its weights do not fit its config.json"),
        ({"patch_size": 0}, "division"),
        ({"hidden_act": "none such"}, "none such"),
    ],
)
def test_a_damaged_configuration_is_one_sentence(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    checkpoint = save_checkpoint("vit", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ConfigError, match=rf"image checkpoint .* cannot be loaded: .*{reason}.*Expected a folder with"):
        image_encoder(checkpoint, tuning="full")


def test_code_of_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    checkpoint = save_checkpoint("vit", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "made-up", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        image_encoder(checkpoint)
    assert not (tmp_path / "ran").exists()


def test_a_clip_shorter_than_the_first_output_needs_is_filled_up(tmp_path: Path) -> None:
    encoder = audio_encoder(save_checkpoint("wav2vec2", tmp_path))
    assert receptive_field(encoder.checkpoint_adapter.config) == 30
    assert receptive_field(transformers.Wav2Vec2Config()) == 400
    column = ColumnBatch(torch.randn(1, 3, 1).half(), torch.tensor([True]), torch.tensor([3]))
    assert outputs_of(encoder, column).shape == (1, 1, 32)


def test_outputs_behind_a_clips_end_are_left_out(tmp_path: Path) -> None:
    encoder = audio_encoder(save_checkpoint("whisper", tmp_path))
    values = torch.full((2, 40, 16), -0.5).half()
    values[:, :10] = torch.randn(2, 10, 16).half()
    column = ColumnBatch(values, torch.tensor([True, True]), torch.tensor([11, 40]))
    backbone = encoder.checkpoint_adapter.load().eval()
    with torch.no_grad():
        found, used = encoder.checkpoint_adapter.run(backbone, column)
        padded = torch.full((1, 100, 16), float(values[0, :11].min()))
        padded[0, :11] = values[0, :11].float()
        whole = backbone.encoder(padded.transpose(1, 2)).last_hidden_state
    assert used.tolist() == [6, 20]
    normed = torch.nn.functional.layer_norm(whole, (16,))
    torch.testing.assert_close(found[:1, :6, 16:], normed[:, :6], atol=1e-4, rtol=1e-3)


def test_patches_of_a_clip_become_steps_in_time(tmp_path: Path) -> None:
    encoder = audio_encoder(save_checkpoint("ast", tmp_path))
    frames = torch.randn(2, 40, 16).half()
    column = ColumnBatch(frames, torch.tensor([True, True]), torch.tensor([40, 17]))
    backbone = encoder.checkpoint_adapter.load().eval()
    with torch.no_grad():
        found, used = encoder.checkpoint_adapter.run(backbone, column)
        padded = frames.float()
        padded[1, 17:] = audio_preprocessing(str(tmp_path)).padding
        whole = backbone(padded).last_hidden_state
    assert used.tolist() == [5, 3]
    torch.testing.assert_close(found[:, :, 16:], torch.nn.functional.layer_norm(whole, (16,)), atol=1e-4, rtol=1e-3)


def videos(lengths: list[int], side: int = 16) -> ColumnBatch:
    shape = (len(lengths), max(lengths), side, side, 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ColumnBatch(frames, torch.ones(len(lengths), dtype=torch.bool), torch.tensor(lengths))


def test_frames_are_taken_evenly() -> None:
    frames = torch.arange(9).reshape(1, 9, 1, 1, 1).expand(3, -1, -1, -1, -1)
    taken = sample_frames(frames, torch.tensor([9, 2, 1]), 4)[:, :, 0, 0, 0]
    assert taken.tolist() == [[0, 3, 5, 8], [0, 0, 1, 1], [0, 0, 0, 0]]


@pytest.mark.parametrize("side", [16, 24])
def test_a_video_becomes_a_grid_over_time(side: int, tmp_path: Path) -> None:
    checkpoint = save_checkpoint("videomae", tmp_path)
    encoder: Any = PRETRAINED["video"].build(SimpleNamespace(channels=3), WIDTH, checkpoint=checkpoint)
    found = outputs_of(encoder, videos([4, 9], side))
    assert found.shape == (2, 8, 16)
    if side == 16:
        pixels = (videos([4, 9]).values[:1, :4].float() / 255 - torch.tensor([0.4, 0.5, 0.6])) / torch.tensor(
            [0.2, 0.25, 0.3]
        )
        with torch.no_grad():
            whole = (
                encoder.checkpoint_adapter.load().eval()(pixel_values=pixels.permute(0, 1, 4, 2, 3)).last_hidden_state
            )
        torch.testing.assert_close(found[:1], whole)


def test_fewer_tokens_of_a_video_are_longer_stretches(tmp_path: Path) -> None:
    checkpoint = save_checkpoint("videomae", tmp_path)
    encoder: Any = PRETRAINED["video"].build(SimpleNamespace(channels=3), WIDTH, checkpoint=checkpoint, max_tokens=4)
    assert encoder(videos([3, 1])).values.shape == (2, 4, WIDTH)


def test_a_video_checkpoint_says_what_it_needs(tmp_path: Path) -> None:
    found = modality_settings("video", save_checkpoint("videomae", tmp_path))
    assert found == {"size": 16, "frames": 4, "channels": 3}
    with pytest.raises(ConfigError, match=r"'channels' parameter of videos for the checkpoint .* must be 3\. Got 1"):
        PRETRAINED["video"].build(SimpleNamespace(channels=1), WIDTH, checkpoint=str(tmp_path))


def test_a_changed_checkpoint_is_read_again(tmp_path: Path) -> None:
    encoder = image_encoder(save_checkpoint("vit", tmp_path))
    first = encoder.fingerprint()
    save_checkpoint("vit", tmp_path, change=lambda found: {**found, "image_mean": [0.0, 0.0, 0.0]})
    assert encoder.fingerprint() != first
    assert RECIPES["vit"].preprocessor is not None


def test_large_videos_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = save_checkpoint("videomae", tmp_path)
    encoder: Any = PRETRAINED["video"].build(SimpleNamespace(channels=3), WIDTH, checkpoint=checkpoint, tuning="full")
    with torch.no_grad():
        whole = encoder.eval()(videos([4, 9, 2])).values
        monkeypatch.setattr("polymodal.encoders.pretrained.VALUES_AT_ONCE", 1)
        torch.testing.assert_close(encoder(videos([4, 9, 2])).values, whole, atol=1e-5, rtol=1e-4)
    assert np.isfinite(whole.numpy()).all()


@pytest.mark.parametrize("family", ["wav2vec2", "whisper", "ast"])
def test_long_clips_are_run_segment_by_segment(family: str, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(family, tmp_path / family)
    settings = {**modality_settings("audio", checkpoint), "segment_s": 0.2}
    clip = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    fit = Audio.fit([(clip, 16_000)], build_settings("audio", settings), None)
    encoder = PRETRAINED["audio"].build(fit, 16, checkpoint=checkpoint, tuning="frozen").eval()
    long = ColumnBatch.from_column(fit.transform([(clip, 16_000)], None)[0])
    first = ColumnBatch(long.values[:, : fit.segment_steps], long.present, torch.tensor([fit.segment_steps]))
    adapter = encoder.checkpoint_adapter
    with torch.no_grad():
        (whole, used), (part, of_part) = (adapter.run(adapter.load().eval(), batch) for batch in (long, first))
    assert fit.num_segments > 1
    assert used > of_part
    torch.testing.assert_close(whole[0, : of_part[0]], part[0, : of_part[0]], atol=1e-4, rtol=0)
    assert encoder(long).values.isfinite().all()
