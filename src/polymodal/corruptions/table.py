"""The table of corruptions: every kind of noise with its severities."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from polymodal.corruptions import audio, image, points, series, tabular, text, vector, video
from polymodal.corruptions.base import Corruption
from polymodal.errors import ConfigError, did_you_mean

CORRUPTIONS: dict[str, Corruption] = {
    "image_noise": Corruption(
        modality="image",
        title="noise",
        unit="standard deviation of the noise, black to white being 1",
        levels=(0.08, 0.12, 0.18, 0.26, 0.38),
        function=image.on_picture(image.add_pixel_noise),
    ),
    "image_blur": Corruption(
        modality="image",
        title="blur",
        unit="standard deviation of the Gaussian, as a share of the shorter side",
        levels=(0.01, 0.02, 0.03, 0.045, 0.07),
        function=image.on_picture(image.blur),
    ),
    "image_jpeg": Corruption(
        modality="image",
        title="JPEG",
        unit="JPEG quality, 1 to 95",
        levels=(25, 18, 15, 10, 7),
        function=image.on_picture(image.compress),
    ),
    "image_brightness": Corruption(
        modality="image",
        title="brightness",
        unit="added to the value of HSV, which lies in 0 to 1",
        levels=(0.1, 0.2, 0.3, 0.4, 0.5),
        function=image.on_picture(image.brighten),
    ),
    "image_occlusion": Corruption(
        modality="image",
        title="occlusion",
        unit="share of the area that is covered",
        levels=(0.05, 0.1, 0.2, 0.3, 0.45),
        function=image.on_picture(image.occlude),
    ),
    "image_rotation": Corruption(
        modality="image",
        title="rotation",
        unit="degrees, to either side",
        levels=(5, 10, 20, 30, 45),
        function=image.on_picture(image.rotate),
        moves=True,
    ),
    "audio_noise": Corruption(
        modality="audio",
        title="white noise",
        unit="signal-to-noise ratio in dB",
        levels=(20, 15, 10, 5, 0),
        function=audio.on_clip(audio.add_white_noise),
    ),
    "audio_babble": Corruption(
        modality="audio",
        title="babble",
        unit="ratio of the clip to the mix of other rows in dB",
        levels=(20, 15, 10, 5, 0),
        function=audio.add_babble,
        needs_others=True,
    ),
    "audio_clipping": Corruption(
        modality="audio",
        title="clipping",
        unit="where peaks are cut, as a share of the loudest sample",
        levels=(0.5, 0.3, 0.2, 0.1, 0.05),
        function=audio.on_clip(audio.clip_peaks),
    ),
    "audio_dropouts": Corruption(
        modality="audio",
        title="dropouts",
        unit="share of the time that is silent, in stretches of 30 ms",
        levels=(0.05, 0.1, 0.2, 0.35, 0.5),
        function=audio.on_clip(audio.drop_out),
    ),
    "audio_speed": Corruption(
        modality="audio",
        title="speed",
        unit="by how much the clip is faster or slower",
        levels=(0.05, 0.1, 0.2, 0.35, 0.5),
        function=audio.on_clip(audio.change_speed),
        moves=True,
    ),
    "text_typos": Corruption(
        modality="text",
        title="typos",
        unit="share of the letters",
        levels=(0.02, 0.05, 0.1, 0.15, 0.25),
        function=text.on_text(text.mistype),
    ),
    "text_word_drops": Corruption(
        modality="text",
        title="dropped words",
        unit="share of the words",
        levels=(0.1, 0.2, 0.3, 0.5, 0.7),
        function=text.on_text(text.drop_words),
    ),
    "text_ocr": Corruption(
        modality="text",
        title="recognition errors",
        unit="share of the characters",
        levels=(0.02, 0.05, 0.1, 0.2, 0.35),
        function=text.on_text(text.misread),
    ),
    "number_noise": Corruption(
        modality="number",
        title="noise",
        unit="standard deviation of the noise in spreads of the column",
        levels=(0.1, 0.25, 0.5, 1.0, 2.0),
        function=tabular.add_number_noise,
    ),
    "number_units": Corruption(
        modality="number",
        title="unit errors",
        unit="share of the cells that are 10 or 1,000 times too large or small",
        levels=(0.05, 0.1, 0.2, 0.35, 0.5),
        function=tabular.mistake_unit,
    ),
    "number_stuck": Corruption(
        modality="number",
        title="stuck values",
        unit="share of the cells that read two spreads above the mean",
        levels=(0.05, 0.1, 0.2, 0.4, 0.6),
        function=tabular.stick,
    ),
    "category_swaps": Corruption(
        modality="category",
        title="swapped levels",
        unit="share of the cells",
        levels=(0.05, 0.1, 0.2, 0.35, 0.5),
        function=tabular.swap_level,
    ),
    "datetime_shifts": Corruption(
        modality="datetime",
        title="shifted dates",
        unit="days at most, to the past or the future",
        levels=(1 / 24, 1, 7, 30, 365),
        function=tabular.shift_date,
    ),
    "geo_jitter": Corruption(
        modality="geo",
        title="jitter",
        unit="standard deviation in spreads of the places",
        levels=(0.02, 0.05, 0.1, 0.25, 0.5),
        function=tabular.move_place,
    ),
    "series_drift": Corruption(
        modality="series",
        title="drift",
        unit="error at the end in spreads of the channel",
        levels=(0.25, 0.5, 1.0, 2.0, 3.0),
        function=series.on_series(series.drift),
    ),
    "series_gaps": Corruption(
        modality="series",
        title="gaps",
        unit="share of the time that is lost",
        levels=(0.1, 0.2, 0.3, 0.5, 0.7),
        function=series.on_series(series.leave_gaps),
    ),
    "series_lost_channels": Corruption(
        modality="series",
        title="lost channels",
        unit="share of the channels that end in the first half",
        levels=(0.1, 0.25, 0.4, 0.6, 0.8),
        function=series.on_series(series.lose_channels),
    ),
    "series_noise": Corruption(
        modality="series",
        title="noise",
        unit="standard deviation of the noise in spreads of the channel",
        levels=(0.1, 0.25, 0.5, 1.0, 2.0),
        function=series.on_series(series.add_series_noise),
    ),
    "points_dropout": Corruption(
        modality="points",
        title="dropout",
        unit="share of the points",
        levels=(0.1, 0.25, 0.5, 0.75, 0.9),
        function=points.on_frames(points.drop_points),
    ),
    "points_jitter": Corruption(
        modality="points",
        title="jitter",
        unit="standard deviation in spreads of the coordinates",
        levels=(0.02, 0.05, 0.1, 0.2, 0.4),
        function=points.on_frames(points.jitter_points),
    ),
    "video_frame_drops": Corruption(
        modality="video",
        title="dropped frames",
        unit="share of the frames",
        levels=(0.1, 0.25, 0.4, 0.6, 0.8),
        function=video.on_frames(video.drop_frames),
    ),
    "video_noise": Corruption(
        modality="video",
        title="noise",
        unit="standard deviation of the noise, black to white being 1",
        levels=(0.08, 0.12, 0.18, 0.26, 0.38),
        function=video.on_each_frame(image.add_pixel_noise),
    ),
    "video_blur": Corruption(
        modality="video",
        title="blur",
        unit="standard deviation of the Gaussian, as a share of the shorter side",
        levels=(0.01, 0.02, 0.03, 0.045, 0.07),
        function=video.on_each_frame(image.blur),
    ),
    "vector_noise": Corruption(
        modality="vector",
        title="noise",
        unit="standard deviation of the noise in spreads of each number",
        levels=(0.1, 0.25, 0.5, 1.0, 2.0),
        function=vector.add_vector_noise,
    ),
}
"""Kind to corruption; a kind is called after its modality."""


def kinds_of(modality: str) -> tuple[str, ...]:
    """Return the kinds of noise of a modality.

    Args:
        modality: Name of the modality of a column.

    Returns:
        Their names; none of modalities of installed packages.
    """
    return tuple(name for name, corruption in CORRUPTIONS.items() if corruption.modality == modality)


def find_kinds(patterns: Sequence[str]) -> tuple[str, ...]:
    """Find the kinds of noise that a user asks for.

    Args:
        patterns: Names, globs such as ``*_noise``, or modalities, which stand for all of their kinds.

    Returns:
        The names, in the order of the table.

    Raises:
        ConfigError: If one matches no kind; says which is nearest.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        found = kinds_of(pattern) or [name for name in CORRUPTIONS if fnmatchcase(name, pattern)]
        if not found:
            raise ConfigError(f"There is no kind of noise {pattern!r}. {did_you_mean(pattern, CORRUPTIONS)}")
        chosen |= set(found)
    return tuple(name for name in CORRUPTIONS if name in chosen)
