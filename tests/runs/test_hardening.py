"""Hardening: noisy copies of training rows, what batches are made of them, and runs that learn from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import polymodal
import tiny
from polymodal.arrays import Column
from polymodal.config import RunConfig, build_config
from polymodal.data.cache.cache import ArrayCache
from polymodal.data.tables.table import Table
from polymodal.ensemble.cross_fitting import deal_folds
from polymodal.ensemble.ensemble_weights import MemberRows
from polymodal.model.batches import Examples
from polymodal.model.build import build_network
from polymodal.model.collate import collate_examples
from polymodal.model.fit_ensemble import HeldOutRows
from polymodal.progress import SilentProgress
from polymodal.runs import hardening
from polymodal.runs.baseline_fitting import _groups
from polymodal.runs.data_module import DataModule, Tables, build_data_module
from polymodal.runs.hardening import NUM_COPIES, Hardening, harden
from polymodal.training.hardening import NoisyCopies, training_cells

CONFIG = {"target": ["kind"], "width": 16, "num_threads": 1, "preset": "fast"}


def _module(table: Table, **options: Any) -> tuple[DataModule, RunConfig]:
    config = build_config(CONFIG | options)
    return build_data_module(Tables(train=table), config, ArrayCache(None), SilentProgress()), config


def _harden(module: DataModule, config: RunConfig, cache: ArrayCache | None = None) -> Hardening:
    network = build_network(config, module.preprocessor.modalities, module.targets)
    return harden(module, network, config.seed, cache or ArrayCache(None), SilentProgress(), 1)


@pytest.fixture(scope="module")
def small(table: Table) -> Table:
    return tiny.only(table, "photo", "note", "size", "colour", "kind")


@pytest.fixture(scope="module")
def hardened(small: Table) -> tuple[DataModule, Hardening]:
    module, config = _module(small)
    return module, _harden(module, config)


def test_copies_have_other_cells_the_same_absent_ones_and_only_training_rows(
    hardened: tuple[DataModule, Hardening],
) -> None:
    module, found = hardened
    train = module.splits["train"]
    assert len(found.noisy.copies) == NUM_COPIES
    assert found.noisy.places.tolist() == list(range(len(train)))
    for copy in found.noisy.copies:
        for stream, column in copy.items():
            clean = train.columns[stream].take(train.rows)
            assert np.array_equal(column.present, clean.present)
            steps = min(clean.values.shape[1], column.values.shape[1])
            differs = (column.values[:, :steps] != clean.values[:, :steps]).reshape(len(train), -1).any(axis=1)
            assert differs[clean.row_present].mean() > 0.2
    first, second = (copy["photo"].values for copy in found.noisy.copies[:2])
    assert not np.array_equal(first, second)


def test_baselines_see_each_row_twice_and_both_stand_in_one_fold(hardened: tuple[DataModule, Hardening]) -> None:
    module, found = hardened
    for split in ("train", "validation"):
        clean, both = module.splits[split], found.data_module.splits[split]
        num = len(clean)
        assert len(both) == 2 * num
        assert np.array_equal(both.truth["kind"][:num], both.truth["kind"][num:])
        assert np.array_equal(found.origins[split], np.concatenate([clean.rows, clean.rows]))
        notes = both.cells["note"]
        assert list(notes[:num]) == [module.tables[split].columns["note"][row] for row in clean.rows]
        assert sum(a != b for a, b in zip(notes[:num], notes[num:], strict=True)) > num / 3
    samples: dict[str, Examples] = {split: found.data_module.splits[split] for split in ("train", "validation")}
    groups = _groups(found.data_module, samples, RunConfig(), found.origins)
    truth = np.concatenate([sample.truth["kind"] for sample in samples.values()])
    is_validation = np.arange(len(truth)) >= len(samples["train"])
    folds = deal_folds(truth, is_validation, groups, 0)
    assert groups is not None
    of_fold = [{groups[row] for row in fold.tolist()} for fold in folds]
    assert len(set().union(*of_fold)) == sum(map(len, of_fold)) == len(truth) / 2


def test_the_cache_keeps_copies_and_seeds_make_others(small: Table, tmp_path: Any) -> None:
    module, config = _module(tiny.only(small, "photo", "kind"))
    cache = ArrayCache(tmp_path)
    fresh, stored, again = _harden(module, config), _harden(module, config, cache), _harden(module, config, cache)
    other = _harden(module, config.model_copy(update={"seed": 1}))
    assert cache.usage().entries == NUM_COPIES + 1
    for one in (stored, again):
        assert np.array_equal(one.noisy.copies[1]["photo"].values, fresh.noisy.copies[1]["photo"].values)
    assert not np.array_equal(other.noisy.copies[1]["photo"].values, fresh.noisy.copies[1]["photo"].values)


def test_of_long_tables_some_rows_have_copies_and_it_is_told(small: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardening, "MAX_ROWS", 20)
    module, config = _module(tiny.only(small, "size", "kind"))
    found, num = _harden(module, config), len(module.splits["train"])
    assert (found.noisy.places >= 0).sum() == 20
    assert found.notices == [f"Noise was added to copies of 20 of the {num} training rows, for the network alone."]
    assert len(found.data_module.splits["train"]) == num
    batch = training_cells(module.splits["train"], found.noisy, np.arange(num))
    clean = collate_examples(module.splits["train"], np.arange(num))
    outside = found.noisy.places < 0
    assert torch.equal(batch["tabular"].values[outside], clean["tabular"].values[outside])


def test_half_of_the_cells_of_a_batch_are_noisy_whatever_their_lengths() -> None:
    num = 400
    present = np.arange(num) % 4 != 0
    clean = Column(np.zeros((num, 3, 1), np.float32), present, np.full(num, 3))
    copies = [
        {"a": Column(np.full((num, 2 + n, 1), n + 1, np.float32), present, np.full(num, 2 + n))} for n in range(3)
    ]
    examples = Examples({"a": clean}, np.arange(num), {}, {}, {}, "t")
    torch.manual_seed(0)
    batch = training_cells(examples, NoisyCopies(copies, np.arange(num)), np.arange(num))["a"]
    source = batch.values[:, 0, 0].numpy()
    assert (source[~present] == 0).all()
    assert batch.present.numpy().tolist() == present.tolist()
    assert 0.4 < (source[present] > 0).mean() < 0.6
    assert set(source.tolist()) == {0, 1, 2, 3}
    assert batch.lengths is not None
    expected = np.where(source == 0, 3, source + 1)
    assert np.array_equal(batch.lengths.numpy()[present], expected[present])


@pytest.mark.exhaustive
def test_a_hardened_run_repeats_and_is_another_than_a_plain_one(small: Table) -> None:
    table, settings = tiny.only(small, "note", "size", "kind"), {"baselines": True}
    plain = tiny.train(table, settings=settings)
    first, second = (tiny.train(table, harden=True, settings=settings) for _ in range(2))
    assert tiny.same(tiny.weights_of(first), tiny.weights_of(second))
    assert not tiny.same(tiny.weights_of(first), tiny.weights_of(plain))
    assert tiny.scores_of(first) == tiny.scores_of(second)
    assert first.trained.config.train.harden
    assert "noise" in first.report_data["seconds"]
    sizes = [
        {tuple(group.absent): group.num_rows for group in model.trained.calibrations["kind"].groups}
        for model in (plain, first)
    ]
    assert sizes[0] == sizes[1]  # sets are calibrated on clean rows alone


def test_held_out_rows_know_their_copies() -> None:
    places = np.array([0, 1, 3, 4, 5, 6, 9])  # of five rows, of which row 2 is not there, and copies of 0, 1 and 4
    members = MemberRows(
        members={"fusion": np.arange(7.0)},
        visible={"a": np.ones(7, np.bool_)},
        truth=np.arange(7.0),
        rows=np.arange(7),
    )
    found = HeldOutRows("number", np.zeros(1), [members], None).with_copies(places, 5)
    assert found.members[0].rows.tolist() == [0, 1, 2, 3]
    assert found.noisy is not None
    assert found.noisy.rows.tolist() == [0, 1, 3]
    assert found.noisy.truth.tolist() == [4, 5, 6]
    both = found.members[0].with_noise(found.noisy)
    assert both.rows.tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert both.truth.tolist() == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.exhaustive
def test_every_stream_and_target_can_be_hardened(table: Table) -> None:
    model = tiny.train(table, tiny.TARGETS, harden=True)
    assert all(np.isfinite(step["train_loss"]) for step in model.report_data["history"])


def test_the_report_of_a_run_has_the_stress_test_if_asked(tmp_path: Any) -> None:
    model = tiny.train(tiny.numbers_table(60), stress=True, output=tmp_path / "run")
    stress = model.report_data["stress"]
    assert stress["targets"]["kind"]["curves"]
    assert model.summary()["stress"] == stress
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "The worst kinds first" in page
    assert "stress" not in polymodal.load(tmp_path / "run").trained.config.model_dump(exclude={"stress"})
    assert "stress" not in tiny.train(tiny.numbers_table(60)).report_data
