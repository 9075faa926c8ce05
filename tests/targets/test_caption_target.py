"""The target caption: exact tokenizer, truncated texts, greedy decoding and beam search, a decoder that learns."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import tiny
from polymodal.errors import ConfigError
from polymodal.model.summary import run_notices
from polymodal.targets import CaptionTarget, RowContext, fit_target
from polymodal.targets.beam_search import BeamSearch, Candidates, beam_search
from polymodal.targets.caption_tokenizer import CaptionTokenizer
from polymodal.tokens import Fused, Tokens

WIDTH = 16
CAPTIONS = ["a red cat", "a blue cat", "two  red dogs!", "a blue dog sleeps on a red mat"]


def fit(cells: list[Any], **options: Any) -> CaptionTarget:
    target = fit_target("caption", cells, RowContext(), options)
    assert isinstance(target, CaptionTarget)
    return target


def fused_of(rows: int) -> Fused:
    """Return rows that differ from each other in every part; the third token is absent."""
    generator = torch.Generator().manual_seed(0)
    present = torch.tensor([True, True, False]).expand(rows, 3)
    tokens = Tokens(torch.randn(rows, 3, WIDTH, generator=generator), present)
    return Fused(torch.randn(rows, WIDTH, generator=generator), tokens)


@pytest.fixture(scope="module")
def learnt() -> tuple[CaptionTarget, Any]:
    """Teach a head to say one caption for each of four rows."""
    torch.manual_seed(0)
    target = fit(CAPTIONS * 5)
    head = target.build_head(WIDTH, {})
    truth = torch.from_numpy(target.encode(CAPTIONS, RowContext())[0])
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(80):
        optimizer.zero_grad()
        head.loss(fused_of(4), truth, 0.0).mean().backward()
        optimizer.step()
    return target, head.eval()


ODD_TEXTS = ["a", " A  red\tcat \n", "Ä 漢字 🙂\x00", "[PAD] </s> <unk>", "\u00e9 e\u0301", "- , ' 3.5"]


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_every_text_comes_back_to_the_letter(text: str) -> None:
    tokenizer = CaptionTokenizer.fit(CAPTIONS * 5, 4000)
    assert tokenizer.decode([*tokenizer.encode([text])[0], 1, 0]) == text


def test_small_columns_get_small_vocabularies() -> None:
    assert CaptionTokenizer.fit(CAPTIONS, 4000).num_ids < 270 < CaptionTokenizer.fit(CAPTIONS * 5, 4000).num_ids
    assert CaptionTokenizer.fit(CAPTIONS * 5, 4000).num_ids < 310
    assert CaptionTokenizer.fit(CAPTIONS * 5, 260).num_ids == 262


def test_a_decoder_learns_its_captions_and_knows_how_sure_it_is(learnt: tuple[CaptionTarget, Any]) -> None:
    target, head = learnt
    with torch.inference_mode():
        answers = head.predict(fused_of(4))
        losses = head.loss(fused_of(4), torch.from_numpy(target.encode(CAPTIONS, RowContext())[0]), 0.0)
    assert [answer.value for answer in answers] == CAPTIONS
    for answer, loss in zip(answers, losses.tolist(), strict=True):
        assert answer.confidence == pytest.approx(math.exp(-loss), abs=1e-4)


def test_absent_tokens_and_longer_neighbours_change_nothing(learnt: tuple[CaptionTarget, Any]) -> None:
    target, head = learnt
    whole = fused_of(4)
    values = whole.tokens.values.clone()
    values[:, 2] = 1e6
    truth = torch.from_numpy(target.encode(CAPTIONS, RowContext())[0])
    with torch.inference_mode():
        assert head.predict(Fused(whole.pooled, Tokens(values, whole.tokens.present))) == head.predict(whole)
        first = Fused(whole.pooled[:1], Tokens(whole.tokens.values[:1], whole.tokens.present[:1]))
        alone, among = head.loss(first, truth[:1], 0.05)[0], head.loss(whole, truth, 0.05)[0]
    assert alone.item() == pytest.approx(among.item(), abs=1e-5)


def test_beams_find_the_captions_as_well(learnt: tuple[CaptionTarget, Any]) -> None:
    _, head = learnt
    searching = fit(CAPTIONS * 5, decode="beam", beam_width=3).build_head(WIDTH, {}).eval()
    searching.load_state_dict(head.state_dict())
    with torch.inference_mode():
        assert [answer.value for answer in searching.predict(fused_of(4))] == CAPTIONS
        assert searching.predict(fused_of(0)) == []


def search(chances: dict[tuple[int, ...], list[float]], width: int, penalty: float = 0.0) -> tuple[list[int], float]:
    """Search one row whose next ids have the given chances after each beginning: end, 2 and 3."""
    begun: list[tuple[int, ...]] = [()] * width

    def candidates() -> Candidates:
        shares = np.array([chances.get(text, [1.0, 0.0, 0.0]) for text in begun])
        order = np.argsort(-shares, axis=1)[:, :width]
        with np.errstate(divide="ignore"):
            return Candidates(np.log(np.take_along_axis(shares, order, axis=1)).astype(np.float32), order + 1)

    def advance(last: NDArray[np.int64], origin: NDArray[np.int64]) -> Candidates:
        nonlocal begun
        begun = [(*begun[place], int(new)) for place, new in zip(origin, last, strict=True)]
        return candidates()

    options = BeamSearch(beam_width=width, max_length=4, end=1, padding=0, length_penalty=penalty)
    ids, log_mean = beam_search(candidates(), advance, 1, options)
    return [index for index in ids[0].tolist() if index], float(np.exp(log_mean[0]))


GARDEN_PATH = {(): [0.0, 0.6, 0.4], (2,): [0.5, 0.5, 0.0], (3,): [0.99, 0.01, 0.0]}
SHORT_OR_LONG = {(): [0.3, 0.7, 0.0], (2,): [0.0, 0.0, 1.0], (2, 3): [0.4, 0.6, 0.0]}


def test_a_search_finds_what_greed_misses() -> None:
    assert search(GARDEN_PATH, 1) == ([2, 1], pytest.approx(math.sqrt(0.3)))
    assert search(GARDEN_PATH, 2) == ([3, 1], pytest.approx(math.sqrt(0.396)))


def test_a_length_penalty_favours_long_texts() -> None:
    assert search(SHORT_OR_LONG, 3, 0.0)[0] == [2, 3, 2, 1]
    chances = SHORT_OR_LONG | {(): [0.5, 0.5, 0.0]}
    assert search(chances, 3, 0.0)[0] == [1]
    assert search(chances, 3, 2.0)[0] == [2, 3, 2, 1]


def test_texts_end_at_the_longest_training_caption_unless_told_otherwise() -> None:
    target = fit(CAPTIONS * 5)
    assert (target.max_length, target.num_cut, target.notices()) == (9, 0, [])
    cut = fit(CAPTIONS * 5, max_length=8)
    assert cut.num_cut == 5
    assert "5 training captions have more than 8 tokens" in cut.notices()[0]
    truth, known = cut.encode(CAPTIONS, RowContext())
    assert known.all()
    assert 1 not in truth[3]
    assert truth[0, 3:].tolist() == [1, 0, 0, 0, 0]
    assert cut.references(CAPTIONS, RowContext()) == CAPTIONS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_width": 3}, "'beam_width' of the target kind 'caption' belongs to the beam search. Set decode=beam"),
        ({"length": 3}, "The target kind 'caption' has no option 'length'. Did you mean 'max_length'"),
        ({"max_length": 1}, "The 'max_length' parameter of the target kind 'caption' must be"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(CAPTIONS, **options)


def test_a_run_tells_of_cut_captions_and_takes_the_options_of_the_target() -> None:
    table = tiny.numbers_table()
    says = [f"{colour} {age}" for colour, age in zip(table["colour"], table["age"], strict=True)]
    options = {"target_settings.says.max_length": 3, "target_settings.says.decode": "beam"}
    model = tiny.train(table | {"says": says}, "says", modality={"says": "caption"}, settings=options)
    (notice,) = run_notices(model.report_data)
    assert notice.startswith("The target 'says': ")
    assert "training captions have more than 3 tokens and were truncated" in notice
    assert notice.endswith("The option max_length sets another limit.")


def test_the_prior_is_the_most_frequent_caption_and_its_share() -> None:
    prior = fit([*CAPTIONS, "a blue cat", None]).prior
    assert (prior.value, prior.confidence) == ("a blue cat", 0.4)


def test_free_texts_are_inferred_and_learnt_from_a_table() -> None:
    table = tiny.numbers_table(120)
    ages = [str(10 + row % 50) for row in range(120)]
    says = [" ".join(words) for words in zip(table["colour"], table["kind"], ages, strict=True)]
    settings = {"train.epochs": 12, "train.learning_rate": 0.005, "train.augment": False, "width": 32}
    model = tiny.train(table | {"age": ages, "says": says}, "says", settings=settings)
    assert model.trained.targets["says"].kind == "caption"
    scores, prior = (model.summary()[part]["says"] for part in ("targets", "baselines"))
    assert scores["rouge_l"] > prior["prior"]["rouge_l"] + 0.1
    assert all(0 < sure <= 1 for sure in model.predictions(table).confidences["says"])


def test_all_captions_of_a_row_are_learned_from_and_judged_by() -> None:
    rows = [["a red cat", "the cat is red"], '["a blue cat", ""]', "two dogs", None] * 5
    target = fit(rows)
    truth, known = target.encode(rows[:4], RowContext())
    assert known.tolist() == [True, True, True, False]
    decoded = [[target.tokenizer.decode(text) for text in row] for row in truth.tolist()]
    assert decoded == [["a red cat", "the cat is red"], ["a blue cat", ""], ["two dogs", ""], ["", ""]]
    assert target.references(rows[:3], RowContext()) == [["a red cat", "the cat is red"], "a blue cat", "two dogs"]
    (notice,) = target.notices()
    assert notice.startswith("5 training rows have several captions; an epoch learns from one of each row")
    assert notice.endswith("drawn at random from up to 2, and answers are judged against all")
    assert CaptionTarget.from_state(json.loads(json.dumps(target.state()))) == target


def test_training_draws_one_caption_of_a_row_and_validation_takes_their_mean() -> None:
    target = fit([["a red cat", "the cat is red"], ["a blue cat"]] * 5)
    head, given = target.build_head(WIDTH, {}).eval(), fused_of(2)
    truth = torch.from_numpy(target.encode([["a red cat", "the cat is red"], ["a blue cat"]], RowContext())[0])
    with torch.inference_mode():
        mean, apart = head.loss(given, truth, 0.0), [head.loss(given, truth[:, place], 0.0) for place in (0, 1)]
        head.train()
        for module in head.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        drawn = torch.stack([head.loss(given, truth, 0.0) for _ in range(20)])
    assert mean[0].item() == pytest.approx((apart[0][0] + apart[1][0]).item() / 2, abs=1e-5)
    assert mean[1].item() == pytest.approx(apart[0][1].item(), abs=1e-5)
    assert len({round(loss, 3) for loss in drawn[:, 0].tolist()}) == 2
    assert len({round(loss, 3) for loss in drawn[:, 1].tolist()}) == 1


def test_a_run_learns_from_several_captions_and_shows_them() -> None:
    table = tiny.numbers_table()
    says = [[f"{colour} {age}", f"it is {colour}"] for colour, age in zip(table["colour"], table["age"], strict=True)]
    model = tiny.train(table | {"says": says}, "says", modality={"says": "caption"})
    assert any("several captions" in notice for notice in run_notices(model.report_data))
    assert 0 <= model.summary()["targets"]["says"]["rouge_l"] <= 1
    assert model.evaluate(table | {"says": says})["targets"]["says"]["bleu"] >= 0
