"""Whether a decision level is worse than the members it decides between, on the test rows of a table.

The best member of a table is the one with the highest mean score on its *test* rows over the seeds: an oracle that no
decision level can ask. Standard errors are those of the paired difference of these trained models: a row that several
seeds test on counts as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decision_dumps import PRIOR, Dump, Floats
from decision_scores import influences, losses, score_name

LIMIT = 2.0
"""Standard errors from which on a difference counts."""
CHANCE_DRAWS = 4000


@dataclass(frozen=True)
class JudgedRun:
    """A dump and what its members and the decision levels reach on its test rows.

    Attributes:
        dump: The dump.
        score: Name of the score.
        rows: int64 ``[N]``, which rows of the pool the test rows are.
        members: Member to influences ``[N]``, whose mean is its score.
        own: Influences ``[N]`` of the decision that the run ended with.
        levels: Decision level to influences ``[N]``.
        losses: Decision level, or the prior, to each row's loss ``[N]``.
    """

    dump: Dump
    score: str
    rows: NDArray[np.int64]
    members: Mapping[str, Floats]
    own: Floats
    levels: Mapping[str, Floats]
    losses: Mapping[str, Floats]


@dataclass(frozen=True)
class Verdict:
    """A decision level beside the best member of one table.

    Attributes:
        best: The best member.
        best_score: Its score.
        difference: Score of the level less that.
        error: Standard error of the difference.
        loss: Mean loss of the level.
        prior_loss: Mean loss of the prior.
        loss_error: Standard error of their difference.
    """

    best: str
    best_score: float
    difference: float
    error: float
    loss: float
    prior_loss: float
    loss_error: float

    @property
    def is_below(self) -> bool:
        """Whether the level is worse than the best member by more than two standard errors."""
        return self.difference < -LIMIT * self.error

    @property
    def is_above(self) -> bool:
        """Whether the level is better than the best member by more than two standard errors."""
        return self.difference > LIMIT * self.error

    @property
    def has_high_loss(self) -> bool:
        """Whether the level's loss is above the prior's, by however little."""
        return self.loss > self.prior_loss + 1e-9

    @property
    def has_clearly_high_loss(self) -> bool:
        """Whether it is above by more than two standard errors."""
        return self.has_high_loss and self.loss - self.prior_loss > LIMIT * self.loss_error


def judge_run(dump: Dump, levels: Mapping[str, Callable[[Dump], Floats]]) -> JudgedRun:
    """Let every decision level decide, and score it.

    Args:
        dump: The dump.
        levels: The decision levels.

    Returns:
        Influences and losses.
    """
    score, truth = score_name(dump.kind, dump.prior), dump.test.truth
    members = {name: dump.filled(dump.test, name) for name in dump.members}
    decided = {name: level(dump) for name, level in levels.items()}
    return JudgedRun(
        dump=dump,
        score=score,
        rows=dump.test_rows,
        members={name: influences(score, truth, values) for name, values in members.items()},
        own=influences(score, truth, dump.final),
        levels={name: influences(score, truth, values) for name, values in decided.items()},
        losses={name: losses(dump.kind, truth, v) for name, v in {**decided, PRIOR: members[PRIOR]}.items()},
    )


def judge(runs: Sequence[JudgedRun], level: str) -> Verdict:
    """Compare a decision level with the best member of a table.

    Args:
        runs: The runs of one table: one, or one for each seed.
        level: Name of the level.

    Returns:
        The verdict.
    """
    scores = _member_scores(runs)
    best = max(scores, key=lambda name: scores[name])
    differences = [run.levels[level] - run.members[best] for run in runs]
    above_prior = [run.losses[level] - run.losses[PRIOR] for run in runs]
    return Verdict(
        best=best,
        best_score=scores[best],
        difference=_mean(differences),
        error=_error(runs, differences),
        loss=_mean([run.losses[level] for run in runs]),
        prior_loss=_mean([run.losses[PRIOR] for run in runs]),
        loss_error=_error(runs, above_prior),
    )


def _member_scores(runs: Sequence[JudgedRun]) -> dict[str, float]:
    everywhere = [name for name in runs[0].members if all(name in run.members for run in runs)]
    return {name: _mean([run.members[name] for run in runs]) for name in everywhere}


def _mean(of_runs: Sequence[Floats]) -> float:
    return float(np.mean([values.mean() for values in of_runs]))


def _error(runs: Sequence[JudgedRun], of_runs: Sequence[Floats]) -> float:
    return float(np.sqrt((_centred(runs, of_runs) ** 2).sum()))


def _centred(runs: Sequence[JudgedRun], of_runs: Sequence[Floats]) -> Floats:
    """Return what each row of the pool adds to the deviation of the mean over runs, ``[rows of the pool]``."""
    rows = np.concatenate([run.rows for run in runs])
    parts = [(values - values.mean()) / len(values) / len(runs) for values in of_runs]
    return np.bincount(rows, np.concatenate(parts))


def chance_of_below(runs: Sequence[JudgedRun], level: str, is_equal: bool) -> float:
    """Compute how often a level that is as good as the best member would be below "the best member on test".

    Scores are drawn around true ones with the covariance of the test rows; then, as in ``judge``, the member with the
    best drawn score is compared with the level.

    Args:
        runs: The runs of one table.
        level: Name of the level, whose correlations with the members are used.
        is_equal: Whether all members are taken to be equally good; else to be as far apart as measured.

    Returns:
        A probability.
    """
    scores = _member_scores(runs)
    gaps = np.zeros(len(scores)) if is_equal else max(scores.values()) - np.array(list(scores.values()))
    differences = [[run.levels[level] - run.members[name] for run in runs] for name in scores]
    deviations = np.stack([_centred(runs, of_member) for of_member in differences])
    values, vectors = np.linalg.eigh(deviations @ deviations.T)
    normal = np.random.default_rng(0).normal(size=(CHANCE_DRAWS, len(gaps)))
    drawn = gaps + normal * np.sqrt(np.maximum(values, 0)) @ vectors.T
    best = drawn.argmin(axis=1)
    error = np.sqrt((deviations**2).sum(axis=1))
    return float((drawn[np.arange(CHANCE_DRAWS), best] < -LIMIT * error[best] - 1e-12).mean())
