"""Put a multimodal network together by hand: encoders + fusion + target, in plain PyTorch.

A row is a picture and a sentence about it; either may be missing. Run it: python examples/compose_by_hand.py
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from polymodal.encoders import build_encoder
from polymodal.fusion import build_fusion
from polymodal.modalities import MODALITIES, build_settings
from polymodal.targets import TARGETS, build_head
from polymodal.tokens import ColumnBatch

WIDTH, STEPS = 32, 25


def make_rows(num_rows: int = 64) -> tuple[dict[str, list[object]], list[str]]:
    """Draw bright and dark pictures, describe them, and lose some of both."""
    random = np.random.default_rng(0)
    labels = ["day" if random.random() < 0.5 else "night" for _ in range(num_rows)]
    light = {"day": 170, "night": 60}
    pictures = [np.full((16, 16), light[label] + random.integers(-40, 40), dtype=np.uint8) for label in labels]
    words = [f"the sky is {'blue' if label == 'day' else 'black'} over here" for label in labels]
    cells = {"photo": pictures, "text": words}
    return {
        name: [cell if random.random() > 0.2 else None for cell in column] for name, column in cells.items()
    }, labels


def main() -> float:
    """Train on the rows and return the share that is right."""
    torch.manual_seed(0)
    cells, labels = make_rows()
    modality_of = {"photo": "image", "text": "text"}

    # ten lines: fitted modalities -> batches, encoders, fusion, target, head
    fitted = {name: MODALITIES[kind].fit(cells[name], build_settings(kind), None) for name, kind in modality_of.items()}
    batches = {name: ColumnBatch.from_column(fitted[name].transform(cells[name], None)[0]) for name in fitted}
    encoders = nn.ModuleDict({n: build_encoder(kind, None, fitted[n], WIDTH, {}) for n, kind in modality_of.items()})
    fusion = build_fusion("gated", list(fitted), WIDTH, {})
    target = TARGETS["category"].target.fit(labels)
    head = build_head(target, WIDTH)
    truth = torch.as_tensor(target.encode(labels)[0])
    network = nn.ModuleList([encoders, fusion, head])
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)

    def forward() -> Tensor:
        """Return the head's output, ``[rows, classes]``."""
        return head(fusion({name: encoders[name](batch) for name, batch in batches.items()}).pooled)

    for _ in range(STEPS):
        optimizer.zero_grad()
        target.loss(forward(), truth, 0.0).mean().backward()
        optimizer.step()

    network.eval()
    with torch.inference_mode():
        answers = target.decode(target.to_prediction(forward().numpy()))
    accuracy = float(np.mean([answer == label for answer, label in zip(answers, labels, strict=True)]))
    print(f"{accuracy:.0%} of {len(labels)} rows right; a row may lack its photo, its text or both")
    return accuracy


if __name__ == "__main__":
    main()
