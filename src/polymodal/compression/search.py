"""The search: trains, prunes and combines, and measures every model that comes of it on the same rows."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

from polymodal.compression.candidate import (
    Candidate,
    build_candidate,
    example_scores,
    idle_streams,
    keep_members,
    validation_scores,
)
from polymodal.compression.deployed import save_slim
from polymodal.compression.limits import Limits
from polymodal.compression.measure import folder_bytes, ms_of_row, network_ms_of_row
from polymodal.compression.points import ORIGINAL, Point, TargetScore
from polymodal.compression.rows import CompressionRows
from polymodal.compression.student_plan import StudentPlan, plan_students
from polymodal.compression.students import FINE_TUNING_EPOCHS, read_by_student, train_pruned, train_student
from polymodal.compression.work import Work
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table
from polymodal.errors import ConfigError
from polymodal.model.batches import Examples
from polymodal.model.build import num_parameters
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import Progress, format_seconds
from polymodal.runs.model import Model

HOPELESS_POINTS = 5.0
"""Points beyond the allowed drop from which no narrower student is tried."""
STUDENT_EFFORT = 0.6
"""Training time of a student beside that of the original, roughly."""
KEPT_SHARES = (0.5, 0.25)
"""Shares of heads, hidden units and channels that pruning keeps."""
SUBSETS: dict[str, frozenset[str]] = {
    "network + linear": frozenset({"network", "linear"}),
    "network only": frozenset({"network"}),
}
"""Members of the ensemble that are tried beside all of them."""
BASELINE_SUBSETS: dict[str, frozenset[str]] = {
    "baselines only": frozenset({"linear", "boosting"}),
    "linear only": frozenset({"linear"}),
}


class Search:
    """Everything that is tried for one model.

    Attributes:
        original: The model to compress.
        rows: Rows to learn from, to choose by and to report on.
        points: What was tried so far, the original first.
        candidates: Name of a point to its model.
        work: Keeps trained networks of an interrupted search.
        cache: Cache of decoded arrays and of the baselines' predictions.
        notices: What was left out, and why.
    """

    def __init__(
        self,
        original: TrainedModel,
        rows: CompressionRows,
        table: Table,
        limits: Limits,
        work: Work,
        progress: Progress,
    ) -> None:
        """Prepare the search.

        Args:
            original: The model to compress.
            rows: Decoded rows.
            table: The validation rows as a table, for timing.
            limits: What is asked for.
            work: Keeps trained networks of an interrupted search.
            progress: Reports progress.
        """
        self.original, self.rows, self.table = original, rows, table
        self.points: list[Point] = []
        self.notices = list(rows.notices)
        self.candidates: dict[str, Candidate] = {}
        self._folder = work.original
        self.work, self._limits, self._progress = work, limits, progress
        self.cache = ArrayCache.default()

    def run(self) -> None:
        """Try everything."""
        self._progress.message(self._estimate())
        base = self._add_original()
        self._add_subsets(base, "")
        idle = idle_streams(base, self._limits.max_drop)
        self._train_pruned()
        networks = [base, *self._train_students(plan_students(self.original, idle))]
        self._add_baselines_alone(networks[-1])

    def test_scores(self, chosen: Point | None) -> dict[str, dict[str, TargetScore]]:
        """Score the original and the chosen point on test rows, which nothing was chosen by.

        Args:
            chosen: The point.

        Returns:
            "original" and "chosen" to target to score; empty without test rows.
        """
        if self.rows.test is None:
            return {}
        before = example_scores(self.original, self.rows.test, self.cache)
        found = {ORIGINAL: before}
        if chosen is not None:
            candidate = self.candidates[chosen.name]
            after = example_scores(candidate.model, self.test_rows(candidate), self.cache)
            found["chosen"] = {name: score.against(before[name]) for name, score in after.items()}
        return found

    def test_rows(self, candidate: Candidate) -> Examples:
        """Return the test rows, or the validation rows where there are none, as a candidate reads them.

        Args:
            candidate: The candidate.

        Returns:
            The rows.
        """
        if self.rows.test is None:
            return candidate.validation
        return read_by_student(self.rows.test, self.original) if candidate.method == "distilled" else self.rows.test

    def _estimate(self) -> str:
        plans = plan_students(self.original)
        seconds = self.original.report_data.get("seconds", {}).get("train")
        rows = ", ".join(f"{number:,} {split}" for split, number in self.rows.counts.items())
        effort = len(plans) * STUDENT_EFFORT + len(KEPT_SHARES) * FINE_TUNING_EPOCHS
        about = f", about {format_seconds(seconds * effort)} by what the run took" if seconds else ""
        return f"{len(plans)} students and {len(KEPT_SHARES)} pruned networks are trained on {rows} rows{about}."

    def _add_original(self) -> Candidate:
        with self._progress.phase("scoring the original", None):
            description = "the model as it was trained"
            base = build_candidate(
                ORIGINAL, "original", description, self.original, self.rows, self.rows.validation, self.cache
            )
            scores = validation_scores(base, self.cache)
            num_bytes = folder_bytes(self._folder) if self._folder is not None else self._bytes_of(self.original)
            self._measure(dataclasses.replace(base, model=self.original), scores, num_bytes)
        return base

    def _train_pruned(self) -> None:
        for share in KEPT_SHARES:
            name = f"pruned-{share:.0%}".rstrip("%")
            description = f"the network with {share:.0%} of its heads, hidden units and channels, trained further"
            try:
                model = self.work.load(name)
                if model is None:
                    self._progress.message(f"Pruning: {description}.")
                    model = train_pruned(share, self.original, self.rows, self._progress)
                    self.work.save(name, model)
            except ConfigError as error:
                self.notices.append(f"Nothing was pruned: {error}")
                return
            rows = self.rows
            candidate = build_candidate(name, "pruned", description, model, rows, rows.validation, self.cache)
            self._add(candidate)
            self._add_subsets(candidate, f"{name}, ")

    def _train_students(self, plans: list[StudentPlan]) -> Iterator[Candidate]:
        for number, plan in enumerate(plans, start=1):
            self._progress.message(f"Student {number} of {len(plans)}: {plan.description}.")
            try:
                student, validation = self._trained(plan)
            except ConfigError as error:
                self.notices.append(f"{plan.name} was left out: {error}")
                continue
            rows = dataclasses.replace(self.rows, fitted=None) if plan.without else self.rows
            student = dataclasses.replace(student, features=None, baselines={}) if plan.without else student
            candidate = build_candidate(plan.name, "distilled", plan.description, student, rows, validation, self.cache)
            self._add(candidate)
            self._add_subsets(candidate, f"{plan.name}, ")
            yield candidate
            if min(point.drop for point in self._points_of(plan.name)) > self._limits.max_drop + HOPELESS_POINTS:
                self.notices.append(f"{plan.name} loses far more than is allowed: no narrower student was trained.")
                return

    def _trained(self, plan: StudentPlan) -> tuple[TrainedModel, Examples]:
        kept = self.work.load(plan.name)
        if kept is not None:
            self._progress.message(f"{plan.name} was trained before; it is taken from {self.work.folder}.")
            return kept, read_by_student(self.rows.validation, self.original)
        student, validation = train_student(plan, self.original, self.rows, self._progress)
        self.work.save(plan.name, student)
        return student, validation

    def _points_of(self, network: str) -> list[Point]:
        return [point for point in self.points if point.name.split(", ")[0] == network]

    def _add_subsets(self, candidate: Candidate, prefix: str) -> None:
        """Add the network of a candidate with fewer baselines beside it."""
        known = {b.name for found in candidate.model.baselines.values() for b in found} - {"prior"}
        for title, kept in SUBSETS.items():
            if known - kept and (kept - {"network"}) <= known:
                name = f"{prefix}{title}"
                self._add(keep_members(candidate, kept, name, f"{candidate.description}; {title}"))

    def _add_baselines_alone(self, candidate: Candidate) -> None:
        """Add the baselines without any network; the smallest one is kept for embeddings."""
        known = {b.name for found in candidate.model.baselines.values() for b in found} - {"prior"}
        if not known or set(candidate.held_out) != set(candidate.model.targets):
            return
        for title, kept in BASELINE_SUBSETS.items():
            if kept <= known:
                description = f"answers of the {title}; {candidate.name} is kept for embeddings and never asked"
                found = keep_members(candidate, kept, title, description)
                self._add(dataclasses.replace(found, method="members"))

    def _add(self, candidate: Candidate) -> None:
        with self._progress.phase(f"measuring {candidate.name}", None):
            scores = validation_scores(candidate, self.cache)
            self._measure(candidate, scores, self._bytes_of(candidate.model))

    def _measure(self, candidate: Candidate, scores: dict[str, TargetScore], num_bytes: int) -> None:
        original = self.points[0].scores if self.points else scores
        point = Point(
            name=candidate.name,
            method=candidate.method if not self.points or candidate.method != "original" else "members",
            description=candidate.description,
            scores={name: score.against(original[name]) for name, score in scores.items()},
            num_bytes=num_bytes,
            ms=ms_of_row(Model(candidate.model), self.table),
            network_ms=network_ms_of_row(candidate.model, candidate.validation),
            parameters=num_parameters(candidate.model.network),
        )
        self.points.append(point)
        self.candidates[point.name] = candidate
        self._progress.log(f"{point.name}: {point.drop:+.2f} points lost, {num_bytes:,} bytes, {point.ms:.2f} ms")

    def _bytes_of(self, model: TrainedModel) -> int:
        with tempfile.TemporaryDirectory(prefix="polymodal-") as folder:
            save_slim(model, Path(folder) / "model")
            return folder_bytes(Path(folder) / "model")
