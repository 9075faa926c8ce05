"""Parts of cells by integrated gradients: the quick way, without changed cells.

What is explained is the network alone, neither baselines nor the decision of the ensemble.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from polymodal.data.tables.table import Table
from polymodal.explain.answers import DecodedRows, decode_rows
from polymodal.explain.cells import ROWS_AT_ONCE, Inside, cell_parts, check_passes, divide_row, refusal_notices
from polymodal.explain.explanation import CellParts, Part
from polymodal.explain.gradients import Floats, IntegratedRow, Scalar, check_captum
from polymodal.explain.outputs import Output
from polymodal.explain.parts import DividedCell
from polymodal.explain.searches import even_boxes
from polymodal.modalities import Audio
from polymodal.modalities.parallel import chunked
from polymodal.model.collate import collate
from polymodal.model.torch_network import torch_network
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress
from polymodal.targets import CategoriesTarget, CategoryTarget, NumberTarget

METHOD = "integrated_gradients"
MOST_PARTS = 256
"""Most parts of a cell that are listed; smaller ones are joined."""
FEWEST_STEPS = 8
TOLERANCE = 0.05
"""A larger departure of the sum, as a share of what is explained, is told."""
SMALLEST_TOTAL = 0.01
"""Departures are not measured against less than this."""


def integrate_cells(
    model: TrainedModel,
    table: Table,
    outputs: Sequence[Output],
    streams: Sequence[str],
    *,
    passes: int,
    progress: Progress,
) -> Inside:
    """Explain cells by integrated gradients of the network.

    Args:
        model: The trained model.
        table: The table.
        outputs: What is explained; ``row`` counts the table's rows from 0.
        streams: The streams whose cells are explained.
        passes: Network passes a row, which its outputs share; at least 8 an output.
        progress: Reports progress.

    Returns:
        The parts, and what cannot be explained in this way.

    Raises:
        ConfigError: If ``captum`` is not installed, or there are too few passes.
    """
    check_captum()
    check_passes(passes)
    by_row: dict[int, list[int]] = {}
    for number, output in enumerate(outputs):
        by_row.setdefault(output.row, []).append(number)
    found: list[list[CellParts]] = [[] for _ in outputs]
    refused: Counter[str] = Counter()
    errors: list[float] = []
    with progress.phase("explaining cells", len(by_row)) as phase:
        for rows in chunked(list(by_row), ROWS_AT_ONCE):
            decoded = decode_rows(model, table.take(rows))
            for place, row in enumerate(rows):
                cells = divide_row(model, decoded, place, streams, refused)
                integrated = RowGradients.begin(model, decoded, place, cells)
                for stream in integrated.without_gradients:
                    refused[f"of {stream!r} could not be explained: its encoder has no gradients"] += 1
                steps = max(FEWEST_STEPS, passes // len(by_row[row]))
                for number in by_row[row]:
                    found[number] = integrated.explain(outputs[number], steps, errors)
                phase.advance()
    return Inside(found, [*_notices(model, outputs, errors), *refusal_notices(refused)])


def _notices(model: TrainedModel, outputs: Sequence[Output], errors: Sequence[float]) -> list[str]:
    notices = ["Gradients explain the network alone: neither baselines nor how the ensemble weighs them."]
    left_out = sorted({output.target for output in outputs if scalar_of(model, output) is None})
    notices += [
        f"The target {name!r} has no gradients that are explained: use --method occlusion." for name in left_out
    ]
    inexact = sum(error > TOLERANCE for error in errors)
    if inexact:
        notices.append(
            f"Of {inexact:,} of {len(errors):,} answers the gradients add up to more than {TOLERANCE:.0%} beside what "
            "they should: give more --passes."
        )
    return notices


def scalar_of(model: TrainedModel, output: Output) -> Scalar | None:
    """Return what the network is differentiated for.

    Args:
        model: The trained model.
        output: What is explained.

    Returns:
        The same output of the network; None of structured targets.
    """
    target = model.targets[output.target]
    if isinstance(target, CategoryTarget | CategoriesTarget):
        return Scalar(output.target, target, target.names.index(output.explained))
    return Scalar(output.target, target, 0) if isinstance(target, NumberTarget) else None


@dataclasses.dataclass(frozen=True)
class RowGradients:
    """One row of which gradients are taken.

    Attributes:
        model: The trained model.
        network: The network as a function of the row.
        cells: Stream to divided cell.
        arrays: Stream to the decoded cell.
        baselines: Stream to what the way begins at, where that is not zero.
        without_gradients: Streams whose encoder cannot be differentiated.
    """

    model: TrainedModel
    network: IntegratedRow
    cells: dict[str, DividedCell]
    arrays: dict[str, Floats]
    baselines: dict[str, Floats]
    without_gradients: list[str]

    @classmethod
    def begin(
        cls, model: TrainedModel, decoded: DecodedRows, place: int, cells: Mapping[str, DividedCell]
    ) -> RowGradients:
        """Read a row.

        Args:
            model: The trained model.
            decoded: Some rows.
            place: The row.
            cells: Stream to divided cell.

        Returns:
            The row.
        """
        torch_model = torch_network(model, "Explaining by gradients")
        device = torch_model.device
        columns = decoded.take(np.array([place])).columns
        raw = {stream: dataclasses.replace(columns[stream], outputs=None) for stream in model.network.streams}
        batch = {stream: column.to(device) for stream, column in collate(raw, np.array([0])).items()}
        names = {stream: modality.name for stream, modality in model.preprocessor.modalities.items()}
        network = IntegratedRow(torch_model, batch, names)
        known = {stream: cell for stream, cell in cells.items() if stream in network.streams}
        arrays = {stream: batch[stream].values[0].double().cpu().numpy() for stream in known}
        starts = {stream: _start(model, cell, stream, arrays[stream]) for stream, cell in known.items()}
        baselines = {stream: start for stream, start in starts.items() if start is not None}
        return cls(model, network, known, arrays, baselines, [stream for stream in cells if stream not in known])

    def explain(self, output: Output, steps: int, errors: list[float]) -> list[CellParts]:
        """Explain one output.

        Args:
            output: The output.
            steps: Steps of the integral.
            errors: Gets how far the values are from adding up, as a share of what they explain.

        Returns:
            The parts of the cells, the most important stream first; none of structured targets.
        """
        scalar = scalar_of(self.model, output)
        if scalar is None or not self.cells:
            return []
        found = self.network.attribute(scalar, self.baselines, steps)
        errors.append(abs(found.error) / max(abs(found.total), SMALLEST_TOTAL))
        ordered = sorted(self.cells, key=lambda stream: -abs(float(found.values[stream].sum())))
        return [self._parts(stream, self.atoms(stream, found.values), steps) for stream in ordered]

    def atoms(self, stream: str, values: Mapping[str, Floats]) -> Floats:
        """Add up values by the atoms of a cell.

        Args:
            stream: The stream.
            values: Stream to values of what the network reads.

        Returns:
            float64, of the grid's shape.
        """
        modality = self.model.preprocessor.modalities[stream]
        return self.cells[stream].pool(values[stream], self.arrays[stream], modality)

    def _parts(self, stream: str, atoms: Floats, steps: int) -> CellParts:
        cell = self.cells[stream]
        return cell_parts(stream, cell, METHOD, parts_of_atoms(cell, atoms), steps)


def parts_of_atoms(cell: DividedCell, atoms: Floats) -> list[Part]:
    """Turn values of atoms into parts.

    Args:
        cell: The divided cell.
        atoms: float64, of the grid's shape.

    Returns:
        At most 256 parts in the order of their place, neighbouring atoms joined where there are more.
    """
    boxes = sorted(even_boxes(cell, MOST_PARTS))
    return [cell.part(box, float(atoms[cell.mask(box)].sum())) for box in boxes]


def _start(model: TrainedModel, cell: DividedCell, stream: str, array: Floats) -> Floats | None:
    """Return where the way of a stream begins: a blurred picture, the clip's softest value, points at the mean place.

    None stands for zeros. A spectrogram of zeros has no variance, where norms in encoders have an infinite slope: with
    50 steps the gradients then add up to a third too little, from the softest value on to 0.2 %.
    """
    modality = model.preprocessor.modalities[stream]
    if isinstance(modality, Audio) and not modality.is_waveform:
        return np.full_like(array, array.min())
    if modality.name == "points":
        return np.where(np.arange(array.shape[-1]) == array.shape[-1] - 1, array, 0.0)
    if modality.name not in ("image", "video"):
        return None
    blurred = cell.remove(np.ones(cell.shape, bool))[cell.columns[0]]
    column, _ = modality.transform([blurred], None, num_threads=1)
    start: Floats = column.values[0].astype(np.float64)
    return start[: len(array)]
