"""Exported fusions and heads answer as the network does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from polymodal.bundle.graph_info import Details, step_file
from polymodal.bundle.session import Graph
from polymodal.data.schema.schema import StreamSchema
from polymodal.export.fusion_graph import example_inputs, export_fusion, trace_fusion
from polymodal.fusion import FUSIONS, build_fusion
from polymodal.fusion.no_fusion import NoFusion
from polymodal.model.network import Network
from polymodal.targets import (
    OBJECTIVES,
    TARGETS,
    AnyTarget,
    CategoriesTarget,
    CategoryTarget,
    NumberTarget,
    RowContext,
    SketchTarget,
    StructuredTarget,
    fit_target,
)
from polymodal.tokens import Detail, DetailGrid, Tokens
from target_examples import TARGET_EXAMPLES

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

WIDTH = 8
PICTURE, SOUND, NOTE = "picture", "a dotted.name:ü", "note"
STREAMS = (PICTURE, SOUND, NOTE)
PLACES = DetailGrid((3, 4), 4)
FLAT: dict[str, AnyTarget] = {
    "the kind:of/it": CategoryTarget.fit(["a", "b", "c"]),
    "tags": CategoriesTarget.fit(["a|b", "c"]),
    "price": NumberTarget.fit([1, 2, 3]),
}
ABSENT = {PICTURE: [0], SOUND: [0, 1], NOTE: [0, 2]}
BATCHES = ((1, (1, 1, 1)), (0, (1, 2, 1)), (4, (3, 1, 6)), (7, (1, 9, 2)))
"""Rows, and tokens of each stream."""


def structured(kind: str, **options: Any) -> StructuredTarget:
    if kind == "sketch":
        return SketchTarget(stream=PICTURE, modality="image", mean=[0.5] * 3, scale=2.0, recovered=True)
    cells = TARGET_EXAMPLES[kind].cells if kind in TARGET_EXAMPLES else []
    streams = tuple(
        StreamSchema(name, modality, (name,))
        for name, modality in zip(STREAMS, ("image", "audio", "text"), strict=True)
    )
    target = fit_target(kind, cells, RowContext({PICTURE: [b""] * len(cells)}, streams=streams), options)
    assert isinstance(target, StructuredTarget)
    return target


def encoders(streams: tuple[str, ...]) -> dict[str, torch.nn.Module]:
    made = {name: torch.nn.Identity() for name in streams}
    made[PICTURE].detail_grid = PLACES  # type: ignore[assignment]
    if SOUND in made:
        made[SOUND].step_frames = 4  # type: ignore[assignment]
    return dict(made)


def build(fusion: str, targets: Mapping[str, AnyTarget], streams: tuple[str, ...] = STREAMS, **options: Any) -> Network:
    torch.manual_seed(0)
    kinds = FUSIONS[fusion].kinds if fusion else None
    kept = {name: target for name, target in targets.items() if kinds is None or target.kind in kinds}
    built = build_fusion(fusion, streams, WIDTH, options) if fusion else NoFusion(streams)
    network = Network(encoders(streams), built, kept, WIDTH).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += torch.randn_like(parameter) * 0.1  # what starts at zero would hide a mistake
    return network


def tokens(rows: int, sizes: tuple[int, ...], absent: Mapping[str, list[int]], streams: tuple[str, ...]) -> Any:
    generator = torch.Generator().manual_seed(rows)
    made = {}
    for stream, size in zip(streams, sizes, strict=False):
        there = torch.ones(rows, dtype=torch.bool)
        there[[row for row in absent.get(stream, []) if row < rows]] = False
        present = torch.rand(rows, size, generator=generator) < 0.8
        present[:, 0] = True
        values = torch.randn(rows, size, WIDTH, generator=generator)
        made[stream] = Tokens(values, present & there.unsqueeze(1), detail(stream, rows, 3 * size, there, generator))
    return made


def details_of(streams: tuple[str, ...]) -> Details:
    return {stream: PLACES.shape if stream == PICTURE else None for stream in streams if stream != NOTE}


def detail(stream: str, rows: int, steps: int, there: torch.Tensor, generator: torch.Generator) -> Detail | None:
    """Return locations of the picture or time steps of the sound, zeros where the stream is absent."""
    if stream == NOTE:
        return None
    places = PLACES.shape if stream == PICTURE else None
    num_details = 12 if places else steps
    lengths = torch.full((rows,), 12) if places else torch.randint(1, steps + 1, (rows,), generator=generator)
    present = (torch.arange(num_details) < lengths.unsqueeze(1)) & there.unsqueeze(1)
    values = torch.randn(rows, num_details, WIDTH, generator=generator)
    return Detail(torch.where(present.unsqueeze(2), values, 0.0), present, places)


def arrays(given: Mapping[str, Tokens]) -> dict[str, NDArray[Any]]:
    found = {}
    for number, stream in enumerate(given.values()):
        found[f"tokens:{number}"], found[f"present:{number}"] = stream.values.numpy(), stream.present.numpy()
        if stream.detail is not None:
            found[f"detail:{number}"] = stream.detail.values.numpy()
            found[f"detail_present:{number}"] = stream.detail.present.numpy()
    return found


def expected(network: Network, given: Mapping[str, Tokens]) -> dict[str, torch.Tensor]:
    """Return what the network itself computes, by the names of the graph's outputs."""
    streams, fused = network.stream_outputs(given), network.fuse(given)
    found = {f"fused:{name}": output for name, output in network.fused_outputs(given, streams, fused).items()}
    for target, outputs in streams.items():
        found |= {f"stream:{target}:{number}": outputs[stream] for number, stream in enumerate(network.streams)}
    found |= {f"stream_pooled:{number}": given[stream].pooled() for number, stream in enumerate(network.streams)}
    if fused is None:
        return found
    for target, head in network.named_structured_heads():
        found |= {f"{target}:{name}": output for name, output in head.outputs(fused).items()}
    found |= {"pooled": fused.pooled}
    return found if fused.weights is None else found | {"weights": fused.weights}


def check(network: Network, path: Path, targets: Mapping[str, AnyTarget]) -> None:
    """Compare a graph with its network on other numbers of rows and tokens than it was traced with."""
    streams = network.streams
    info = export_fusion(network, details_of(streams), path)
    graph, steps = Graph(path), {name: Graph(path.with_name(step_file(number))) for name, number in info.steps.items()}
    for rows, sizes in BATCHES:
        given = tokens(rows, sizes, ABSENT, streams)
        with torch.inference_mode():
            wanted = expected(network, given)
        found = graph.run(arrays(given))
        assert list(found) == list(info.outputs)
        assert set(found) == set(wanted)
        for name, values in wanted.items():
            np.testing.assert_allclose(found[name], values.numpy(), atol=1e-5, rtol=1e-5, err_msg=name)
        check_predictions(network, given, found, steps, targets)


def check_predictions(
    network: Network,
    given: Mapping[str, Tokens],
    found: Mapping[str, NDArray[Any]],
    steps: Mapping[str, Graph],
    targets: Mapping[str, AnyTarget],
) -> None:
    """Read predictions from the graph's outputs and compare them with those of the heads."""
    for name, head in network.named_structured_heads():
        outputs = {key.removeprefix(f"{name}:"): value for key, value in found.items() if key.startswith(f"{name}:")}
        target = targets[name]
        assert isinstance(target, StructuredTarget)
        answers = target.read_outputs(outputs, steps[name].run if name in steps else None)
        with torch.inference_mode():
            wanted = head.predict(network.fuse(given))
        assert len(answers) == len(wanted)
        for one, other in zip(answers, wanted, strict=True):
            compare(one.value, other.value)
            assert one.confidence == pytest.approx(other.confidence, abs=1e-4)


def compare(one: Any, other: Any) -> None:
    if isinstance(one, str):
        assert one == other
    elif isinstance(one, dict):
        assert set(one) == set(other)
        for name, value in one.items():
            compare(value, other[name])
    elif isinstance(one, list) and one and isinstance(one[0], dict):
        assert len(one) == len(other)
        for mine, yours in zip(one, other, strict=True):
            compare(mine, yours)
    else:
        np.testing.assert_allclose(one, other, atol=2e-4, rtol=1e-4)


@pytest.mark.exhaustive
def test_one_graph_answers_for_all_targets_as_the_network(tmp_path: Path) -> None:
    targets = {
        "price": FLAT["price"],
        "place": structured("vector"),
        "the boxes": structured("boxes", score_threshold=0.0, max_boxes=4),
        "words": structured("caption", depth=1),
    }
    streams = (PICTURE, NOTE)
    check(build("transformer", targets, streams, depth=1), tmp_path / "fusion.onnx", targets)


def test_a_graph_of_a_flat_target_answers_as_the_network(tmp_path: Path) -> None:
    targets = {"price": FLAT["price"]}
    check(build("gated", targets, (PICTURE, NOTE)), tmp_path / "fusion.onnx", targets)


def test_opinions_of_the_streams_are_fused_in_the_graph(tmp_path: Path) -> None:
    check(build("evidential", FLAT, (PICTURE, NOTE)), tmp_path / "fusion.onnx", FLAT)


@pytest.mark.exhaustive
@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_is_exported(fusion: str, tmp_path: Path) -> None:
    check(build(fusion, FLAT), tmp_path / "fusion.onnx", FLAT)
    check(build(fusion, FLAT, STREAMS[:1]), tmp_path / "one.onnx", FLAT)


@pytest.mark.exhaustive
@pytest.mark.parametrize("fusion", [name for name, entry in FUSIONS.items() if entry.level != "decision"])
def test_every_target_is_exported_with_every_fusion_of_tokens(fusion: str, tmp_path: Path) -> None:
    flat = {target.kind: target for target in FLAT.values()}
    targets = {kind: flat[kind] if kind in flat else structured(kind) for kind in (*TARGETS, *OBJECTIVES)}
    check(build(fusion, targets), tmp_path / "fusion.onnx", targets)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("caption", {"decode": "beam", "beam_width": 3}),
        ("transcript", {"decode": "beam"}),
        ("transcript", {"units": "subwords", "decode": "greedy"}),
    ],
)
def test_searches_read_graphs(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    targets = {"answer": structured(kind, **options)}
    check(build("transformer", targets), tmp_path / "fusion.onnx", targets)


@pytest.mark.exhaustive
def test_a_joint_space_is_exported_without_a_fusion(tmp_path: Path) -> None:
    targets = {"embedding": structured("embedding", dim=4)}
    check(build("", targets), tmp_path / "fusion.onnx", targets)


def check_traced(network: Network) -> None:
    streams = network.streams
    program = trace_fusion(network, details_of(streams)).module()
    assert set(example_inputs(network, details_of(streams))) == set(arrays(tokens(2, (2, 2, 2), {}, streams)))
    for rows, sizes in BATCHES:
        given = tokens(rows, sizes, ABSENT, streams)
        with torch.inference_mode():
            found = program(inputs={name: torch.from_numpy(value) for name, value in arrays(given).items()})
            wanted = expected(network, given)
        assert set(found) == set(wanted)
        for name, values in wanted.items():
            torch.testing.assert_close(found[name], values, msg=name)


def test_a_traced_program_answers_in_torch_too() -> None:
    check_traced(build("attention", {"price": FLAT["price"]}, (PICTURE, NOTE)))


@pytest.mark.exhaustive
def test_a_traced_program_runs_recurrent_heads_over_any_number_of_steps() -> None:
    check_traced(build("gated", {"words": structured("transcript")}))
