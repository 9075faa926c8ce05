"""Write down what is said: clips of several words go in, a text comes out.

The "words" are whistles that rise, fall or stay, one to four in a clip, in noise; the target ``transcript`` learns to
spell them without being told where a word begins (connectionist temporal classification). Run it:
python examples/speech_recognition.py
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.random import Generator

import polymodal

WORDS = {"up": (500, 1500), "down": (1500, 500), "left": (500, 500), "right": (1500, 1500), "stop": (3000, 3000)}
"""Word to the pitch at its beginning and at its end, in Hz."""
RATE_HZ = 8000


def whistle(word: str, random: Generator) -> np.ndarray:
    """Whistle a word of some length, a little out of tune, after a pause."""
    first_hz, last_hz = np.array(WORDS[word]) * random.uniform(0.95, 1.05)
    num_samples = int(random.uniform(0.12, 0.25) * RATE_HZ)
    phase = np.cumsum(np.linspace(first_hz, last_hz, num_samples)) / RATE_HZ
    return np.concatenate([np.zeros(int(random.uniform(0.05, 0.15) * RATE_HZ)), np.sin(2 * np.pi * phase)])


def say(words: list[str], random: Generator) -> tuple[np.ndarray, int]:
    """Whistle words one after the other, in noise."""
    clip = np.concatenate([whistle(word, random) for word in words])
    return (0.4 * clip + random.normal(0, 0.1, len(clip))).astype(np.float32), RATE_HZ


def make_rows(num_rows: int, seed: int = 0) -> dict[str, list[object]]:
    """Say one to four words in each row."""
    random = np.random.default_rng(seed)
    said = [[str(word) for word in random.choice(list(WORDS), random.integers(1, 5))] for _ in range(num_rows)]
    return {"clip": [say(words, random) for words in said], "text": [" ".join(words) for words in said]}


def main(num_rows: int = 400, epochs: int | None = None) -> float:
    """Train, write down unseen clips, and return the word error rate."""
    model = polymodal.fit(
        make_rows(num_rows),
        target="text",
        modality={"clip": "audio", "text": "transcript"},
        preset="fast",
        settings={"train.epochs": epochs} if epochs else None,
    )
    found, unseen = model.summary(), make_rows(3, seed=1)
    for heard, said in zip(model.predict({"clip": unseen["clip"]})["text"], unseen["text"], strict=True):
        print(f"heard {heard!r}; said was {said!r}")
    print(f"{found['rows']['test']} test rows    word error rate")
    print(f"{'most frequent':<16}{found['baselines']['text']['prior']['wer']:.3f}")
    print(f"{'written down':<16}{found['targets']['text']['wer']:.3f}")
    return float(found["targets"]["text"]["wer"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400, help="rows to learn from and be judged by")
    parser.add_argument("--epochs", type=int, default=None, help="default: as many as the target asks for")
    options = parser.parse_args()
    main(options.rows, options.epochs)
