"""The decision levels that are compared: each makes predictions for a dump's test rows of its validation rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from decision_dumps import UNMASKED, Dump, Floats, Rows
from decision_scores import influences, losses, score_name
from old_decision import old_final
from polymodal.ensemble.ensemble import Ensemble, MemberWeights
from polymodal.ensemble.ensemble_weights import fit_member_weights

GREEDY_STEPS = 50


def present_final(dump: Dump) -> Floats:
    """Fit polymodal's own decision level on a dump, as ``polymodal.model.fit_ensemble`` does.

    Args:
        dump: The dump.

    Returns:
        ``[N, C]`` probabilities, or ``[N]`` numbers.
    """
    complete, everything = dump.validation.present.all(axis=1), np.ones(len(dump.validation.truth), np.bool_)
    masks = [mask for mask in dump.validation.predictions if mask != UNMASKED]

    def fit(subsets: list[tuple[str, np.ndarray]]) -> MemberWeights:
        members = [name for name in dump.members if name != "baseline:prior"]
        found, present = dump.validation.predictions, {m: dump.present(dump.validation, m) for m, _ in subsets}
        return fit_member_weights(
            dump.kind,
            {name: np.concatenate([found[mask][name][used] for mask, used in subsets]) for name in members},
            {name: np.concatenate([present[mask][name][used] for mask, used in subsets]) for name in members},
            np.concatenate([dump.validation.truth[used] for _, used in subsets]),
            dump.seed,
        )

    whole = fit([(UNMASKED, complete if complete.any() else everything)])
    lacking = fit([(UNMASKED, ~complete), *((mask, everything) for mask in masks)]) if masks else whole
    members = {name: values for name, values in dump.test.predictions[UNMASKED].items() if name != "baseline:prior"}
    prior = dump.prior if dump.classes is not None else float(dump.prior[0])
    ensemble = Ensemble(complete=whole, incomplete=lacking)
    return ensemble.combine(members, dump.present(dump.test), prior, dump.test.present.all(axis=1))


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
