"""What all members of a trained model predict for validation and test rows, kept on disk.

With it a decision level is fitted and judged in seconds, without training anything.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import polymodal
from decision_tables import TARGET, DecisionTable
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import read_table
from polymodal.ensemble.ensemble_weights import MemberRows
from polymodal.model.batches import Examples, build_examples
from polymodal.model.fit_ensemble import held_out_rows
from polymodal.model.inference_network import NO_MASK
from polymodal.model.member_predictions import MemberPredictions
from polymodal.model.predict import combine, predict_examples
from polymodal.model.trained_model import TrainedModel
from polymodal.progress import SilentProgress
from polymodal.runs.data_module import Tables
from polymodal.runs.options import RunOptions, build_run_config
from polymodal.runs.run import execute

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
FUSION, PRIOR, STREAM = "fusion", "baseline:prior", "stream:"
UNMASKED = ""
"""The mask that masks no stream; the others are called after the stream that they mask."""
ARRAYS = ("prior", "test_rows", "final")
SPLITS = ("validation", "training", "test")
CACHE = ArrayCache(None)


@dataclass(frozen=True)
class Rows:
    """Rows with a known truth, and what every member predicts for them.

    Attributes:
        truth: int64 ``[N]``, 0/1 ``[N, C]`` or float64 ``[N]``.
        present: bool ``[N, S]``, True where the stream is present; streams in the order of ``Dump.streams``.
        predictions: Mask to member to ``[N, C]`` or ``[N]``. The prior is a member.
    """

    truth: NDArray[Any]
    present: Mask
    predictions: Mapping[str, Mapping[str, Floats]]


@dataclass(frozen=True)
class Dump:
    """A finished run on one table.

    Attributes:
        table: Name of the table.
        seed: Its seed.
        kind: "category", "categories" or "number".
        classes: Names of classes or labels; None for a number.
        streams: Names of the streams.
        prior: Frequencies of classes or labels in training ``[C]``, or the mean ``[1]``.
        validation: Rows that the network was not trained on, under no mask and with each stream masked.
        training: Training rows, predicted by baselines that were not fitted on them; no mask, no other members.
        test: Held-out rows, under no mask.
        test_rows: int64, which rows of the pool the test rows are: seeds share some.
        final: What the run's own decision level predicts for the test rows.
        about: Training rows, seconds and the like.
    """

    table: str
    seed: int
    kind: str
    classes: list[str] | None
    streams: list[str]
    prior: Floats
    validation: Rows
    training: Rows
    test: Rows
    test_rows: NDArray[np.int64]
    final: Floats
    about: Mapping[str, Any]

    @property
    def members(self) -> list[str]:
        """The members, the prior included."""
        return list(self.test.predictions[UNMASKED])

    def present(self, rows: Rows, mask: str = UNMASKED) -> dict[str, Mask]:
        """Return in which rows each member has a prediction.

        Args:
            rows: Validation or test rows.
            mask: Name of the masked stream.

        Returns:
            Member to bool ``[N]``; the prior is always there.
        """
        visible = rows.present & (np.array(self.streams) != mask)
        of_stream = {f"{STREAM}{name}": visible[:, index] for index, name in enumerate(self.streams)}
        everywhere = np.ones(len(rows.truth), np.bool_)
        return {
            name: of_stream.get(name, everywhere if name == PRIOR else visible.any(axis=1)) for name in self.members
        }

    def filled(self, rows: Rows, member: str) -> Floats:
        """Return a member's predictions under no mask, the prior where it has none.

        Args:
            rows: Validation or test rows.
            member: Its name.

        Returns:
            ``[N, C]`` or ``[N]``.
        """
        values, present = rows.predictions[UNMASKED][member], self.present(rows)[member]
        return np.where(present if values.ndim == 1 else present[:, None], values, self.prior)


def dump_run(table: DecisionTable, seed: int) -> Dump:
    """Draw a table, train on it and predict its held-out rows with every member.

    Args:
        table: The table.
        seed: Of the draw, the split and the network.

    Returns:
        The dump.
    """
    started = time.perf_counter()
    drawn = table.draw(seed)
    pool = drawn.pool
    settings = {"num_threads": 1, "train.precision": "float32", **table.settings}
    options = RunOptions(
        preset="fast", stream=pool.grouped, modality={**pool.modality, TARGET: pool.kind}, settings=settings
    )
    config = build_run_config(drawn.train, TARGET, options, seed)
    run = execute(Tables(train=read_table(drawn.train), has_test=False), config, CACHE, SilentProgress())
    model, validation = run.model, run.data_module.splits["validation"]
    test_rows = _test_examples(model, drawn.test)
    (unmasked,) = predict_examples(model, test_rows, [NO_MASK])
    streams, known = list(model.network.streams), test_rows.known[TARGET]
    held_out = held_out_rows(model, validation, CACHE, run.baselines)[1][TARGET]
    return Dump(
        table=table.name,
        seed=seed,
        kind=model.targets[TARGET].kind,
        classes=model.targets[TARGET].classes,
        streams=streams,
        prior=np.asarray(model.targets[TARGET].prior, dtype=np.float64),
        validation=_held_out(model, held_out.members),
        training=_baseline_rows(held_out.baselines, len(streams)),
        test=_rows(model, test_rows, {UNMASKED: unmasked}),
        test_rows=drawn.test_rows[known],
        final=combine(model, unmasked)[TARGET][known],
        about={
            "train_rows": len(run.data_module.splits["train"]),
            "seconds": round(time.perf_counter() - started, 1),
            "version": polymodal.__version__,
        },
    )


def _held_out(model: TrainedModel, of_mask: Sequence[MemberRows]) -> Rows:
    """Return what the decision level is fitted on: predictions by models that saw none of these truths."""
    names = [UNMASKED, *(model.network.streams if len(of_mask) > 1 else ())]
    present = np.stack([of_mask[0].visible[stream] for stream in model.network.streams], axis=1)
    return Rows(of_mask[0].truth, present, {n: dict(part.members) for n, part in zip(names, of_mask, strict=True)})


def _baseline_rows(rows: MemberRows | None, num_streams: int) -> Rows:
    if rows is None:
        return Rows(np.zeros(0), np.zeros((0, num_streams), np.bool_), {UNMASKED: {}})
    return Rows(rows.truth, np.ones((len(rows.truth), num_streams), np.bool_), {UNMASKED: dict(rows.members)})


def _test_examples(model: TrainedModel, columns: dict[str, list[Any]]) -> Examples:
    table = read_table(columns)
    decoded, _ = model.preprocessor.transform(table, CACHE, num_threads=1)
    cells = model.schema.with_derived(table).columns
    return build_examples(decoded, cells, model.targets, np.arange(table.num_rows), "test", table.folder)


def _rows(model: TrainedModel, examples: Examples, of_mask: Mapping[str, MemberPredictions]) -> Rows:
    known = examples.known[TARGET]
    present = np.stack([examples.columns[s].row_present[examples.rows] for s in model.network.streams], axis=1)
    predictions = {
        mask: {m: np.asarray(v[known], np.float64) for m, v in found.predictions[TARGET].items()}
        for mask, found in of_mask.items()
    }
    return Rows(examples.truth[TARGET][known], present[known], predictions)


def dump_paths(folder: Path, table: str, seed: int) -> tuple[Path, Path]:
    """Return the two files of a dump.

    Args:
        folder: Where dumps are kept.
        table: Name of the table.
        seed: Its seed.

    Returns:
        JSON and arrays.
    """
    stem = folder / f"{table.replace(', ', '-').replace(' ', '-').replace(':', 'to')}-seed{seed}"
    return stem.with_suffix(".json"), stem.with_suffix(".npz")


def save_dump(folder: Path, dump: Dump) -> None:
    """Write a dump.

    Args:
        folder: Where dumps are kept.
        dump: The dump.
    """
    facts, arrays = dump_paths(folder, dump.table, dump.seed)
    folder.mkdir(parents=True, exist_ok=True)
    stored: dict[str, NDArray[Any]] = {name: getattr(dump, name) for name in ARRAYS}
    for split in SPLITS:
        rows = getattr(dump, split)
        stored |= {f"{split}|truth": rows.truth, f"{split}|present": rows.present}
        stored |= {f"{split}|{mask}|{m}": v for mask, found in rows.predictions.items() for m, v in found.items()}
    np.savez_compressed(arrays, allow_pickle=False, **stored)
    plain = {name: getattr(dump, name) for name in ("table", "seed", "kind", "classes", "streams", "about")}
    facts.write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_dump(facts: Path) -> Dump:
    """Read a dump.

    Args:
        facts: Its JSON file; the arrays are beside it.

    Returns:
        The dump.
    """
    with np.load(facts.with_suffix(".npz"), allow_pickle=False) as file:
        arrays = dict(file)
    rows = {split: _load_rows(arrays, split) for split in SPLITS}
    plain = json.loads(facts.read_text(encoding="utf-8"))
    return Dump(**plain, **{name: arrays[name] for name in ARRAYS}, **rows)


def _load_rows(arrays: Mapping[str, NDArray[Any]], split: str) -> Rows:
    predictions: dict[str, dict[str, Floats]] = {UNMASKED: {}}
    for key, values in arrays.items():
        if key.startswith(f"{split}|") and key.count("|") == 2:
            _, mask, member = key.split("|")
            predictions.setdefault(mask, {})[member] = values
    return Rows(arrays[f"{split}|truth"], arrays[f"{split}|present"], predictions)
