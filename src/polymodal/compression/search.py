"""The search: trains, prunes and combines, and measures every model that comes of it on the same rows."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Collection
from pathlib import Path

from polymodal.compression.bundles import export_candidate, quantise_candidate, write_candidate_bundle
from polymodal.compression.candidate import (
    Candidate,
    build_candidate,
    example_scores,
    idle_streams,
    keep_members,
    validation_scores,
)
from polymodal.compression.deployed import save_slim, slimmed
from polymodal.compression.limits import Limits
from polymodal.compression.measure import folder_bytes, ms_of_row, network_ms_of_row
from polymodal.compression.points import ORIGINAL, Point, TargetScore
from polymodal.compression.rows import CompressionRows
from polymodal.compression.student_plan import MIDDLE, NARROW, WIDE, StudentPlan, plan_student
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

EXPORTED = 3
"""Most networks that are exported, the smallest ones within the allowed drop."""
NUM_STUDENTS = 3
"""Most students that are trained."""
TRAINED = ("distilled", "pruned")
"""Methods that train networks."""
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
        scratch: A folder for bundles, which is removed afterwards.
        notices: What was left out, and why.
    """

    def __init__(
        self,
        original: TrainedModel,
        rows: CompressionRows,
        table: Table,
        limits: Limits,
        work: Work,
        scratch: Path,
        methods: Collection[str],
        is_asked: bool,
        progress: Progress,
    ) -> None:
        """Prepare the search.

        Args:
            original: The model to compress.
            rows: Decoded rows.
            table: The validation rows as a table, for timing.
            limits: What is asked for.
            work: Keeps trained networks of an interrupted search.
            scratch: An empty folder for bundles, which the caller removes.
            methods: What is tried, of ``METHODS``.
            is_asked: Whether the user named them, so that nothing is skipped.
            progress: Reports progress.
        """
        self.original, self.rows, self.table, self.scratch = original, rows, table, scratch
        self.points: list[Point] = []
        self._methods, self._all_asked = methods, is_asked
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
        students = self._train_students(base) if "distilled" in self._methods else []
        if "pruned" in self._methods:
            self._train_pruned()
        if "members" in self._methods:
            self._add_baselines_alone([one for one in (base, *students) if one.model.baselines or one is base][-1])
        if "int8" in self._methods:
            self._add_bundles()

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
        base = candidate.exported_from or candidate
        return read_by_student(self.rows.test, self.original) if base.method == "distilled" else self.rows.test

    def _estimate(self) -> str:
        effort = NUM_STUDENTS * STUDENT_EFFORT if "distilled" in self._methods else 0.0
        effort += len(KEPT_SHARES) * FINE_TUNING_EPOCHS if "pruned" in self._methods else 0.0
        seconds = self.original.report_data.get("seconds", {}).get("train")
        about = f", for about {format_seconds(seconds * effort)} by what the run took" if seconds and effort else ""
        trained = " and ".join(name for name in TRAINED if name in self._methods) or "no"
        rows = ", ".join(f"{number:,} {split}" for split, number in self.rows.counts.items())
        return f"{trained.capitalize()} networks are trained{about}; rows: {rows}."

    def _add_original(self) -> Candidate:
        with self._progress.phase("scoring the original", None):
            description = "the model as it was trained"
            base = build_candidate(
                ORIGINAL, "original", description, self.original, self.rows, self.rows.validation, self.cache
            )
            scores = validation_scores(base, self.cache)
            num_bytes = folder_bytes(self._folder) if self._folder is not None else self._bytes_of(base)
            self._measure(dataclasses.replace(base, model=self.original), scores, num_bytes)
        return base

    def _train_pruned(self) -> None:
        middle = plan_student(self.original, MIDDLE)
        if middle is not None and self._is_within(middle.name) and not self._all_asked:
            self.notices.append(
                f"Pruning was not tried: {middle.name} keeps the score and is smaller than a pruned network would be. "
                "Ask for it by --method pruned."
            )
            return
        for share in KEPT_SHARES:
            name = f"pruned-{share:.0%}".rstrip("%")
            description = f"the network with {share:.0%} of its heads, hidden units and channels, trained further"
            try:
                model = self._trained_before(name)
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

    def _train_students(self, base: Candidate) -> list[Candidate]:
        """Train a student of a quarter of the width, then a narrower or a wider one, and one that reads less."""
        middle = self._train_student(plan_student(self.original, MIDDLE))
        next_divisor = NARROW if middle is not None and self._is_within(middle.name) else WIDE
        students = [middle, self._train_student(plan_student(self.original, next_divisor))]
        idle = idle_streams(base, self._limits.max_drop)[: len(base.model.network.streams) - 1]
        if idle:
            students.append(self._train_student(plan_student(self.original, MIDDLE, idle)))
        return [student for student in students if student is not None]

    def _is_within(self, network: str) -> bool:
        """Whether a model with this network loses no more than is allowed."""
        return any(point.drop <= self._limits.max_drop for point in self.points if point.name.split(", ")[0] == network)

    def _train_student(self, plan: StudentPlan | None) -> Candidate | None:
        if plan is None:
            return None
        self._progress.message(f"Training {plan.name}: {plan.description}.")
        try:
            student, validation = self._trained(plan)
        except ConfigError as error:
            self.notices.append(f"{plan.name} was left out: {error}")
            return None
        rows = dataclasses.replace(self.rows, fitted=None) if plan.without else self.rows
        student = dataclasses.replace(student, features=None, baselines={}) if plan.without else student
        train = read_by_student(self.rows.train, self.original)
        candidate = build_candidate(
            plan.name, "distilled", plan.description, student, rows, validation, self.cache, train
        )
        self._add(candidate)
        self._add_subsets(candidate, f"{plan.name}, ")
        return candidate

    def _trained(self, plan: StudentPlan) -> tuple[TrainedModel, Examples]:
        kept = self._trained_before(plan.name)
        if kept is not None:
            return kept, read_by_student(self.rows.validation, self.original)
        student, validation = train_student(plan, self.original, self.rows, self._progress)
        self.work.save(plan.name, student)
        return student, validation

    def _trained_before(self, name: str) -> TrainedModel | None:
        kept = self.work.load(name)
        if kept is None:
            return None
        self._progress.message(f"{name} was trained before; it is taken from {self.work.folder}.")
        return dataclasses.replace(kept, report_data=self.original.report_data)

    def _add_subsets(self, candidate: Candidate, prefix: str) -> None:
        """Add the network of a candidate with fewer baselines beside it."""
        known = {b.name for found in candidate.model.baselines.values() for b in found} - {"prior"}
        for title, kept in SUBSETS.items() if "members" in self._methods else ():
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

    def _add_bundles(self) -> None:
        """Export the smallest models within the limit, each network once, and store their weights as int8."""
        try:
            import onnx  # noqa: F401
            import onnxruntime.quantization  # noqa: F401
        except ImportError:
            self.notices.append("No int8 weights were tried: they need `pip install 'polymodal[train]'`.")
            return
        for number, candidate in enumerate(self._to_export()):
            folder = self.scratch / f"export-{number}"
            try:
                with self._progress.phase(f"exporting {candidate.name}", None):
                    exported = export_candidate(candidate, folder / "bundle", self.table, self._progress)
            except ConfigError as error:
                self.notices.append(f"{candidate.name} was not exported: {error}")
                continue
            self._add(exported)
            with self._progress.phase(f"int8 weights of {candidate.name}", None):
                most_lost = self._limits.max_drop
                quantised, notices = quantise_candidate(exported, folder / "int8", most_lost, self.cache)
            self.notices += notices
            if quantised is not None:
                self._add(quantised)

    def _to_export(self) -> list[Candidate]:
        """Return the smallest candidates within the allowed drop, one of each network, and the original's best."""
        asked = [point for point in self.points if point.network_ms is not None]
        within = [point for point in asked if point.drop <= self._limits.max_drop]
        ordered = sorted(within, key=lambda point: (point.num_bytes, point.ms))
        found: dict[int, Candidate] = {}
        for candidate in (self.candidates[point.name] for point in ordered):
            found.setdefault(id(candidate.model.network), candidate)
        return list(found.values())[:EXPORTED]

    def _add(self, candidate: Candidate) -> None:
        with self._progress.phase(f"measuring {candidate.name}", None):
            scores = validation_scores(candidate, self.cache)
            self._measure(candidate, scores, self._bytes_of(candidate))

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
            parameters=num_parameters((candidate.exported_from or candidate).model.network),
            format="model" if candidate.bundle is None else "bundle",
        )
        self.points.append(point)
        self.candidates[point.name] = candidate
        self._progress.log(f"{point.name}: {point.drop:+.2f} points lost, {num_bytes:,} bytes, {point.ms:.2f} ms")

    def _bytes_of(self, candidate: Candidate) -> int:
        with tempfile.TemporaryDirectory(prefix="polymodal-") as name:
            folder = Path(name) / "deployed"
            if candidate.bundle is None:
                save_slim(candidate.model, folder)
            else:
                folder.mkdir()
                write_candidate_bundle(candidate, slimmed(candidate.model), folder)
            return folder_bytes(folder)
