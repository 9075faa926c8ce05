"""What is remembered of a run's rows, to tell later how new rows differ: distributions and embeddings, no cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polymodal.arrays import arrays_under, put_under
from polymodal.certainty.unusual import UnusualRows
from polymodal.data.profiles.profile import Profile

PROFILE, UNUSUAL, PREDICTIONS, EMBEDDINGS = "profile/", "unusual/", "predictions/", "embeddings/"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What new rows are compared with.

    Attributes:
        profile: Distributions of the training rows' columns; those of validation rows where a measure was fitted.
        predictions: Distributions of what was predicted for validation rows, out of fold; targets of classes, labels
            and numbers.
        embeddings: Stream to float16 ``[rows, width]`` of the validation rows in which it is present.
        unusual: How unusual a row is.
    """

    profile: Profile
    predictions: Profile
    embeddings: dict[str, NDArray[np.float16]]
    unusual: UnusualRows

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything as plain JSON and named arrays."""
        plain: dict[str, Any] = {"embeddings": list(self.embeddings)}
        arrays: dict[str, NDArray[Any]] = {
            f"{EMBEDDINGS}{place}": values for place, values in enumerate(self.embeddings.values())
        }
        parts = ((PROFILE, self.profile), (PREDICTIONS, self.predictions), (UNUSUAL, self.unusual))
        for prefix, part in parts:
            plain[prefix.rstrip("/")], own = part.state()
            arrays |= put_under(own, prefix)
        return plain, arrays

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Reference:
        """Restore it.

        Args:
            state: The plain part of ``state``.
            arrays: Its arrays.

        Returns:
            An equal reference.

        Raises:
            ValueError: If its arrays do not fit what they are for.
        """
        flat = [array for name, array in arrays.items() if name.startswith((PROFILE, PREDICTIONS))]
        wide = [array for name, array in arrays.items() if name.startswith(EMBEDDINGS)]
        if any(array.ndim != 1 for array in flat) or any(array.ndim != 2 for array in wide):
            raise ValueError("the arrays of the reference have other shapes than they are used in")
        own = {prefix: arrays_under(arrays, prefix) for prefix in (PROFILE, PREDICTIONS, UNUSUAL)}
        return cls(
            profile=Profile.from_state(state["profile"], own[PROFILE]),
            predictions=Profile.from_state(state["predictions"], own[PREDICTIONS]),
            embeddings={name: arrays[f"{EMBEDDINGS}{place}"] for place, name in enumerate(state["embeddings"])},
            unusual=UnusualRows.from_state(state["unusual"], own[UNUSUAL]),
        )
