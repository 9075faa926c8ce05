"""Running a graph in ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.model.manifest import DamagedFileError, file_size

Arrays = Mapping[str, NDArray[Any]]


class Graph:
    """A graph of a bundle.

    Attributes:
        name: Name of its file.
        inputs: Names of its inputs.
        outputs: Names of its outputs.
    """

    def __init__(self, path: Path) -> None:
        """Read a graph.

        Args:
            path: The ONNX file.

        Raises:
            DamagedFileError: If it is missing, or ONNX Runtime cannot read it; one clause names it.
        """
        import onnxruntime

        file_size(path)
        self.name = path.name
        try:
            self._session = onnxruntime.InferenceSession(path, _options(), providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises classes of its own
            raise DamagedFileError(f"{path.name} is no graph that ONNX Runtime reads: {_first_line(error)}") from None
        self.inputs = tuple(entry.name for entry in self._session.get_inputs())
        self.outputs = tuple(entry.name for entry in self._session.get_outputs())

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Run the graph.

        Args:
            arrays: Input name to array ``[B, ...]``; what the graph does not read is left out.

        Returns:
            Output name to array ``[B, ...]``.
        """
        given = {name: np.ascontiguousarray(arrays[name]) for name in self.inputs}
        if any(not len(array) for array in given.values()):
            return self._no_rows(given)
        return dict(zip(self.outputs, self._session.run(None, given), strict=True))

    def _no_rows(self, given: Arrays) -> dict[str, NDArray[Any]]:
        """Return outputs without a row; some operators refuse such inputs, so that the graph runs on a row of zeros."""
        one = {name: np.zeros((1, *array.shape[1:]), array.dtype) for name, array in given.items()}
        return {name: output[:0] for name, output in self.run(one).items()}


def _options() -> Any:
    """Return the options of a session: as many threads as ``OMP_NUM_THREADS`` says, else one a core.

    Threads that wait fall asleep: each graph has its own, and on a busy machine they would keep each other from cores.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit():
        options.intra_op_num_threads = int(threads)
    return options


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
