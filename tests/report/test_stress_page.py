"""The page of a stress test: what it says, that it is one file, and that names in it do no harm."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from polymodal.report.stress_page import write_stress_page
from polymodal.report.stress_sections import describe_stress
from polymodal.robustness import Absence, Estimate, NoiseCurve, StressReport, TargetStress

MEMBERS = ("final", "fusion", "baseline:linear", "baseline:prior")


def _scores(final: float, fusion: float, linear: float) -> dict[str, float]:
    return dict(zip(MEMBERS, (final, fusion, linear, 0.1), strict=True))


def _estimates(scores: dict[str, float | None]) -> dict[str, Estimate]:
    return {m: Estimate(value=v, interval=None if v is None else [v - 0.05, v + 0.05]) for m, v in scores.items()}


def _losses(scores: dict[str, float]) -> dict[str, Estimate]:
    return _estimates({member: 0.9 - score if score != 0.1 else 0.0 for member, score in scores.items()})


def stress_report(stream: str = "photo") -> StressReport:
    curves = [
        NoiseCurve(
            stream=stream,
            kind=kind,
            scores={m: [score, score - 0.1] for m, score in scores.items()},
            error=_losses(scores),
        )
        for kind, scores in (("image_noise", _scores(0.5, 0.7, 0.4)), ("image_blur", _scores(0.85, 0.85, 0.8)))
    ]
    missing = _scores(0.1, 0.1, 0.1)
    target = TargetStress(
        metric="accuracy",
        higher_is_better=True,
        rows=40,
        members=list(MEMBERS),
        clean=_estimates(_scores(0.9, 0.9, 0.8)),
        noisy=_estimates(_scores(0.65, 0.75, 0.55)),
        mean_error=_losses(_scores(0.65, 0.75, 0.55)),
        curves=curves,
        missing=[Absence(absent=[stream], scores=dict(missing), error=_losses(missing))],
    )
    described = {"modality": "image", "title": "noise", "unit": "black to white being 1", "levels": [0.08, 0.38]}
    return StressReport(
        table="new.csv",
        rows=40,
        table_rows=80,
        severities=[1, 5],
        kinds={"image_noise": described, "image_blur": described | {"title": "blur"}},
        streams={stream: "image"},
        targets={"kind": target},
        notices=["Used were 40 of the 80 rows with truth, drawn at random."],
    )


def test_the_page_says_what_is_lost_where_and_which_answer_is_firmer(tmp_path: Path) -> None:
    write_stress_page(stress_report(), tmp_path / "stress.html")
    page = (tmp_path / "stress.html").read_text(encoding="utf-8")
    assert "the final answer loses 25.0 points of accuracy: from 0.900 to 0.650." in page
    assert "Most by noise in “photo”: 40.0 points." in page
    assert "Under noise the fusion network alone is better: 0.750." in page
    assert page.index('title="image_noise"') < page.index('title="image_blur"')
    assert "Used were 40 of the 80 rows" in page
    assert not re.search(r"(src|href)=\"(https?:)?//", page)


def test_the_darkest_cell_is_where_the_lead_over_the_prior_is_lost() -> None:
    described = describe_stress(stress_report())
    assert described is not None
    (target,) = described["targets"]
    assert [cell["share"] for cell in target["missing"][0]["cells"]] == [100, 100, 100]
    assert [cell["share"] for cell in target["worst"][0]["cells"]] == [50, 62]


def test_a_state_is_described_like_the_report_and_nothing_is_nothing() -> None:
    report = stress_report()
    first, second = describe_stress(report), describe_stress(report.state())
    assert first is not None
    assert second is not None
    assert first["targets"] == second["targets"]
    assert describe_stress(None) is None


def test_undefined_scores_and_names_like_markup_are_shown(tmp_path: Path) -> None:
    report = stress_report("<b>photo</b>")
    (target,) = report.targets.values()
    nothing = dict.fromkeys(MEMBERS)
    target.curves[0].scores.update({member: [None, None] for member in MEMBERS})
    target.curves[0].error.update(_estimates(nothing))
    target.mean_error.update(_estimates(nothing))
    write_stress_page(report, tmp_path / "stress.html")
    page = (tmp_path / "stress.html").read_text(encoding="utf-8")
    assert "<b>photo</b>" not in page
    assert "–" in page


@pytest.mark.parametrize("rows", [1, 40])
def test_a_report_without_curves_says_so(rows: int, tmp_path: Path) -> None:
    report = stress_report()
    report.targets["kind"].curves.clear()
    write_stress_page(report, tmp_path / "stress.html")
    assert "No stream could get noise." in (tmp_path / "stress.html").read_text(encoding="utf-8")
