"""avdigits as a textbook would: Keras, an image CNN and an audio CNN, their features side by side, dense layers.

The opponent of the part ``keras`` of ``benchmarks/speed.py``, which makes a virtual environment with TensorFlow for
it. Prints one JSON line.

    python benchmarks/keras_script.py --data ../shared/data/avdigits --epochs 3 --batch-size 64
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from functools import cache
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import soundfile
import tensorflow as tf
from PIL import Image

DIGITS = ("eight", "five", "four", "nine", "one", "seven", "six", "three", "two", "zero")
RATE_HZ, WINDOW, HOP, FFT, MELS, FRAMES = 8000, 200, 80, 256, 40, 64


def log_mel(path: Path) -> np.ndarray:
    """Decode a clip to a log-mel spectrum, cut or padded to ``[FRAMES, MELS]``."""
    clip, _ = soundfile.read(path, dtype="float32")
    spectrum = tf.abs(tf.signal.stft(clip, WINDOW, HOP, FFT, pad_end=True)) ** 2
    values = tf.math.log(tf.matmul(spectrum, mel_filters()) + 1e-6)[:FRAMES]
    values = (values - tf.reduce_mean(values)) / (tf.math.reduce_std(values) + 1e-5)
    return tf.pad(values, [[0, FRAMES - values.shape[0]], [0, 0]]).numpy()


@cache
def mel_filters() -> tf.Tensor:
    """Return triangular filters ``[bins, MELS]``."""
    return tf.signal.linear_to_mel_weight_matrix(MELS, FFT // 2 + 1, RATE_HZ, 20.0, RATE_HZ / 2)


def load(table: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """Decode a table's files: pictures ``[N, 28, 28, 1]`` in 0..1, spectra ``[N, FRAMES, MELS, 1]``, digits."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    pictures = [np.asarray(Image.open(table.parent / row["image"]).convert("L"), np.float32) / 255 for row in rows]
    spectra = [log_mel(table.parent / row["audio"]) for row in rows]
    digits = np.array([DIGITS.index(row["digit"]) for row in rows])
    return [np.stack(pictures)[..., None], np.stack(spectra)[..., None]], digits


def build_model() -> keras.Model:
    """Return both CNNs, their features side by side, and two dense layers."""
    picture, spectrum = keras.Input((28, 28, 1)), keras.Input((FRAMES, MELS, 1))
    features = keras.layers.Concatenate()([cnn(picture), cnn(spectrum)])
    hidden = keras.layers.Dropout(0.3)(keras.layers.Dense(128, activation="relu")(features))
    return keras.Model([picture, spectrum], keras.layers.Dense(len(DIGITS), activation="softmax")(hidden))


def cnn(x: keras.KerasTensor) -> keras.KerasTensor:
    """Return 128 features of a picture: three convolutions, each followed by pooling."""
    for filters in (32, 64, 128):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D()(x)
    return keras.layers.Dense(128, activation="relu")(keras.layers.Flatten()(x))


def main() -> None:
    """Decode, train and judge."""
    parser = argparse.ArgumentParser(description="avdigits in Keras")
    parser.add_argument("--data", type=Path, required=True, help="folder with train.csv, validation.csv and test.csv")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    started = time.perf_counter()
    tf.config.threading.set_intra_op_parallelism_threads(asked.threads)
    keras.utils.set_random_seed(asked.seed)
    (inputs, digits), validation, test = (load(asked.data / f"{name}.csv") for name in ("train", "validation", "test"))
    model = build_model()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(inputs, digits, asked.batch_size, asked.epochs, validation_data=validation, verbose=0)
    found = {
        "accuracy": float(model.evaluate(*test, verbose=0)[1]),
        "parameters": model.count_params(),
        "rows": len(digits),
        "seconds": time.perf_counter() - started,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
