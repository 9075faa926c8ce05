"""The target transcript: units, loss, decoding, and notices about ignored texts."""

from __future__ import annotations

import math
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import polymodal
import tiny
from polymodal.data.schema.detect_target import detect_target_kind
from polymodal.data.tables.table import read_table
from polymodal.errors import ConfigError, SchemaError
from polymodal.targets import RowContext, TranscriptTarget, fit_target
from polymodal.targets.ctc import ctc_loss
from polymodal.targets.ctc_decoding import greedy_decode, prefix_beam_search, text_log_likelihoods
from polymodal.targets.transcript import unseen_word_share
from polymodal.targets.transcript_head import TranscriptHead
from polymodal.tokens import Detail, Fused, Tokens

TEXTS = ["seven three one", "one six", "two  three", "six six two"]
WIDTH = 16
NOTHING = RowContext()


class Steps(nn.Identity):
    """Stands for an encoder that gives steps."""

    step_frames = 4


def fit(texts: Any = TEXTS, **options: Any) -> TranscriptTarget:
    target = fit_target("transcript", texts, NOTHING, options)
    assert isinstance(target, TranscriptTarget)
    return target


def head_of(target: TranscriptTarget) -> TranscriptHead:
    torch.manual_seed(0)
    head = target.build_head(WIDTH, {"note": nn.Identity(), "sound": Steps()})
    assert isinstance(head, TranscriptHead)
    return head.eval()


def fused(rows: int, steps: int = 30, lengths: list[int] | None = None, seed: int = 0) -> Fused:
    generator = torch.Generator().manual_seed(seed)
    tokens = Tokens(torch.randn(rows, 2, WIDTH, generator=generator), torch.ones(rows, 2, dtype=torch.bool))
    present = torch.arange(steps) < torch.tensor(lengths or [steps] * rows).unsqueeze(1)
    values = torch.randn(rows, steps, WIDTH, generator=generator) * present.unsqueeze(2)
    return Fused(tokens.pooled(), tokens, None, {"sound": Detail(values, present)})


@pytest.mark.parametrize("options", [{}, {"units": "subwords", "num_subwords": 30}])
def test_every_training_text_is_spelt_and_read_back(options: dict[str, Any]) -> None:
    target = fit(**options)
    ids, known = target.encode(TEXTS, NOTHING)
    assert known.all()
    spelt = [[index for index in row if index] for row in ids.tolist()]
    assert [target.units.decode(row) for row in spelt] == [" ".join(text.split()) for text in TEXTS]
    assert ids.max() <= len(target.units.symbols)
    assert TranscriptTarget.from_state(target.state()).units.encode(TEXTS[0]) == spelt[0]


def test_subwords_are_fewer_than_characters() -> None:
    assert len(fit(TEXTS * 5, units="subwords").units.encode("seven six")) < len("seven six") / 2


@pytest.mark.parametrize("options", [{}, {"units": "subwords"}])
def test_characters_unseen_in_training_are_not_learnt_but_count_as_errors(options: dict[str, Any]) -> None:
    target = fit(**options)
    ids, known = target.encode(["zwölf", "???"], NOTHING)
    assert known.all()
    assert target.units.decode([index for index in ids[0].tolist() if index]) == "w"
    assert not ids[1].any()
    assert target.references(["zwölf"], NOTHING) == ["zwölf"]
    assert target.invalid_cells(["zwölf"], NOTHING) == []
    losses = head_of(target).loss(fused(2), torch.from_numpy(ids), 0.0)
    assert losses.isfinite().all()


@pytest.mark.parametrize("cell", ["  ", "\u200b", " \u200b ", b" ", ["one"], {"text": "one"}])
def test_an_empty_transcript_and_what_is_no_text_are_named(cell: Any) -> None:
    target = fit()
    cells = ["one", cell, None]
    assert target.encode(cells, NOTHING)[1].tolist() == [True, False, False]
    ((row, reason),) = target.invalid_cells(cells, NOTHING)
    assert row == 1
    assert reason == "holds an empty transcript" or reason.endswith("is not text")


def test_numbers_are_texts() -> None:
    assert fit([12, 7, "3"]).references([12], NOTHING) == ["12"]


def test_one_text_only_is_nothing_to_learn() -> None:
    with pytest.raises(SchemaError, match="two different texts or more"):
        fit(["one", "one", None, " "])


def test_a_lexicon_needs_a_beam() -> None:
    with pytest.raises(ConfigError, match="Set decode=beam"):
        fit(lexicon=True, decode="greedy")
    assert not fit(lexicon=True).is_greedy


def test_answers_are_held_to_the_training_words_only_where_these_are_all_there_are() -> None:
    closed, still_open = [*TEXTS, *TEXTS], [*TEXTS, "eleven"]
    assert fit(closed).words == ["one", "seven", "six", "three", "two"]
    assert "constrained to the 5 words" in str(fit(closed).notices())
    assert fit(still_open).words == []
    assert fit(still_open).notices() == []
    assert fit(still_open).is_greedy
    assert fit(closed, lexicon=False).words == []
    assert fit(closed, decode="greedy").words == []
    assert unseen_word_share({"one": 1, "two": 3}) == 0.25


def test_without_steps_to_read_it_says_so() -> None:
    with pytest.raises(ConfigError, match="no column holds audio"):
        fit().build_head(WIDTH, {"note": nn.Identity()})
    with pytest.raises(ConfigError, match=r"'note' has no time steps .* Choose: sound"):
        fit(stream="note").build_head(WIDTH, {"note": nn.Identity(), "sound": Steps()})


def test_the_named_stream_is_read() -> None:
    encoders = {"left": Steps(), "right": Steps()}
    chosen = [fit(stream=name).build_head(WIDTH, encoders) for name in (None, "right")]
    assert [head.stream for head in chosen] == ["left", "right"]


def test_a_text_too_long_for_its_steps_gives_no_infinite_loss() -> None:
    target = fit()
    ids, _ = target.encode(TEXTS, NOTHING)
    head = head_of(target)
    losses = head.loss(fused(4, lengths=[30, 3, 1, 0]), torch.from_numpy(ids), 0.0)
    assert losses.isfinite().all()
    assert losses[0] > 0
    assert losses[1:].tolist() == [0.0, 0.0, 0.0]
    losses.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize("options", [{"decode": "greedy"}, {"decode": "beam"}, {"lexicon": True}])
def test_without_the_sound_nothing_is_said(options: dict[str, Any]) -> None:
    head = head_of(fit(**options))
    given = fused(2, lengths=[30, 0])
    assert head.predict(given)[1].value == ""
    assert head.predict(given)[1].confidence is None
    without = Fused(given.pooled, given.tokens)
    assert [answer.value for answer in head.predict(without)] == ["", ""]
    truth = torch.ones(2, 3, dtype=torch.int64)
    assert head.loss(without, truth, 0.0).tolist() == [0.0, 0.0]
    assert head.predict(fused(0)) == []
    assert head.loss(fused(0), truth[:0], 0.0).shape == (0,)


def test_padding_and_neighbours_change_no_answer() -> None:
    head = head_of(fit())
    given = fused(3, lengths=[20, 30, 25])
    detail = given.details["sound"]
    longer = Detail(
        torch.cat([detail.values, torch.zeros(3, 9, WIDTH)], 1),
        torch.cat([detail.present, detail.present[:, :9] & False], 1),
    )
    with torch.inference_mode():
        whole = head.predict(given)
        padded = head.predict(Fused(given.pooled, given.tokens, None, {"sound": longer}))
        first = Detail(detail.values[:1, :20], detail.present[:1, :20])
        alone = head.predict(Fused(given.pooled[:1], given.tokens, None, {"sound": first}))
    assert [answer.value for answer in padded] == [answer.value for answer in whole]
    assert alone[0].value == whole[0].value
    assert alone[0].confidence == pytest.approx(whole[0].confidence, abs=1e-5)


def test_other_streams_may_help_through_the_fused_vector() -> None:
    head = head_of(fit())
    given = fused(1)
    truth = torch.from_numpy(fit().encode(["six"], NOTHING)[0])
    other = Fused(given.pooled + 3 * torch.arange(WIDTH), given.tokens, None, given.details)
    assert head.loss(given, truth, 0.0) != head.loss(other, truth, 0.0)


def random_shares(steps: int, units: int, seed: int) -> np.ndarray[Any, Any]:
    shares = np.random.default_rng(seed).dirichlet(np.full(units, 0.7), steps)
    return np.asarray(shares)


def text_shares(shares: np.ndarray[Any, Any]) -> dict[tuple[int, ...], float]:
    """Sum up every alignment of every text, the plain way."""
    found: dict[tuple[int, ...], float] = {}
    for path in product(range(shares.shape[1]), repeat=len(shares)):
        text = tuple(unit for unit, _ in groupby(path) if unit)
        found[text] = found.get(text, 0.0) + math.prod(shares[step, unit] for step, unit in enumerate(path))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_a_wide_beam_finds_the_most_probable_text(seed: int) -> None:
    shares = random_shares(6, 3, seed)
    every = text_shares(shares)
    assert prefix_beam_search(shares, 1000)[0] == max(every, key=lambda text: every[text])


def test_the_loss_is_the_probability_of_all_alignments() -> None:
    shares = random_shares(6, 3, 0)
    every = text_shares(shares)
    losses = ctc_loss(
        torch.from_numpy(shares).log().expand(2, -1, -1), torch.tensor([6, 6]), torch.tensor([[1, 2], [1, 0]])
    )
    assert losses.tolist() == pytest.approx([-math.log(every[1, 2]), -math.log(every[1,])], rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_likelihood_of_a_text_without_torch_is_the_loss(seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = torch.from_numpy(random.normal(0, 9, (7, 12, 5)).astype(np.float32)).log_softmax(dim=2)
    texts = [[], [1], [2, 2, 2], [1, 2, 3, 4, 1, 2], [3, 3], [4], [1, 1, 1]]
    steps = torch.tensor([12, 12, 5, 9, 2, 0, 4])
    padded = torch.zeros(7, 6, dtype=torch.long)
    for row, text in enumerate(texts):
        padded[row, : len(text)] = torch.tensor(text, dtype=torch.long)
    found = text_log_likelihoods(logits.numpy(), steps.numpy(), texts)
    np.testing.assert_allclose(found, -ctc_loss(logits, steps, padded).numpy(), rtol=1e-4, atol=1e-4)
    assert text_log_likelihoods(logits[:0].numpy(), steps[:0].numpy(), []).shape == (0,)


def test_greedy_merges_repeats_and_keeps_doubles_apart_by_a_blank() -> None:
    assert greedy_decode([0, 1, 1, 0, 1, 2, 2, 0]) == [1, 1, 2]
    assert greedy_decode([]) == []


def test_a_beam_sums_alignments_that_a_greedy_search_cannot_see() -> None:
    shares = np.array([[0.6, 0.4], [0.6, 0.4]])
    assert greedy_decode(shares.argmax(axis=1).tolist()) == []
    assert prefix_beam_search(shares, 8)[0] == (1,)


@pytest.mark.parametrize("options", [{}, {"units": "subwords", "num_subwords": 30}])
def test_a_lexicon_lets_only_known_words_through(options: dict[str, Any]) -> None:
    target = fit(lexicon=True, **options)
    known = {word for text in TEXTS for word in text.split()}
    units = len(target.units.symbols) + 1
    for seed in range(5):
        text = target.units.decode(target.search(random_shares(25, units, seed)))
        assert set(text.split()) <= known


def test_a_lexicon_mends_a_misheard_letter() -> None:
    target, free = fit(lexicon=True), fit(decode="beam", lexicon=False)
    heard = target.units.encode("sev") + target.units.encode("i") + target.units.encode("n")
    shares = np.full((len(heard), len(target.units.symbols) + 1), 0.01)
    shares[np.arange(len(heard)), heard] = 0.8
    assert free.units.decode(free.search(shares)) == "sevin"
    assert target.units.decode(target.search(shares)) == "seven"


def test_texts_beside_sound_are_transcripts() -> None:
    texts = [f"{a} {b} {c}" for a, b, c in product(("one", "two", "six"), repeat=3)]
    kind, _ = detect_target_kind("said", texts, None, None, frozenset({"audio"}))
    assert kind == "transcript"


def test_yesno_is_learnt_from_the_first_steps_on(shared_data: Path, tmp_path: Path) -> None:
    table = read_table(shared_data / "fixtures" / "yesno.csv").take(np.arange(16))
    settings = {"train.epochs": 3, "train.batch_size": 4, "train.learning_rate": 3e-3}
    model = tiny.train(table, "transcript", settings=settings, output=tmp_path / "run")
    history = model.report_data["history"]
    assert history[-1]["train_loss"] < history[0]["train_loss"] * 0.8
    assert isinstance(model.trained.targets["transcript"], TranscriptTarget)
    assert model.summary()["targets"]["transcript"]["wer"] <= 1.5
    assert model.report_data["targets_info"][0]["primary_metric"] == "wer"
    hop_s = model.trained.preprocessor.modalities["audio"].hop_length / 8000
    assert hop_s == pytest.approx(0.01), "long clips keep steps that are fine enough to spell by"
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "word error rate" in html
    assert '<p class="differences">' in html
    assert "<del>" in html
    assert "<audio" in html
    assert len(model.predict(table)["transcript"]) == 16


def test_an_empty_transcript_is_set_aside_and_one_of_invisible_characters_is_named(shared_data: Path) -> None:
    table = read_table(shared_data / "fixtures" / "yesno.csv").take(np.arange(12))
    table = tiny.with_cell(tiny.with_cell(table, "transcript", 2, None), "transcript", 5, "\u200b")
    model = tiny.train(table, "transcript", modality={"transcript": "transcript"}, test=False)
    assert sum(model.summary()["rows"].values()) == 10
    assert model.summary()["set_aside"] == 2
    assert [(cell["row"], cell["column"], cell["reason"]) for cell in model.report_data["broken_cells"]] == [
        (6, "transcript", "holds an empty transcript")
    ]


def test_texts_longer_than_their_sound_are_counted(tmp_path: Path) -> None:
    table = tiny.only(tiny.write_structured_table(tmp_path, "transcript", rows=30), "sound", "answer")
    rows = [2, 5]
    for row in rows:
        table = tiny.with_cell(table, "answer", row, "one two " * 200)
    model = tiny.train(table, "answer", modality={"answer": "transcript"}, validation=table, test=False)
    told = [notice for notice in model.report_data["notices"] if "are ignored in training" in notice]
    assert len(told) == 1
    assert told[0].startswith("The target 'answer': 2 training texts have more units than their audio has time steps")


@pytest.mark.parametrize(
    ("encoder", "features", "options"),
    [
        ("gru", "mfcc", {"units": "subwords", "num_subwords": 12}),
        ("transformer", "log_mel", {"lexicon": True}),
        ("waveform", "waveform", {"decode": "beam", "lexicon": False, "depth": 1}),
    ],
)
def test_every_sound_encoder_can_be_spelt_from(tmp_path: Path, encoder: str, features: str, options: Any) -> None:
    table = tiny.only(tiny.write_structured_table(tmp_path, "transcript", rows=30), "sound", "note", "answer")
    settings = {"settings": {"sound": {"features": features}}, "target_settings": {"answer": options}}
    model = tiny.train(table, "answer", modality={"answer": "transcript"}, encoder={"sound": encoder}, config=settings)
    model.save(tmp_path / "model")
    before, after = (m.predictions(table) for m in (model, polymodal.load(tmp_path / "model")))
    assert before.labels == after.labels
    assert before.confidences == after.confidences
    assert all(0 <= sure <= 1 for sure in before.confidences["answer"] if sure is not None)
