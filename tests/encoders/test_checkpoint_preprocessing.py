"""The preprocessing of checkpoints equals that of their processors in transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image as pillow  # noqa: N813

from polymodal.encoders.checkpoint_settings import audio_preprocessing, image_preprocessing, modality_settings
from polymodal.encoders.hub import find_file
from polymodal.encoders.pretrained_image import normalise
from polymodal.errors import ConfigError
from polymodal.modalities import Audio, Image, build_settings
from tiny_checkpoints import AST, CROPPED, SPEECH, STRETCHED, WHISPER

transformers = pytest.importorskip("transformers")
SIZES = [(60, 44), (44, 60), (48, 48), (20, 90)]
OLD_CLIP = {"feature_extractor_type": "CLIPFeatureExtractor", "size": 32, "crop_size": 32, "do_center_crop": True}
OLD_VIT = {"feature_extractor_type": "ViTFeatureExtractor", "size": 32, "resample": 2}
CONVNEXT = {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 28}, "crop_pct": 0.875}
LARGE_CONVNEXT = {**CONVNEXT, "size": {"shortest_edge": 384}}
PUBLISHED = {
    "vit": ("ViTImageProcessorPil", STRETCHED),
    "old-vit": ("ViTImageProcessorPil", STRETCHED | OLD_VIT),
    "clip": ("CLIPImageProcessorPil", CROPPED),
    "old-clip": ("CLIPImageProcessorPil", CROPPED | OLD_CLIP),
    "dinov2": ("BitImageProcessorPil", CROPPED | {"image_processor_type": "BitImageProcessor"}),
    "siglip": ("SiglipImageProcessorPil", STRETCHED | {"image_processor_type": "SiglipImageProcessor"}),
    "convnext": ("ConvNextImageProcessorPil", STRETCHED | CONVNEXT),
    "large-convnext": ("ConvNextImageProcessorPil", STRETCHED | LARGE_CONVNEXT),
    "unnormalised": ("ViTImageProcessorPil", STRETCHED | {"do_normalize": False}),
}


def write(folder: Path, preprocessor: dict[str, Any], name: str = "preprocessor_config.json", **config: Any) -> str:
    (folder / name).write_text(json.dumps(preprocessor), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(folder)


def noise(height: int, width: int) -> pillow.Image:
    small = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return pillow.fromarray(small).resize((width, height), pillow.Resampling.BICUBIC)


@pytest.mark.parametrize("case", list(PUBLISHED))
def test_pictures_are_brought_as_by_the_checkpoints_own_processor(case: str, tmp_path: Path) -> None:
    class_name, preprocessor = PUBLISHED[case]
    processor = getattr(transformers, class_name)(**preprocessor)
    checkpoint = write(tmp_path, preprocessor)
    settings: Any = build_settings("image", modality_settings("image", checkpoint))
    fitted = Image.fit([], settings, None)
    pictures = [noise(*size) for size in SIZES]
    column, _ = fitted.transform(pictures, None)
    found = normalise(torch.from_numpy(column.values), image_preprocessing(checkpoint)).numpy()
    for picture, ours in zip(pictures, found, strict=True):
        theirs = np.asarray(processor(picture, return_tensors="np")["pixel_values"][0]).transpose(1, 2, 0)
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= 2 / 255 / 0.2 + 1e-6


def test_settings_of_the_user_win(tmp_path: Path) -> None:
    checkpoint = write(tmp_path, CROPPED)
    assert modality_settings("image", checkpoint) == {
        "size": 32,
        "channels": 3,
        "resize": "crop",
        "crop_share": 0.8,
        "resample": "bicubic",
    }
    settings: Any = build_settings("image", modality_settings("image", checkpoint) | {"size": 48})
    assert Image.fit([], settings, None).transform([noise(100, 70)], None)[0].values.shape == (1, 48, 48, 3)


def test_files_that_hold_several_processors_are_read(tmp_path: Path) -> None:
    checkpoint = write(
        tmp_path, {"image_processor": CROPPED, "processor_class": "CLIPProcessor"}, "processor_config.json"
    )
    assert image_preprocessing(checkpoint).size == 32


def clip(num_samples: int, rate: int) -> np.ndarray:
    random = np.random.default_rng(0)
    time_s = np.arange(num_samples) / rate
    return (0.1 * np.sin(2 * np.pi * 440 * time_s) * time_s + random.normal(0, 0.01, num_samples)).astype(np.float32)


EXTRACTORS = {
    "speech": ("Wav2Vec2FeatureExtractor", SPEECH, "wav2vec2"),
    "raw-speech": ("Wav2Vec2FeatureExtractor", SPEECH | {"do_normalize": False}, "hubert"),
    "whisper": ("WhisperFeatureExtractor", WHISPER, "whisper"),
    "ast": ("ASTFeatureExtractor", AST, "audio-spectrogram-transformer"),
    "ast-unnormalised": ("ASTFeatureExtractor", AST | {"do_normalize": False}, "audio-spectrogram-transformer"),
}


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99, 1.5])
@pytest.mark.parametrize("case", list(EXTRACTORS))
def test_sound_is_brought_as_by_the_checkpoints_own_extractor(case: str, share: float, tmp_path: Path) -> None:
    class_name, preprocessor, model = EXTRACTORS[case]
    checkpoint = write(tmp_path, preprocessor, model_type=model)
    preprocessing = audio_preprocessing(checkpoint)
    rate = preprocessing.settings["sample_rate_hz"]
    longest = {"whisper": 1.0, "kaldi": 0.415}.get(preprocessing.settings["features"], 0.3)
    samples = clip(max(round(share * longest * rate), 400), rate)
    settings: Any = build_settings("audio", modality_settings("audio", checkpoint))
    fitted = Audio.fit([samples], settings, None)
    column, broken = fitted.transform([samples], None)
    assert not broken
    found = column.values[0, : column.lengths[0]].astype(np.float32)
    options = {key: value for key, value in preprocessor.items() if key != "feature_extractor_type"}
    extractor = getattr(transformers, class_name)(**options)
    theirs = np.asarray(next(iter(extractor(samples, sampling_rate=rate, return_tensors="np").values()))[0])
    theirs = theirs.T if case == "whisper" else theirs.reshape(len(theirs), -1)
    first = found[: len(theirs)]  # what is longer goes on in further segments
    np.testing.assert_allclose(first, theirs[: len(first)], atol=0.01 if "un" in case else 3e-3)
    silence = found.min() if case == "whisper" else preprocessing.padding
    assert len(found) >= len(theirs) or np.allclose(theirs[len(found) :], silence, atol=3e-3)


def test_sound_files_are_resampled_to_the_checkpoints_rate(tmp_path: Path) -> None:
    checkpoint = write(tmp_path, SPEECH, model_type="wav2vec2")
    soundfile.write(tmp_path / "high.wav", clip(8000, 8000), 8000)
    settings: Any = build_settings("audio", modality_settings("audio", checkpoint))
    fitted = Audio.fit(["high.wav"], settings, tmp_path)
    assert (fitted.features, fitted.sample_rate_hz) == ("waveform", 4000)
    assert fitted.transform(["high.wav"], tmp_path)[0].lengths.tolist() == [4000]


def test_a_folder_without_the_file_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"has no preprocessor_config\.json or processor_config\.json\. Its"):
        modality_settings("image", str(tmp_path))


def test_missing_means_are_one_clear_sentence(tmp_path: Path) -> None:
    checkpoint = write(tmp_path, {"size": 32})
    with pytest.raises(ConfigError, match=r"names no image_mean and image_std\. They say how"):
        modality_settings("image", checkpoint)


@pytest.mark.parametrize("size", [{"height": 20, "width": 30}, {"longest_edge": 30}, {"height": "big", "width": "big"}])
def test_a_size_that_is_no_square_is_refused(size: Any, tmp_path: Path) -> None:
    checkpoint = write(tmp_path, STRETCHED | {"size": size})
    with pytest.raises(ConfigError, match=r"'size' parameter of the preprocessor_config\.json of .* must be a square"):
        modality_settings("image", checkpoint)


@pytest.mark.parametrize("change", [{"size": "big"}, {"resample": 99}, {"image_mean": "x"}, {"crop_size": [1]}])
def test_values_that_make_no_sense_are_one_clear_sentence(change: dict[str, Any], tmp_path: Path) -> None:
    checkpoint = write(tmp_path, CROPPED | change)
    with pytest.raises(ConfigError, match=r"preprocessor_config\.json of the checkpoint .* cannot be understood"):
        modality_settings("image", checkpoint)


def test_a_file_that_is_no_json_object_is_one_clear_sentence(tmp_path: Path) -> None:
    checkpoint = write(tmp_path, STRETCHED)
    (tmp_path / "preprocessor_config.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"preprocessor_config\.json of the checkpoint .* holds no JSON object"):
        modality_settings("image", checkpoint)


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"'nobody/no-such-model' is no folder, and the hub gives no preproc"):
        modality_settings("image", "nobody/no-such-model")
    assert find_file("nobody/no-such-model", "config.json") is None
