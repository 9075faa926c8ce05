"""The decision levels that are compared: each makes predictions for a dump's test rows of its validation rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from decision_dumps import UNMASKED, Dump, Floats, Mask, Rows
from decision_scores import influences, losses, score_name
from old_decision import old_final
from polymodal.ensemble.ensemble_weights import MemberRows, fit_ensemble, member_present

GREEDY_STEPS = 50


def present_final(dump: Dump) -> Floats:
    """Fit polymodal's own decision level on a dump, as ``polymodal.model.fit_ensemble`` does.

    Args:
        dump: The dump.

    Returns:
        ``[N, C]`` probabilities, or ``[N]`` numbers.
    """
    rows, training = dump.validation, dump.training
    held_out = [
        MemberRows(found, _visible(dump, rows, mask), rows.truth, np.arange(len(rows.truth)))
        for mask, found in rows.predictions.items()
    ]
    baselines = MemberRows(training.predictions[UNMASKED], {}, training.truth, np.arange(len(training.truth)))
    prior = dump.prior if dump.classes is not None else float(dump.prior[0])
    ensemble = fit_ensemble(dump.kind, held_out, prior, dump.seed, baselines if len(training.truth) else None)
    members, visible = dump.test.predictions[UNMASKED], _visible(dump, dump.test, UNMASKED)
    return ensemble.combine(members, {name: member_present(name, visible) for name in members}, prior, visible)


def _visible(dump: Dump, rows: Rows, mask: str) -> dict[str, Mask]:
    return {name: rows.present[:, index] & (name != mask) for index, name in enumerate(dump.streams)}


def equal_weights(dump: Dump) -> Floats:
    """Average the members that are present in a row, the prior left out.

    Args:
        dump: The dump.

    Returns:
        ``[N, C]`` or ``[N]``.
    """
    present = dump.present(dump.test)
    values = {name: dump.filled(dump.test, name) for name in dump.members if name != "baseline:prior"}
    weights = np.stack([present[name] for name in values]).astype(np.float64)
    weights += (weights.sum(axis=0) == 0)[None]  # a row without any stream: all are the prior there
    stacked = np.stack(list(values.values()))
    return np.asarray(np.einsum("mn,mn...->n...", weights / weights.sum(axis=0), stacked))


def best_on_validation(dump: Dump) -> Floats:
    """Pick the member with the best score on validation rows; of equal ones that with the least loss.

    Args:
        dump: The dump.

    Returns:
        Its predictions ``[N, C]`` or ``[N]``.
    """
    score, rows = score_name(dump.kind, dump.prior), dump.validation

    def quality(member: str) -> tuple[float, float]:
        values = dump.filled(rows, member)
        return influences(score, rows.truth, values).mean(), -losses(dump.kind, rows.truth, values).mean()

    return dump.filled(dump.test, max(dump.members, key=quality))


def greedy_selection(dump: Dump) -> Floats:
    """Average the members chosen one by one, with replacement, for the least validation loss (Caruana et al. 2004).

    Args:
        dump: The dump.

    Returns:
        ``[N, C]`` or ``[N]``.
    """
    of_validation = _filled(dump, dump.validation)
    total, best, best_loss = np.zeros_like(of_validation[0]), [0], np.inf
    chosen: list[int] = []
    for step in range(1, GREEDY_STEPS + 1):
        found = [losses(dump.kind, dump.validation.truth, (total + v) / step).mean() for v in of_validation]
        chosen.append(int(np.argmin(found)))
        total = total + of_validation[chosen[-1]]
        if min(found) < best_loss:
            best, best_loss = list(chosen), min(found)
    return np.asarray(_filled(dump, dump.test)[best].mean(axis=0))


def _filled(dump: Dump, rows: Rows) -> Floats:
    return np.stack([dump.filled(rows, member) for member in dump.members])


LEVELS: dict[str, Callable[[Dump], Floats]] = {
    "polymodal": present_final,
    "old level": old_final,
    "equal weights": equal_weights,
    "best on validation": best_on_validation,
    "greedy selection": greedy_selection,
}
"""The project's own first."""
