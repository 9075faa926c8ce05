"""How well absent cells are recovered, in words and for tables: the network beside ridge regression and the mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polymodal.report.families import family_title, group_families
from polymodal.report.wording import format_number, is_number

TITLES = {"r2": "R²", "accuracy": "right labels", "nearer": "nearer"}
"""Metric of a recovered column to its title."""
METHOD_TITLES = {"network": "network", "ridge": "ridge", "mean": "typical value"}
MEANINGS = (
    "R²: share of the variance about the training mean that is explained, 0 for the mean. Right labels: share of rows. "
    "Nearer: share of the remembered training rows that are less like the true cell than the retrieved one, 50% by "
    "chance. Brackets: mean error in the column's own units."
)


@dataclass(frozen=True)
class RecoveryRow:
    """One column, or several whose names differ in a number alone.

    Attributes:
        column: The column, or the first and the last one.
        rows: Rows whose cells were hidden.
        metric: Title of the metric.
        scores: Method to its score as text, the mean over the columns, with the mean error of a single column.
        verdict: Whether the network beats ridge regression.
        returned: What is returned for absent cells.
        form: What a recovered cell looks like.
        sentence: Both in words.
        is_good: Whether the network is clearly better than ridge regression in most of the columns.
    """

    column: str
    rows: int
    metric: str
    scores: dict[str, str]
    verdict: str
    returned: str
    form: str
    sentence: str
    is_good: bool


def recovery_rows(entries: Sequence[Mapping[str, Any]]) -> list[RecoveryRow]:
    """Describe how columns are recovered.

    Args:
        entries: ``recovery`` of an evaluation.

    Returns:
        One row a column, or a family of columns.
    """
    groups = group_families(entries, lambda entry: entry["column"], lambda entry: (entry["stream"], entry["metric"]))
    return [_row(group) for group in groups]


def hidden_sentence(entries: Sequence[Mapping[str, Any]], split: str) -> str:
    """Say how recovery was judged.

    Args:
        entries: ``recovery`` of an evaluation.
        split: "test" or "validation".

    Returns:
        Two or three sentences.
    """
    most = max(entry["hidden_with"] for entry in entries)
    together = f" Of a table with many columns up to {most + 1} were hidden together." if most else ""
    return (
        f"Present cells of up to {max(entry['rows'] for entry in entries):,} {split} rows were hidden, a column at a "
        f"time, and recovered from the other cells of the row.{together} What is returned was chosen on validation "
        "rows."
    )


def _row(group: Sequence[Mapping[str, Any]]) -> RecoveryRow:
    first = group[0]
    verdicts = Counter(_verdict(entry) for entry in group)
    returned = Counter(METHOD_TITLES[entry["returned"]] for entry in group)
    scores = {method: _score(group, method) for method in first["scores"]}
    column, metric = family_title([entry["column"] for entry in group]), TITLES[first["metric"]]
    verdict, answer = _counted(verdicts, len(group)), _counted(returned, len(group))
    said = ", ".join(f"{METHOD_TITLES[method]} {score}" for method, score in scores.items())
    return RecoveryRow(
        column=column,
        rows=max(entry["rows"] for entry in group),
        metric=metric,
        scores=scores,
        verdict=verdict,
        returned=answer,
        form=first["form"],
        sentence=f"{column}: {verdict} ({metric}: {said}). Returned: {answer}.",
        is_good=verdicts[BEATS] > len(group) / 2,
    )


BEATS = "the network beats ridge"
NO_BETTER = "the network does not beat ridge"
WORSE = "ridge beats the network"
NO_RIDGE = "no ridge to compare with"
NO_HELP = "nothing beats the typical value"


def _verdict(entry: Mapping[str, Any]) -> str:
    """Compare by the 95 % interval of the difference on the same rows."""
    leads = entry["leads"]
    if max(entry["scores"].values()) <= entry["scores"]["mean"]:
        return NO_HELP
    if "ridge" not in leads:
        return NO_RIDGE
    low, high = leads["ridge"]["interval"]
    return BEATS if low > 0 else WORSE if high < 0 else NO_BETTER


def _counted(counts: Counter[str], number: int) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{count} of {number}: {words}" for words, count in counts.most_common())


def _score(group: Sequence[Mapping[str, Any]], method: str) -> str:
    values = [entry["scores"][method] for entry in group]
    mean = sum(values) / len(values)
    text = f"{mean:.3f}" if group[0]["metric"] == "r2" else f"{100 * mean:.1f}%"
    error = group[0]["errors"].get(method)
    own = f" [{format_number(error)}]" if len(group) == 1 and is_number(error) else ""
    return text.replace("-", "−") + own


def describe_recovery(evaluation: Mapping[str, Any], pictures: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Describe the recovery for the template.

    Args:
        evaluation: The evaluation of the report data.
        pictures: Recovered pictures of some rows, of ``recovered_pictures``.

    Returns:
        Variables of ``recovery.html``; None where nothing is recovered.
    """
    entries = evaluation.get("recovery") or []
    if not entries:
        return None
    methods = [method for method in METHOD_TITLES if any(method in entry["scores"] for entry in entries)]
    return {
        "intro": hidden_sentence(entries, evaluation["split"]),
        "meanings": MEANINGS,
        "methods": [(method, METHOD_TITLES[method]) for method in methods],
        "rows": recovery_rows(entries),
        "pictures": list(pictures),
    }
