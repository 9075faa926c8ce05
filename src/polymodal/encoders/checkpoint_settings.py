"""The preprocessor configuration of pretrained checkpoints, read from their own JSON files (no torch here).

``modality_settings`` converts it to settings of the stream's modality; the encoders use the rest (means and standard
deviations of images, the value of padding).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polymodal.encoders.hub import find_file, read_json, tokenizer_path
from polymodal.errors import ConfigError, parameter_error

PREPROCESSOR = "preprocessor_config.json"
PROCESSOR = "processor_config.json"
MODEL_CARD = "README.md"
VIDEO_PREPROCESSOR = "video_preprocessor_config.json"
RESAMPLE = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Pillow's filters in the order of their numbers, which the files use."""
KEEPS_ASPECT = ("CLIP", "ConvN", "Bit", "VideoMAE")
"""Prefixes of processor classes in whose older files an integer size is the shorter side."""
WARP_FROM = 384
"""From this size on ConvNeXt's images are resized without cropping (Liu et al. 2022, arXiv 2201.03545)."""


@dataclass(frozen=True)
class ImagePreprocessing:
    """Preprocessing of images and of video frames.

    Attributes:
        size: Side of the square output, in pixels.
        resize: ``stretch`` or ``crop``, as in ``ImageSettings``.
        crop_share: Fraction of each side that a centre crop keeps.
        resample: Name of the filter.
        scale: Factor of the pixels 0..255, applied first.
        mean: Subtracted from each channel.
        std: Divisor of each channel, applied last.
    """

    size: int
    resize: str
    crop_share: float
    resample: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class AudioPreprocessing:
    """Preprocessing of audio clips.

    Attributes:
        settings: Settings of the audio modality.
        padding: Value of the frames after the end of a clip.
    """

    settings: dict[str, Any]
    padding: float


def read_preprocessor(checkpoint: str, part: str) -> dict[str, Any]:
    """Read the preprocessor configuration.

    Args:
        checkpoint: Folder or hub name.
        part: Its name in files that hold several: ``image_processor``, ``feature_extractor`` or
            ``video_processor``.

    Returns:
        Its content.
    """
    first = [VIDEO_PREPROCESSOR] if part == "video_processor" else []
    found = read_json(checkpoint, *first, PREPROCESSOR, PROCESSOR)
    inner = found.get(part, found.get("image_processor") if part == "video_processor" else None)
    return inner if isinstance(inner, dict) else found


def image_preprocessing(checkpoint: str, part: str = "image_processor") -> ImagePreprocessing:
    """Read the image preprocessing of a checkpoint.

    Args:
        checkpoint: Folder or hub name.
        part: ``image_processor`` or ``video_processor``.

    Returns:
        Size, resizing, mean and standard deviation.

    Raises:
        ConfigError: If the files are missing or incomplete.
    """
    found = read_preprocessor(checkpoint, part)
    with _understood(checkpoint):
        return _image_preprocessing(found, checkpoint)


def _image_preprocessing(found: Mapping[str, Any], checkpoint: str) -> ImagePreprocessing:
    kind = str(found.get("image_processor_type") or found.get("feature_extractor_type") or "")
    size, resize, crop_share = _image_size(found, kind, checkpoint)
    resample = found.get("resample", 2 if kind.startswith("ViT") else 3)
    is_scaled, is_normalised = found.get("do_rescale", True), found.get("do_normalize", True)
    if is_normalised and not ("image_mean" in found and "image_std" in found):
        raise ConfigError(
            f"The {PREPROCESSOR} of the checkpoint {checkpoint!r} names no image_mean and image_std. They say how "
            "images must be normalised: take the file from where the checkpoint was published."
        )
    return ImagePreprocessing(
        size=size,
        resize=resize,
        crop_share=crop_share,
        resample=RESAMPLE[int(resample)],
        scale=float(found.get("rescale_factor", 1 / 255)) if is_scaled else 1.0,
        mean=tuple(float(value) for value in found["image_mean"]) if is_normalised else (0.0,),
        std=tuple(float(value) for value in found["image_std"]) if is_normalised else (1.0,),
    )


def _image_size(found: Mapping[str, Any], kind: str, checkpoint: str) -> tuple[int, str, float]:
    """Return the output size, the kind of resizing, and the fraction of each side that the centre crop keeps."""
    size = found.get("size")
    if isinstance(size, int):
        size = {"shortest_edge": size} if kind.startswith(KEEPS_ASPECT) else {"height": size, "width": size}
    size = {} if size is None else size
    keeps_aspect = "shortest_edge" in size
    full = _square(size, checkpoint)
    if "crop_pct" in found or (kind.startswith("ConvN") and keeps_aspect):
        return (full, "stretch", 1.0) if full >= WARP_FROM else (full, "crop", float(found.get("crop_pct", 224 / 256)))
    resize = "crop" if keeps_aspect else "stretch"
    crop = found.get("crop_size")
    if not found.get("do_center_crop", crop is not None) or crop is None:
        return full, resize, 1.0
    side = crop if isinstance(crop, int) else _square(crop, checkpoint)
    return side, resize, min(side / full, 1.0)


@contextmanager
def _understood(checkpoint: str) -> Iterator[None]:
    """Convert exceptions that a damaged file causes to one ``ConfigError``."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ConfigError(
            f"The {PREPROCESSOR} of the checkpoint {checkpoint!r} cannot be understood ({error}). Take the file from "
            "where the checkpoint was published."
        ) from None


def _square(size: Mapping[str, Any], checkpoint: str) -> int:
    sides = {size["shortest_edge"]} if "shortest_edge" in size else {size.get("height"), size.get("width")}
    side = sides.pop()
    if sides or not isinstance(side, int):
        raise parameter_error("size", f"the {PREPROCESSOR} of {checkpoint!r}", "a square in pixels", dict(size))
    return side


def audio_preprocessing(checkpoint: str) -> AudioPreprocessing:
    """Read the audio preprocessing of a checkpoint.

    Args:
        checkpoint: Folder or hub name.

    Returns:
        Settings of the audio modality, and the value of padding.
    """
    found = read_preprocessor(checkpoint, "feature_extractor")
    model = read_json(checkpoint, "config.json").get("model_type")
    with _understood(checkpoint):
        return _audio_preprocessing(found, str(model))


def _audio_preprocessing(found: Mapping[str, Any], model: str) -> AudioPreprocessing:
    rate = int(found.get("sampling_rate", 16_000))
    if model == "whisper":
        return AudioPreprocessing(_whisper_settings(found, rate), 0.0)
    if model == "audio-spectrogram-transformer":
        is_normalised = found.get("do_normalize", True)
        mean = float(found.get("mean", -4.2677393)) if is_normalised else 0.0
        std = float(found.get("std", 4.5689974)) if is_normalised else 0.5
        return AudioPreprocessing({**_kaldi_settings(found, rate), "mean": mean, "std": std}, -mean / (2 * std))
    features = "waveform" if found.get("do_normalize", True) else "samples"
    return AudioPreprocessing({"features": features, "sample_rate_hz": rate}, 0.0)


def _whisper_settings(found: Mapping[str, Any], rate: int) -> dict[str, Any]:
    hop, duration_s = int(found.get("hop_length", 160)), int(found.get("chunk_length", 30))
    return {
        "features": "whisper",
        "sample_rate_hz": rate,
        "num_mels": int(found.get("feature_size", 80)),
        "window_s": int(found.get("n_fft", 400)) / rate,
        "hop_s": hop / rate,
        "max_frames": duration_s * rate // hop,
        "segment_s": duration_s,
    }


def _kaldi_settings(found: Mapping[str, Any], rate: int) -> dict[str, Any]:
    max_frames = int(found.get("max_length", 1024))
    return {
        "features": "kaldi",
        "sample_rate_hz": rate,
        "num_mels": int(found.get("num_mel_bins", 128)),
        "window_s": 0.025,
        "hop_s": 0.010,
        "max_frames": max_frames,
        "segment_s": max_frames * 0.010,
    }


def _text_settings(checkpoint: str) -> dict[str, Any]:
    return {"pretrained": tokenizer_path(checkpoint)}


def _image_settings(checkpoint: str) -> dict[str, Any]:
    found = image_preprocessing(checkpoint)
    return {
        "size": found.size,
        "channels": 3,
        "resize": found.resize,
        "crop_share": found.crop_share,
        "resample": found.resample,
    }


def _video_settings(checkpoint: str) -> dict[str, Any]:
    frames = int(read_json(checkpoint, "config.json").get("num_frames", 16))
    return {"size": image_preprocessing(checkpoint, "video_processor").size, "channels": 3, "frames": frames}


def _audio_settings(checkpoint: str) -> dict[str, Any]:
    return audio_preprocessing(checkpoint).settings


SETTINGS: dict[str, Callable[[str], dict[str, Any]]] = {
    "text": _text_settings,
    "image": _image_settings,
    "audio": _audio_settings,
    "video": _video_settings,
}


def modality_settings(modality: str, checkpoint: str) -> dict[str, Any]:
    """Return the settings of a modality that match the preprocessing of a checkpoint.

    Args:
        modality: Name of the stream's modality.
        checkpoint: Folder or hub name.

    Returns:
        Setting to value; the user's settings override them.

    Raises:
        ConfigError: If the checkpoint's files are missing or incomplete.
    """
    return SETTINGS[modality](checkpoint) if modality in SETTINGS else {}


def copy_preprocessor(checkpoint: str, folder: Path) -> None:
    """Copy the preprocessor configuration to the folder of a copied checkpoint.

    Args:
        checkpoint: Folder or hub name.
        folder: Folder of the copy.
    """
    for name in (VIDEO_PREPROCESSOR, PREPROCESSOR, PROCESSOR):
        _copy_file(checkpoint, name, folder)


def copy_model_card(checkpoint: str, folder: Path) -> None:
    """Copy the model card, which states the licence, to the folder of a copied checkpoint.

    Args:
        checkpoint: Folder or hub name.
        folder: Folder of the copy.
    """
    _copy_file(checkpoint, MODEL_CARD, folder)


def _copy_file(checkpoint: str, name: str, folder: Path) -> None:
    found = find_file(checkpoint, name)
    if found is not None:
        (folder / name).write_bytes(found.read_bytes())
