"""Compares two profiles, column by column and measure by measure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from polymodal.data.profiles.measures import DAYS
from polymodal.data.profiles.profile import OTHER_VALUES, ColumnProfile, Distribution, Profile
from polymodal.drift.comparison import Chart, Comparison
from polymodal.drift.two_samples import TestResult, compare_counts, compare_numbers, compare_shares
from polymodal.modalities.date_text import EPOCH

BINS = 24
SHOWN_LABELS = 12
SHOWN_LETTERS = 40
BEYOND = 0.02
"""Share of the new rows beyond the range of training rows from which on it is told."""
OUTER = 0.005
"""Share of either sample beyond the outer edge of a chart, on each side."""


def compare_profiles(reference: Profile, new: Profile, known: Mapping[str, frozenset[str]]) -> Iterator[Comparison]:
    """Compare the columns that both profiles have.

    Args:
        reference: The training rows'.
        new: The new rows'.
        known: Category column to every label of the training rows.

    Yields:
        One comparison a test, not yet corrected for their number.
    """
    for name, column in reference.columns.items():
        if name in new.columns:
            yield from _compare_columns(column, new.columns[name], known.get(name))


def _compare_columns(
    reference: ColumnProfile, new: ColumnProfile, known: frozenset[str] | None
) -> Iterator[Comparison]:
    if reference.role != "prediction" and (reference.present < reference.rows or new.present < new.rows):
        yield _compare_missing(reference, new)
    distributions = {found.measure: found for found in new.distributions}
    for found in reference.distributions:
        other = distributions.get(found.measure)
        if other is None or bool(found.counts) != bool(other.counts):
            continue
        compare = _compare_labels if found.counts else _compare_numbers
        yield compare(reference, found, other, known)


def _compare_missing(reference: ColumnProfile, new: ColumnProfile) -> Comparison:
    before, after = ((column.rows - column.present, column.rows) for column in (reference, new))
    shares = [before[0] / before[1], after[0] / after[1]]
    return _comparison(
        reference,
        "missing",
        compare_shares(before, after),
        f"missing or unreadable {_percent(shares[0])} → {_percent(shares[1])}",
        Chart("shares", "", [], ["missing", "there"], [shares[0], 1 - shares[0]], [shares[1], 1 - shares[1]]),
    )


def _compare_numbers(
    column: ColumnProfile,
    reference: Distribution,
    new: Distribution,
    known: frozenset[str] | None,  # noqa: ARG001  (all comparisons are called alike)
) -> Comparison:
    medians = [show_number(float(np.median(found.numbers)), found.unit) for found in (reference, new)]
    sentence = f"median {medians[0]} → {medians[1]}"
    low, high = reference.numbers[0], reference.numbers[-1]
    beyond = float(((new.numbers < low) | (new.numbers > high)).mean())
    if beyond >= BEYOND and column.role != "prediction":
        shown = f"{show_number(low, new.unit)} to {show_number(high, new.unit)}"
        sentence += f"; {_percent(beyond)} lie beyond {shown}"
    result = compare_numbers(reference.numbers, new.numbers)
    return _comparison(
        column, reference.measure, result, sentence, histogram(reference.numbers, new.numbers, reference.unit)
    )


def histogram(reference: NDArray[np.float64], new: NDArray[np.float64], unit: str) -> Chart:
    """Count two samples in the same bins.

    Args:
        reference: Numbers, at least one.
        new: Numbers, at least one.
        unit: Their unit.

    Returns:
        Shares of each sample; a few numbers far away are counted in the outer bins.
    """
    low = min(float(np.quantile(numbers, OUTER)) for numbers in (reference, new))
    high = max(float(np.quantile(numbers, 1 - OUTER)) for numbers in (reference, new))
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    edges = np.linspace(low, high, BINS + 1)
    return Chart("numbers", unit, edges.tolist(), [], *(_shares_of_bins(sample, edges) for sample in (reference, new)))


def _shares_of_bins(numbers: NDArray[np.float64], edges: NDArray[np.float64]) -> list[float]:
    counts, _ = np.histogram(np.clip(numbers, edges[0], edges[-1]), edges)
    return [float(share) for share in counts / len(numbers)]


def _compare_labels(
    column: ColumnProfile, reference: Distribution, new: Distribution, known: frozenset[str] | None
) -> Comparison:
    before, after = (_frequencies(found.counts) for found in (reference, new))
    seen = (known or frozenset()) | before.keys() | {OTHER_VALUES}
    can_be_new = known is not None or OTHER_VALUES not in before
    fresh = [(label, share) for label, share in after.items() if label not in seen] if can_be_new else []
    changes = sorted({**before, **after}, key=lambda label: -abs(after.get(label, 0) - before.get(label, 0)))
    if fresh:
        sentence = "new: " + ", ".join(f"{_quoted(label)} ({_percent(share)})" for label, share in fresh[:3])
        sentence += f" and {len(fresh) - 3} more" if len(fresh) > 3 else ""
    else:
        most = changes[0]
        sentence = f"{_quoted(most)} {_percent(before.get(most, 0))} → {_percent(after.get(most, 0))}"
    labels = changes[:SHOWN_LABELS]
    shares = [[found.get(label, 0.0) for label in labels] for found in (before, after)]
    chart = Chart("shares", "", [], [_cut(label) for label in labels], *shares)
    return _comparison(
        column, reference.measure, compare_counts(reference.counts, new.counts), sentence, chart, fresh[:SHOWN_LABELS]
    )


def _comparison(
    column: ColumnProfile,
    measure: str,
    result: TestResult,
    sentence: str,
    chart: Chart,
    fresh: list[tuple[str, float]] | None = None,
) -> Comparison:
    return Comparison(
        column.name,
        column.role,
        column.modality,
        measure,
        result.test,
        result.effect,
        result.p_value,
        sentence,
        chart,
        new_values=fresh or [],
    )


def _frequencies(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values())
    return {label: count / total for label, count in counts.items()}


def show_number(value: float, unit: str) -> str:
    """Write a number as people read it.

    Args:
        value: The number.
        unit: Its unit; days since 1970 are written as a date.

    Returns:
        Three significant digits, or a date.

    Example:
        >>> show_number(0.0, DAYS), show_number(12.3456, "seconds")
        ('1970-01-01', '12.3')
    """
    if unit == DAYS:
        try:
            return (EPOCH + timedelta(days=value)).date().isoformat()
        except OverflowError:
            return f"{value:.0f} days"
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.3g}"
    return text.replace("-", "−")


def _percent(share: float) -> str:
    return "0%" if not share else f"{share:.1%}" if share < 0.1 else f"{share:.0%}"


def _quoted(label: str) -> str:
    return repr(_cut(label))


def _cut(label: str) -> str:
    return label if len(label) <= SHOWN_LETTERS else f"{label[:SHOWN_LETTERS]}..."
