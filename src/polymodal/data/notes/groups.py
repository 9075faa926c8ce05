"""Notices of groups (people, recordings, ...) whose rows stand on both sides of a split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from polymodal.arrays import Cell
from polymodal.data.notes.notice import Notice
from polymodal.data.notes.part import Part
from polymodal.data.schema.columns import ColumnSchema
from polymodal.data.schema.schema import LEFT_OUT, Schema
from polymodal.data.tables.splits import group_text
from polymodal.modalities import MODALITIES
from polymodal.modalities.base import quote
from polymodal.modalities.media import unwrap

MOST_ROWS = 200_000
MOST_COLUMNS = 50
MIN_GROUPS = 3
MIN_GROUPS_BY_ID = 10
ROWS_PER_GROUP = 2
WORDS = frozenset({
    "account", "actor", "album", "animal", "annotator", "artist", "author", "batch", "cage", "camera", "case",
    "child", "classroom", "client", "clip", "conversation", "customer", "device", "dialog", "dialogue", "donor",
    "driver", "eid", "employee", "encounter", "episode", "experiment", "experimenter", "family", "farm", "field",
    "game", "group", "hospital", "house", "household", "litter", "match", "member", "mother", "narrator", "owner",
    "parent", "participant", "patient", "person", "pid", "player", "plot", "proband", "pupil", "rater", "reader",
    "recording", "respondent", "sample", "scan", "scanner", "scene", "school", "sensor", "sequence", "session",
    "show", "sid", "singer", "site", "slide", "speaker", "specimen", "station", "student", "subject", "teacher",
    "team", "thread", "track", "trial", "twin", "uid", "unit", "user", "vehicle", "video", "visit", "volunteer",
    "worker",
})  # fmt: skip
"""Names of columns whose values are likely to be groups, if the values repeat."""
SUFFIXES = frozenset({
    "code", "guid", "hash", "id", "ids", "idx", "index", "key", "label", "name", "no", "nr", "num", "number", "ref",
    "uuid",
})  # fmt: skip
NOT_GROUPS = frozenset({
    "category", "class", "color", "colour", "country", "gender", "kind", "label", "lang", "language", "sex",
    "target", "type",
})  # fmt: skip
PREFIX = re.compile(r"(.+?)[_\-. ]+[^_\-. ]*$")


@dataclass(frozen=True)
class _Candidate:
    """Values that may be groups: the columns they are from, the groups of each part, what to say of them and to do."""

    columns: tuple[str, ...]
    groups: list[list[str | None]]
    what: str
    advice: str


def group_notices(schema: Schema, parts: Sequence[Part]) -> list[Notice]:
    """Look for columns and file names that name groups.

    Args:
        schema: Columns, streams and targets.
        parts: The training rows and the other parts; at most 200,000 rows of each are looked at.

    Returns:
        Notices of groups in training and in another part; where there is one part alone, of columns that name groups.
    """
    samples = [part.sample(MOST_ROWS) for part in parts]
    entries = [entry for entry in (*schema.columns, *schema.ignored) if entry.reason != LEFT_OUT and not entry.source]
    classes = {target.name: target.kind for target in schema.targets}
    candidates = [_named(entry.name, samples) for entry in entries if _names_groups(entry.name)][:MOST_COLUMNS]
    for entry in entries:
        if entry.modality in MODALITIES and MODALITIES[entry.modality].is_file:
            candidates += _of_files(entry, samples, [name for name, kind in classes.items() if kind == "category"])
    notices = [_notice(candidate, samples) for candidate in candidates]
    return [notice for notice in notices if notice is not None]


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return [word.rstrip("s") if word.rstrip("s") in WORDS else word for word in re.findall(r"[a-z]+", spaced.lower())]


def _names_groups(name: str) -> bool:
    words = _words(name)
    if not words or NOT_GROUPS & set(words):
        return False
    return _is_id(words) or (set(words) <= WORDS | SUFFIXES and bool(WORDS & set(words)))


def _is_id(words: Sequence[str]) -> bool:
    return words[-1] in ("id", "ids", "uuid", "guid")


def _named(name: str, samples: Sequence[Part]) -> _Candidate:
    flag = f"--group {name}" if re.fullmatch(r"\S+", name) else f"--group {name!r}"
    return _Candidate(
        columns=(name,),
        groups=[list(map(group_text, sample.cells(name))) for sample in samples],
        what=f"{name!r}",
        advice=f"If new rows will be of others, split with {flag}",
    )


def _of_files(entry: ColumnSchema, samples: Sequence[Part], targets: Sequence[str]) -> list[_Candidate]:
    """Return what the names of files may say: the same file in several rows, a folder, or a common beginning."""
    paths = [[_path(cell) for cell in sample.cells(entry.name)] for sample in samples]
    if not any(path for path in paths[0]):
        return []
    labels = [set(map(group_text, samples[0].cells(name))) for name in targets]
    advice = "If new rows will be of others, put this name into a column of its own and split by it with --group"
    readings = (
        ("the file of {name!r}", lambda path: path),
        ("the folder of the files of {name!r}", _folder),
        ("the beginning of the file names of {name!r}", _beginning),
    )
    found = []
    for what, read in readings:
        groups = [[None if path is None else read(path) for path in part] for part in paths]
        names = {group for group in groups[0] if group}
        if _are_groups(groups[0], MIN_GROUPS) and not any(_tell_classes(names, label) for label in labels):
            found.append(_Candidate((entry.name,), groups, what.format(name=entry.name), advice))
    return found[:1]


def _tell_classes(names: set[str], labels: set[str | None]) -> bool:
    """Folders of classes are no groups."""
    return len(names) <= len(labels) or {name.rpartition("/")[2] for name in names} <= labels


def _path(cell: Cell) -> str | None:
    content = unwrap(cell)
    return content.replace("\\", "/") if isinstance(content, str) and not content.lstrip().startswith("[") else None


def _folder(path: str) -> str | None:
    return path.rpartition("/")[0] or None


def _beginning(path: str) -> str | None:
    match = PREFIX.fullmatch(path.rpartition("/")[2].rpartition(".")[0])
    return match.group(1) if match else None


def _are_groups(groups: Iterable[str | None], fewest: int) -> bool:
    known = [group for group in groups if group]
    distinct = len(set(known))
    return distinct >= fewest and len(known) >= ROWS_PER_GROUP * distinct


def _notice(candidate: _Candidate, samples: Sequence[Part]) -> Notice | None:
    fewest = MIN_GROUPS if WORDS & set(_words(candidate.columns[0])) or "of" in candidate.what else MIN_GROUPS_BY_ID
    training = candidate.groups[0]
    if not _are_groups(training, fewest):
        return None
    shown = quote(next(group for group in training if group))
    if len(samples) == 1:
        sentence = (
            f"{candidate.what} looks like a group (such as {shown}): a random split puts rows of one on both sides, "
            f"so that scores say little about new ones. {candidate.advice}."
        )
        return Notice(kind="group", columns=candidate.columns, of_rows=len(samples[0]), sentence=_capital(sentence))
    known, sides, rows = set(training) - {None}, [], 0
    for sample, groups in zip(samples[1:], candidate.groups[1:], strict=True):
        shared = sum(group in known for group in groups)
        rows += shared
        sides += [f"{shared:,} of {sample.of('row')}"] if shared else []
    if not sides:
        return None
    sentence = (
        f"{candidate.what} looks like a group (such as {shown}) and stands on both sides of the split: "
        f"{' and '.join(sides)} are of one that training has, so scores say little about new ones. {candidate.advice}."
    )
    total = sum(map(len, samples[1:]))
    return Notice(kind="group", columns=candidate.columns, rows=rows, of_rows=total, sentence=_capital(sentence))


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
