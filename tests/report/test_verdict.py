"""The verdict: it names what decides, and is never better than what the rows can show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polymodal.metrics.paired import compare_rows_right
from polymodal.report.verdict import find_decider, write_headline

INFO = {"name": "y", "primary_metric": "accuracy", "higher_is_better": True}
PRIOR = "baseline:prior"
ROWS = 200


def evaluation(ours: int, weights: dict[str, float] | None = None, **members: int) -> dict[str, Any]:
    """Evaluate 200 rows, of which so many are right; the members err on rows next to those that the answer gets wrong.

    Args:
        ours: Rows that the final answer gets right.
        weights: Share of influence of each member.
        members: Rows that each member gets right: ``fusion``, ``a`` and ``b`` (streams), ``linear``, ``prior``.
    """
    right = {name: np.arange(ROWS) < count for name, count in members.items()}
    scores = {name: {"accuracy": count / ROWS} for name, count in members.items()}
    kinds = {"fusion": "fusion", "a": "stream:a", "b": "stream:b"}
    named = {kinds.get(name, f"baseline:{name}"): name for name in members}
    final = np.arange(ROWS) < ours
    found: dict[str, Any] = {
        "split": "test",
        "rows": ROWS,
        "targets": {"y": {"accuracy": ours / ROWS}},
        "intervals": {"y": {"accuracy": [ours / ROWS - 0.03, ours / ROWS + 0.03]}},
        "streams": {"y": {name: scores[name] for name in ("a", "b") if name in scores}},
        "baselines": {"y": {name: scores[name] for name in ("linear", "prior") if name in scores}},
        "fusion": {"y": scores.get("fusion", {})},
        "comparisons": {"y": {m: compare_rows_right(final, right[name]).state() for m, name in named.items()}},
    }
    return found | ({"decision": {"y": {"weights": weights, "note": ""}}} if weights else {})


@pytest.mark.parametrize(
    ("weights", "scores", "verdict", "tone"),
    [
        ({"fusion": 1.0}, {"fusion": 180, "a": 150, "b": 90, "linear": 140, "prior": 100}, "The fusion wins", "good"),
        (
            {"fusion": 0.04, "baseline:linear": 0.5, "stream:a": 0.46},
            {"fusion": 20, "a": 150, "b": 90, "linear": 140, "prior": 100},
            "The blend wins",
            "good",
        ),
        (
            {"baseline:linear": 0.95, "fusion": 0.05},
            {"fusion": 60, "a": 150, "b": 90, "linear": 180, "prior": 100},
            "The linear baseline decides",
            "even",
        ),
        ({"stream:a": 1.0}, {"fusion": 60, "a": 180, "b": 90, "prior": 100}, "The stream “a” decides", "even"),
        (
            {"fusion": 0.5, "stream:a": 0.5},
            {"fusion": 170, "a": 179, "b": 90, "prior": 100},
            "The blend is level with the stream “a”",
            "even",
        ),
        (
            {"fusion": 0.5, "baseline:linear": 0.5},
            {"fusion": 170, "a": 150, "b": 90, "linear": 195, "prior": 100},
            "The blend loses to the linear baseline",
            "bad",
        ),
        (
            {"stream:a": 1.0},
            {"fusion": 60, "a": 180, "b": 90, "linear": 198, "prior": 100},
            "The stream “a” decides and loses to the linear baseline",
            "bad",
        ),
        ({PRIOR: 1.0}, {"fusion": 60, "a": 150, "b": 90, "prior": 180}, "No better than the prior", "bad"),
        ({"fusion": 1.0}, {"fusion": 180, "a": 150, "b": 90, "prior": 179}, "No better than the prior", "bad"),
        ({"fusion": 1.0}, {"fusion": 180, "prior": 100}, "The network beats the prior", "good"),
    ],
)
def test_the_verdict_names_what_decides(
    weights: dict[str, float], scores: dict[str, int], verdict: str, tone: str
) -> None:
    headline = write_headline(INFO, evaluation(180, weights, **scores))
    assert (headline.verdict, headline.tone) == (verdict, tone)


def test_a_fusion_with_little_influence_gets_no_credit() -> None:
    weights = {"fusion": 0.04, "baseline:linear": 0.5, "stream:a": 0.46}
    found = evaluation(180, weights, fusion=20, a=150, b=90, linear=140, prior=100)
    headline = write_headline(INFO, found)
    assert "fusion" not in headline.verdict.lower()
    assert "the fusion network has next to no influence" in headline.comparison
    assert "The answer blends the linear baseline (50%) and the stream “a” (46%)" in headline.comparison


def test_a_lead_of_one_row_is_called_that() -> None:
    found = evaluation(180, {"fusion": 0.6, "stream:a": 0.4}, fusion=170, a=179, b=90, linear=182, prior=100)
    comparison = write_headline(INFO, found).comparison
    assert "leads the stream “a” (89.5%) by 1 row of 200" in comparison
    assert "trails the linear baseline (91.0%) by 2 rows of 200" in comparison
    assert "no difference that this test can show" in comparison
    end = "alone is better than the final answer here, if not by a margin that these rows can prove."
    assert comparison.endswith(f"The linear baseline {end}")


def test_an_equal_member_is_named() -> None:
    found = evaluation(180, {"fusion": 0.6, "stream:a": 0.4}, fusion=170, a=180, b=90, prior=100)
    assert "The stream “a” alone does as well as the final answer." in write_headline(INFO, found).comparison


def test_without_a_decision_level_the_fusion_answers() -> None:
    assert find_decider("y", evaluation(180, fusion=180)) == "fusion"
    assert find_decider("y", evaluation(180, {"fusion": 0.5, "stream:a": 0.5}, fusion=180)) is None


def test_reports_of_earlier_versions_are_compared_by_their_intervals() -> None:
    found = evaluation(180, {"fusion": 1.0}, fusion=180, a=178, b=90, linear=140, prior=100)
    del found["comparisons"]
    headline = write_headline(INFO, found)
    assert headline.verdict == "The fusion is level with the stream “a”"
    assert "It is better than the linear baseline (70.0%) and the prior (50.0%)." in headline.comparison
    assert (
        "It cannot be told apart (its interval covers the difference) from the stream “a” (89.0%)."
        in headline.comparison
    )


def test_lower_is_better_turns_the_comparison_round() -> None:
    info = {"name": "y", "primary_metric": "rmse", "higher_is_better": False}
    lead = {
        "lead": -2.5,
        "interval": [-3.0, -2.0],
        "p_value": 0.01,
        "test": "paired bootstrap",
        "wins": None,
        "losses": None,
    }
    found = {
        "split": "test", "rows": 90, "targets": {"y": {"rmse": 18.0}}, "streams": {"y": {}},
        "baselines": {"y": {"boosting": {"rmse": 15.5}, "mean": {"rmse": 62.0}}},
        "comparisons": {"y": {"baseline:boosting": lead}}, "intervals": {"y": {"rmse": [17.0, 19.0]}},
    }  # fmt: skip
    headline = write_headline(info, found)
    assert headline.verdict == "The network loses to the boosting baseline"
    assert "worse than the boosting baseline (15.5) by 2.5 (95% interval 2 to 3)" in headline.comparison
    assert "lower is better" in headline.metric
