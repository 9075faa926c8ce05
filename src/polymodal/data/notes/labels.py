"""Notices of classes with few rows and of classes of unequal size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from polymodal.arrays import Cell
from polymodal.data.notes.notice import Notice, join_words
from polymodal.data.notes.part import Part
from polymodal.data.schema.columns import TargetSchema
from polymodal.data.schema.samples import is_absent
from polymodal.data.schema.schema import Schema
from polymodal.data.tables.splits import group_text
from polymodal.modalities.label_lists import labels_of

FEW_ROWS = 5
IMBALANCE_RATIO = 10
MAX_NAMED = 5
CLASS_KINDS = frozenset({"category", "categories"})


def label_notices(schema: Schema, parts: Sequence[Part]) -> list[Notice]:
    """Count the rows of each class in each part.

    Args:
        schema: Targets.
        parts: The training rows and the other parts.

    Returns:
        Notices of classes with fewer than five rows, and of targets whose largest class has more than ten times the
        rows of the smallest.
    """
    notices: list[Notice] = []
    for target in schema.targets:
        if target.kind not in CLASS_KINDS:
            continue
        counts = [_counts(part.cells(target.name), target.kind) for part in parts]
        notices += _small(target, parts, counts)
        notices += _imbalance(target, parts[0], counts[0])
    return notices


def _counts(cells: Sequence[Cell], kind: str) -> Counter[str]:
    present = [cell for cell in cells if not is_absent(cell)]
    if kind == "categories":
        return Counter(label for cell in present for label in set(labels_of(cell)))
    return Counter(text for cell in present if (text := group_text(cell)) is not None)


def _small(target: TargetSchema, parts: Sequence[Part], counts: Sequence[Counter[str]]) -> list[Notice]:
    small = [name for name in counts[0] if any(found[name] < FEW_ROWS for found in counts)]
    if not small:
        return []
    small.sort(key=lambda name: [found[name] for found in counts])
    named = [f"{name!r} ({_rows_of(name, parts, counts)})" for name in small[:MAX_NAMED]]
    more = [f"{len(small) - MAX_NAMED:,} more"] if len(small) > MAX_NAMED else []
    is_hard = any(counts[0][name] < FEW_ROWS for name in small)
    effect = (
        "Such classes are hard to learn, and their scores are rough" if is_hard else "Scores of such classes are rough"
    )
    where = f"{FEW_ROWS} rows in a part of the split" if len(parts) > 1 else f"{FEW_ROWS} rows"
    have = "has" if len(small) == 1 else "have"
    sentence = (
        f"{target.name!r}: {len(small):,} of {len(counts[0]):,} classes "
        f"{have} fewer than {where}: {join_words([*named, *more])}. {effect}."
    )
    rows = sum(counts[0][name] for name in small)
    return [Notice(kind="small_class", columns=(target.name,), rows=rows, of_rows=len(parts[0]), sentence=sentence)]


def _rows_of(name: str, parts: Sequence[Part], counts: Sequence[Counter[str]]) -> str:
    return ", ".join(f"{found[name]:,} {part.name}".strip() for part, found in zip(parts, counts, strict=True))


def _imbalance(target: TargetSchema, part: Part, counts: Counter[str]) -> list[Notice]:
    if target.kind != "category" or len(counts) < 2:
        return []
    (largest, most), (smallest, fewest) = counts.most_common()[0], counts.most_common()[-1]
    if most <= IMBALANCE_RATIO * fewest:
        return []
    sentence = (
        f"{target.name!r} is imbalanced: {largest!r} has {most:,} of the {part.of('row')}, {smallest!r} "
        f"{fewest:,}. Accuracy says little here; look at balanced accuracy, macro F1 or AUC. Labels for balanced "
        "classes: --set decision=balanced."
    )
    return [Notice(kind="imbalance", columns=(target.name,), rows=fewest, of_rows=len(part), sentence=sentence)]
