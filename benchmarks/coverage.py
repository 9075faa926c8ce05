"""Coverage beside the promise, on every classification and regression dataset, written to docs/benchmarks.md.

Run it with ``make bench-coverage``. Each model is trained once, fast and small. Then validation and test rows are dealt
anew 20 times: the ensemble is fitted and calibrated on one part, and its sets and intervals are counted on the other,
as they are and with half of the cells of each stream removed. Two tables are trained anew 20 times as well. What is
finished is kept in ``runs/coverage`` and not repeated: remove the folder after a change.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coverage_cases import CASES, RERUN, Case
from polymodal.certainty.calibration import Calibration
from polymodal.certainty.coverage import LEVELS, Kept, expected_range, kept_by_intervals, kept_by_sets
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table, read_table
from polymodal.ensemble.ensemble import Ensemble
from polymodal.ensemble.ensemble_weights import MemberRows, fit_ensemble, member_present
from polymodal.model.fit_certainty import calibrate
from polymodal.model.fit_ensemble import HeldOutRows, held_out_rows
from polymodal.model.prediction_sets import answer_scores, number_intervals, set_thresholds
from polymodal.progress import SilentProgress
from polymodal.runs.data_module import Tables
from polymodal.runs.options import RunOptions, build_run_config
from polymodal.runs.run import Run, execute
from polymodal.targets import AnyTarget
from sections import replace_section

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("POLYMODAL_DATA", REPOSITORY.parent / "shared" / "data"))
RUNS = REPOSITORY / "runs" / "coverage"
CACHE = ArrayCache.default()
SPLITS = 20
TEST_OFFSET = 10**6
"""Added to the numbers of test rows, so that they differ from those of validation rows."""


QUICK = {"num_threads": 1, "width": 32}


ABOUT = (
    "What sets and intervals hold beside the promise, with models of a few seconds of training. Validation and test "
    "rows are dealt anew 20 times: on one part the ensemble is fitted and calibrated, on the other the truth is "
    "counted. Rows are those of calibration with no stream absent, and those that are counted. Three numbers count "
    "the splits whose share lies within the 95 % range of a kept promise (a beta-binomial: both parts are drawn), "
    "above it and below it; below it should be about one in forty. Above it are promises that the best label alone "
    "exceeds, and rows with nothing present, where all scores are ties. “Half removed” has half of the cells of one "
    "stream removed, for each stream in turn, and with three streams for each pair of them. The official split "
    "calibrates on validation rows and counts on test rows: where these come from another source, rows are not "
    "exchangeable, and nothing is promised."
)
COUNTS = "within / above / below"
HEADING = (
    ABOUT,
    "",
    f"| dataset, target | rows | promised | held | {COUNTS} | set size or width | half removed: held | {COUNTS} | "
    "official split | |",
    "|---|---|---|---|---|---|---|---|---|---|",
)
RERUN_HEADING = (
    "",
    "Trained anew for each split of all rows, the promise counted on test rows:",
    "",
    f"| dataset | rows | promised | held | {COUNTS} |",
    "|---|---|---|---|---|",
)


@dataclass(frozen=True)
class Counted:
    """What one split showed at one promise.

    Attributes:
        kept: Sets or intervals of the test rows as they are.
        halved: Streams to the same with half of their cells removed.
        num_calibration: Rows that chose the threshold.
        num_calibration_without: Streams to the rows that chose the threshold where they are absent.
        is_single: Whether each set is the best label alone.
        is_number: Whether it has intervals.
    """

    kept: Kept
    halved: dict[frozenset[str], Kept]
    num_calibration: int
    num_calibration_without: dict[frozenset[str], int]
    is_single: bool
    is_number: bool


def main() -> None:
    """Run what is asked for; write the section if that is everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=None, help="names of datasets; prints only")
    parser.add_argument("--splits", type=int, default=SPLITS)
    asked = parser.parse_args()
    cases = [case for case in CASES if asked.only is None or case.name in asked.only]
    lines = list(HEADING)
    for case in cases:
        lines += _kept_lines(f"{case.name}-{asked.splits}", partial(_case_lines, case, asked.splits))
    lines += RERUN_HEADING
    for case in cases:
        if case.name in RERUN:
            lines += _kept_lines(f"{case.name}-anew-{asked.splits}", partial(_rerun, case, asked.splits))
    text = "\n".join(lines)
    print(text)
    if asked.only is None and asked.splits == SPLITS:
        replace_section(REPOSITORY / "docs" / "benchmarks.md", "coverage", text)


def _kept_lines(name: str, make: Callable[[], Iterable[str]]) -> list[str]:
    """Return lines that were made before, or make and keep them."""
    path, started = RUNS / f"{name}.md", (time.perf_counter(), time.process_time())
    if not path.is_file():
        text = "\n".join(make())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
        seconds = time.perf_counter() - started[0], time.process_time() - started[1]
        print(f"{name}: {seconds[0]:.0f} s, {seconds[1]:.0f} s of CPU", flush=True)
    return path.read_text(encoding="utf-8").splitlines()


def _case_lines(case: Case, num_splits: int) -> Iterator[str]:
    run = train(case, _tables(case))
    for name in case.targets:
        own, pool = pool_rows(run, name)
        target = run.model.targets[name]
        natural = count(target, own, run.model.config.seed, pool)
        splits = [count(target, *deal(pool, len(own.members[0].rows), seed), pool) for seed in range(num_splits)]
        yield from _lines(case, name, natural, splits)


def _tables(case: Case, seed: int = 0) -> dict[str, Table]:
    """Read the official splits, at most so many rows of each."""
    random, found = np.random.default_rng(seed), {}
    for split, most in zip(("train", "validation", "test"), case.rows, strict=True):
        table = read_table(DATA / case.name / f"{split}.csv")
        found[split] = table.take(np.sort(random.permutation(table.num_rows)[:most]))
    return found


def _redealt(case: Case, seed: int) -> dict[str, Table]:
    """Deal the rows of all official splits anew."""
    parts = [read_table(DATA / case.name / f"{split}.csv") for split in ("train", "validation", "test")]
    columns = {name: [cell for part in parts for cell in part.columns[name]] for name in parts[0].columns}
    table = Table(columns, folder=parts[0].folder, name=case.name)
    order = np.random.default_rng([seed, 7]).permutation(table.num_rows)
    ends = np.cumsum(RERUN[case.name])
    dealt = np.split(order[: ends[-1]], ends[:-1])
    pairs = zip(("train", "validation", "test"), dealt, strict=True)
    return {split: replace(table.take(np.sort(rows)), name=split) for split, rows in pairs}


def train(case: Case, tables: Mapping[str, Table], seed: int = 0) -> Run:
    """Train a small model.

    Args:
        case: The dataset.
        tables: Split to table.
        seed: Of the run.

    Returns:
        The finished run.
    """
    options = RunOptions(preset="fast", drop=case.drop, settings={**QUICK, **case.settings})
    config = build_run_config(tables["train"], case.targets, options, seed)
    return execute(Tables(**tables), config, CACHE, SilentProgress())


def pool_rows(run: Run, name: str) -> tuple[HeldOutRows, HeldOutRows]:
    """Predict validation and test rows with every member.

    Args:
        run: The run.
        name: The target.

    Returns:
        The validation rows, and these with the test rows, whose numbers are raised.
    """
    splits = run.data_module.splits
    own = held_out_rows(run.model, splits["validation"], CACHE, run.baselines)[1][name]
    test = held_out_rows(run.model, splits["test"], CACHE, None)[1][name]
    return own, replace(own, members=_pooled(own.members, test.members), further=_pooled(own.further, test.further))


def _pooled(own: Sequence[MemberRows], test: Sequence[MemberRows]) -> list[MemberRows]:
    return [_join(part, replace(more, rows=more.rows + TEST_OFFSET)) for part, more in zip(own, test, strict=True)]


def _join(first: MemberRows, second: MemberRows) -> MemberRows:
    return MemberRows(
        members={name: np.concatenate([values, second.members[name]]) for name, values in first.members.items()},
        visible={stream: np.concatenate([mask, second.visible[stream]]) for stream, mask in first.visible.items()},
        truth=np.concatenate([first.truth, second.truth]),
        rows=np.concatenate([first.rows, second.rows]),
    )


def deal(pool: HeldOutRows, num_rows: int, seed: int) -> tuple[HeldOutRows, int]:
    """Deal calibration rows.

    Args:
        pool: Validation and test rows.
        num_rows: How many.
        seed: Of the draw.

    Returns:
        The calibration rows, and the seed.
    """
    drawn = np.random.default_rng([seed, 3]).permutation(pool.members[0].rows)[:num_rows]
    return _with_rows(pool, lambda part: np.isin(part.rows, drawn)), seed


def _with_rows(pool: HeldOutRows, chosen: Callable[[MemberRows], NDArray[np.bool_]]) -> HeldOutRows:
    members, further = ([part.take(chosen(part)) for part in parts] for parts in (pool.members, pool.further))
    return replace(pool, members=members, further=further)


def count(target: AnyTarget, held_out: HeldOutRows, seed: int, pool: HeldOutRows) -> dict[float, Counted]:
    """Fit the ensemble and the calibration on some rows, and count on the others of the pool.

    Args:
        target: The target.
        held_out: Calibration rows.
        seed: Of the folds.
        pool: All rows.

    Returns:
        Promise to what was counted.
    """
    ensemble = fit_ensemble(held_out.kind, held_out.members, held_out.prior, seed, held_out.baselines)
    calibration = calibrate(target, held_out, ensemble, seed)
    rest = _with_rows(pool, lambda part: ~np.isin(part.rows, held_out.members[0].rows))
    full = rest.members[0]
    masked = [*rest.members[1:], *rest.further]
    masked = masked or [replace(full, visible={s: np.zeros_like(mask) for s, mask in full.visible.items()})]
    halved = {_masked_streams(part): _half_removed(full, part, seed) for part in masked}
    sizes = {frozenset(group.absent): group.num_rows for group in calibration.groups}
    found = {}
    for level in LEVELS:
        single = set_thresholds(calibration, full.visible, level)
        found[level] = Counted(
            kept_on(target, ensemble, calibration, full, held_out.prior, level),
            {s: kept_on(target, ensemble, calibration, rows, held_out.prior, level) for s, rows in halved.items()},
            sizes.get(frozenset(), len(held_out.members[0].rows)),
            {streams: sizes.get(streams, 0) for streams in halved},
            target.kind == "category" and bool((single == 0).all()),
            target.kind == "number",
        )
    return found


def _masked_streams(part: MemberRows) -> frozenset[str]:
    return frozenset(stream for stream, mask in part.visible.items() if not mask.any())


def _half_removed(full: MemberRows, without: MemberRows, seed: int) -> MemberRows:
    """Replace half of the rows by what is predicted for them without the stream."""
    removed = np.random.default_rng([seed, 5]).permutation(without.rows)[: len(full.rows) // 2]
    return _join(full.take(~np.isin(full.rows, removed)), without.take(np.isin(without.rows, removed)))


def kept_on(
    target: AnyTarget, ensemble: Ensemble, calibration: Calibration, rows: MemberRows, prior: Any, level: float
) -> Kept:
    """Count what sets or intervals of rows hold.

    Args:
        target: The target.
        ensemble: Its ensemble.
        calibration: Its calibration.
        rows: The rows.
        prior: Its prior.
        level: The promise.

    Returns:
        What they hold.
    """
    present = {name: member_present(name, rows.visible) for name in rows.members}
    prediction = ensemble.combine(rows.members, present, prior, rows.visible)
    thresholds = set_thresholds(calibration, rows.visible, level)
    if calibration.difficulty is not None:
        difficulty = calibration.difficulty.of(ensemble.spread(rows.members, present, prediction), prediction)
        return kept_by_intervals(number_intervals(prediction, difficulty, thresholds), rows.truth)
    return kept_by_sets(target.kind, answer_scores(target, prediction) <= thresholds[:, None], rows.truth)


def _lines(
    case: Case, name: str, natural: Mapping[float, Counted], splits: Sequence[Mapping[float, Counted]]
) -> Iterator[str]:
    for level in LEVELS:
        found, own = [split[level] for split in splits], natural[level]
        places = [_place(split.kept, level, split.num_calibration) for split in found]
        halved = [(split, stream, kept) for split in found for stream, kept in split.halved.items()]
        halved_places = [_place(kept, level, _fewest(split, stream)) for split, stream, kept in halved]
        single = sum(split.is_single for split in found)
        cells = [
            f"{case.name}, {name}",
            f"{found[0].num_calibration} + {len(found[0].kept.held)}",
            _percent(level, 0),
            _shares([split.kept.held.mean() for split in found]),
            _counts(places),
            f"{np.median([np.median(split.kept.sizes) for split in found]):.3g}"
            if own.is_number
            else f"{np.mean([split.kept.sizes.mean() for split in found]):.2f}",
            _shares([kept.held.mean() for _, _, kept in halved]),
            _counts(halved_places),
            f"{_percent(own.kept.held.mean())}, {_place(own.kept, level, own.num_calibration)}",
            "; ".join(filter(None, [f"best label alone in {single}" if single else "", case.remark])),
        ]
        yield f"| {' | '.join(cells)} |"


def _fewest(split: Counted, streams: frozenset[str]) -> int:
    """Return the calibration rows of the smaller of the two groups that rows with and without a stream have."""
    return min(split.num_calibration, split.num_calibration_without[streams] or split.num_calibration)


def _place(kept: Kept, level: float, num_calibration: int) -> str:
    """Say where the measured share is: within the 95 % range of a kept promise, above, or below."""
    low, high = expected_range(level, len(kept.held), num_calibration)
    share = float(kept.held.mean())
    return "below" if share < low else "above" if share > high else "within"


def _counts(places: Sequence[str]) -> str:
    return " / ".join(str(places.count(place)) for place in ("within", "above", "below"))


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def _shares(values: Sequence[float]) -> str:
    return f"{_percent(float(np.mean(values)))} ({_percent(min(values))} to {_percent(max(values))})"


def _rerun(case: Case, num_splits: int) -> Iterator[str]:
    found: dict[float, list[dict[str, Any]]] = {level: [] for level in LEVELS}
    for seed in range(num_splits):
        run = train(case, _redealt(case, seed), seed)
        for entry in run.evaluation.report["certainty"][case.targets[0]]["promises"]:
            found[entry["promised"]].append(entry)
    for level, entries in found.items():
        rows = " + ".join(map(str, RERUN[case.name]))
        places = [{"kept": "within", "more": "above", "less": "below"}[entry["verdict"]] for entry in entries]
        held = _shares([entry["measured"] for entry in entries])
        yield f"| {case.name} | {rows} | {_percent(level, 0)} | {held} | {_counts(places)} |"


if __name__ == "__main__":
    main()
