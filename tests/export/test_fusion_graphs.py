"""Exported fusions and heads answer as the network does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from polymodal.export.fusion_graph import export_fusion
from polymodal.fusion import FUSIONS, build_fusion
from polymodal.model.network import Network
from polymodal.targets import AnyTarget, CategoriesTarget, CategoryTarget, NumberTarget
from polymodal.tokens import Tokens

WIDTH = 8
STREAMS = ("image", "a dotted.name:ü", "text")
TARGETS: dict[str, AnyTarget] = {
    "the kind:of/it": CategoryTarget.fit(["a", "b", "c"]),
    "tags": CategoriesTarget.fit(["a|b", "c"]),
    "price": NumberTarget.fit([1, 2, 3]),
}
ABSENT = {"image": [0], "a dotted.name:ü": [0, 1], "text": [0, 2]}


def build(fusion: str, targets: Mapping[str, AnyTarget] = TARGETS, streams: tuple[str, ...] = STREAMS) -> Network:
    torch.manual_seed(0)
    kinds = FUSIONS[fusion].kinds
    kept = {name: target for name, target in targets.items() if kinds is None or target.kind in kinds}
    built = build_fusion(fusion, streams, WIDTH, {})
    return Network({name: torch.nn.Identity() for name in streams}, built, kept, WIDTH).eval()


def tokens(rows: int, sizes: tuple[int, ...], absent: Mapping[str, list[int]]) -> dict[str, Tokens]:
    generator = torch.Generator().manual_seed(rows)
    made = {}
    for stream, size in zip(STREAMS, sizes, strict=False):
        present = torch.rand(rows, size, generator=generator) < 0.8
        present[:, 0] = True
        present[[row for row in absent.get(stream, []) if row < rows]] = False
        made[stream] = Tokens(torch.randn(rows, size, WIDTH, generator=generator), present)
    return made


def arrays(given: Mapping[str, Tokens]) -> dict[str, NDArray]:
    found = {}
    for number, stream in enumerate(given.values()):
        found[f"tokens:{number}"], found[f"present:{number}"] = stream.values.numpy(), stream.present.numpy()
    return found


def expected(network: Network, given: Mapping[str, Tokens]) -> dict[str, torch.Tensor]:
    """Return what the network itself computes, by the names of the graph's outputs."""
    streams, fused = network.stream_outputs(given), network.fuse(given)
    found = {f"fused:{name}": output for name, output in network.fused_outputs(given, streams, fused).items()}
    for target, outputs in streams.items():
        found |= {f"stream:{target}:{number}": outputs[stream] for number, stream in enumerate(network.streams)}
    found |= {f"stream_pooled:{number}": given[stream].pooled() for number, stream in enumerate(network.streams)}
    if fused is not None:
        found["pooled"] = fused.pooled
        if fused.weights is not None:
            found["weights"] = fused.weights
    return found


def check(network: Network, path: Path) -> None:
    info = export_fusion(network, tokens(2, (2, 2, 2), {}), path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == list(info.inputs)
    assert [one.name for one in session.get_outputs()] == list(info.outputs)
    for rows, sizes in ((1, (1, 1, 1)), (4, (3, 1, 6)), (7, (1, 9, 2))):
        given = tokens(rows, sizes, ABSENT)
        with torch.inference_mode():
            wanted = expected(network, given)
        found = dict(zip(info.outputs, session.run(None, arrays(given)), strict=True))
        assert set(found) == set(wanted)
        for name, values in wanted.items():
            np.testing.assert_allclose(found[name], values.numpy(), atol=1e-5, err_msg=name)


@pytest.mark.parametrize("fusion", ["transformer", "gated", "concat", "attention", "evidential", "vote"])
def test_a_graph_answers_as_the_network(fusion: str, tmp_path: Path) -> None:
    check(build(fusion), tmp_path / "fusion.onnx")


@pytest.mark.exhaustive
@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_is_exported(fusion: str, tmp_path: Path) -> None:
    check(build(fusion), tmp_path / "fusion.onnx")
    check(build(fusion, streams=STREAMS[:1]), tmp_path / "one.onnx")
