"""What ``decisions.py`` writes: a table of the decision levels, and a line for each table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from decision_dumps import PRIOR
from decision_verdicts import JudgedRun, Verdict, chance_of_below, judge

Judged = Mapping[str, Sequence[JudgedRun]]
ABOUT = """
Tables: 60 to 2,000 rows for training and validation (15 % of them), up to 2,000 further rows for testing, each
stream's cells absent in 0 to 60 % of the rows of all three; classes even to 1:50, 2 to 12 of them, several labels,
numbers; up to four streams; networks trained for 1 to 30 epochs; each seed draws other rows, another split and another
network. Scores: accuracy; ROC AUC where the rarer of two classes has less than a quarter of the rows; macro-F1
of labels; R² of numbers.

*Best member*: of the fusion, the streams, the baselines and the prior, the one that is best on the *test* rows (mean
over the seeds). That is an oracle, which no decision level can ask: to equal it is more than to choose well. A member
that is absent in a row has the prior there. *Below*: by more than two standard errors (SE) of the paired difference on
the test rows; these are errors of these trained models, and a test row that seeds share counts once. Log loss of
numbers: squared error. All levels decide by the same predictions of the same members for the same validation rows.
"""


def summary(judged: Judged, levels: Sequence[str]) -> list[str]:
    """Return the table of decision levels.

    Args:
        judged: Table to its runs.
        levels: Names of the levels, the project's own first.

    Returns:
        Lines of Markdown.
    """
    num_runs = sum(len(runs) for runs in judged.values())
    least, most = (_chance(judged, levels[0], is_equal) for is_equal in (False, True))
    return [
        f"Command: `make bench-decisions` (one thread; {_seeds(judged)}).",
        *ABOUT.rstrip().splitlines(),
        "",
        f"| {len(judged)} tables, {num_runs} runs | mean of final − best member | worst table | tables below | above "
        "| runs below | log loss above the prior's: tables | by > 2 SE | runs |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_level_row(judged, level) for level in levels),
        "",
        "Wanted of polymodal's own: a mean of −0.003 at least, no table below, no log loss above the prior's.",
        "The best of several on test is partly lucky: by chance alone, a level exactly as good as the best member",
        f"would be below it in {least:.1f} of {len(judged)} tables if the members are as far apart as measured, and in",
        f"{most:.1f} if all were equally good; of the runs one by one, in {_run_chance(judged, levels[0]):.1f} of "
        f"{num_runs}.",
    ]


def _seeds(judged: Judged) -> str:
    """Return which seeds there are, and of how many tables."""
    seeds = [run.dump.seed for runs in judged.values() for run in runs]
    return ", ".join(f"seed {seed} of {seeds.count(seed)} tables" for seed in sorted(set(seeds)))


def _chance(judged: Judged, level: str, is_equal: bool) -> float:
    return sum(chance_of_below(runs, level, is_equal) for runs in judged.values())


def _run_chance(judged: Judged, level: str) -> float:
    return sum(chance_of_below([run], level, is_equal=False) for runs in judged.values() for run in runs)


def _level_row(judged: Judged, level: str) -> str:
    of_tables = {name: judge(runs, level) for name, runs in judged.items()}
    of_runs = [judge([run], level) for runs in judged.values() for run in runs]
    worst = min(of_tables, key=lambda name: of_tables[name].difference)
    tables = list(of_tables.values())
    cells = [
        level,
        signed(float(np.mean([verdict.difference for verdict in tables])), 4),
        f"{signed(of_tables[worst].difference)} ({worst})",
        *map(str, (sum(v.is_below for v in tables), sum(v.is_above for v in tables), sum(v.is_below for v in of_runs))),
        *map(str, (sum(v.has_high_loss for v in tables), sum(v.has_clearly_high_loss for v in tables))),
        str(sum(v.has_high_loss for v in of_runs)),
    ]
    return f"| {' | '.join(cells)} |"


def details(judged: Judged, levels: Sequence[str]) -> list[str]:
    """Return a line for each table.

    Args:
        judged: Table to its runs.
        levels: Names of the levels.

    Returns:
        Lines of Markdown.
    """
    return [
        "Each table: the score of the best member, and how far from it each level's is (± SE for the first; bold:",
        "below); the log loss of the first level, and the prior's.",
        "",
        "| table (streams) | score | validation + test rows | best member | its score | "
        f"{' | '.join(levels)} | log loss |",
        f"|---|---|---|---|---|{'---|' * len(levels)}---|",
        *(_table_row(name, runs, levels) for name, runs in judged.items()),
    ]


def _table_row(name: str, runs: Sequence[JudgedRun], levels: Sequence[str]) -> str:
    verdicts = [judge(runs, level) for level in levels]
    own, dump = verdicts[0], runs[0].dump
    best = own.best.replace(PRIOR, "prior").replace("baseline:", "").replace("stream:", "stream ")
    cells = [
        f"{name} ({len(dump.streams)})",
        runs[0].score,
        f"{len(dump.validation.truth)} + {len(dump.test.truth):,}",
        best,
        f"{own.best_score:.3f}",
        f"{_shown(own)} ± {own.error:.3f}",
        *map(_shown, verdicts[1:]),
        f"{own.loss:.3f} / {own.prior_loss:.3f}",
    ]
    return f"| {' | '.join(cells)} |"


def _shown(verdict: Verdict) -> str:
    text = signed(verdict.difference)
    return f"**{text}**" if verdict.is_below else text


def signed(value: float, digits: int = 3) -> str:
    """Return a number with its sign.

    Args:
        value: The number.
        digits: Decimal places.

    Returns:
        Such as "−0.012" or "+0.003".
    """
    return f"{value:+.{digits}f}".replace("-", "−")
