"""Many requests at the same time: every one gets its own answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from loopback import running
from polymodal.serving.settings import Limits, ServerSettings


def test_concurrent_requests_get_their_own_answers(client: httpx.Client, example: dict[str, Any]) -> None:
    rows = [example | {"size": size / 10, "colour": colour} for size in range(16) for colour in ("red", "blue")]
    rows[5] = rows[5] | {"photo": {"base64": "iVBORw0KGgo="}}  # a head of a PNG and nothing else
    alone = [client.post("/predict", json={"rows": [row]}) for row in rows]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda row: client.post("/predict", json={"rows": [row]}), rows * 2))
    for one, other in zip(alone * 2, together, strict=True):
        assert one.status_code == other.status_code
        if one.status_code == 200:
            first, second = one.json()["rows"][0], other.json()["rows"][0]
            assert first["predictions"]["kind"]["value"] == second["predictions"]["kind"]["value"]
            assert first["predictions"]["kind"]["probabilities"] == pytest.approx(
                second["predictions"]["kind"]["probabilities"], abs=1e-5
            )
            assert first["broken"] == second["broken"]
    metrics = client.get("/metrics").text
    batches = float(metrics.split("polymodal_batch_rows_count ")[1].split()[0])
    summed = float(metrics.split("polymodal_batch_rows_sum ")[1].split()[0])
    assert summed > batches  # some shared a batch


def test_options_of_one_request_do_not_reach_another(client: httpx.Client, example: dict[str, Any]) -> None:
    bodies = [{"rows": [example]}, {"rows": [example], "coverage": 0.8}, {"rows": [example], "unusual": True}] * 6
    with ThreadPoolExecutor(9) as pool:
        answers = list(pool.map(lambda body: client.post("/predict", json=body).json()["rows"][0], bodies))
    for body, answer in zip(bodies, answers, strict=True):
        assert ("set" in answer["predictions"]["kind"]) == ("coverage" in body)
        assert ("unusual" in answer) == ("unusual" in body)


def test_a_full_queue_refuses_with_retry_after(changed: Callable[..., ServerSettings], example: dict[str, Any]) -> None:
    rows = [example | {"size": float(size)} for size in range(40)]
    limits = Limits(max_rows=40)
    with running(changed(queue=40, max_batch=1, limits=limits)) as address, ThreadPoolExecutor(12) as pool:
        ask = lambda _: httpx.post(f"{address}/predict", json={"rows": rows}, timeout=60)  # noqa: E731
        answers = list(pool.map(ask, range(12)))
    statuses = {answer.status_code for answer in answers}
    assert statuses == {200, 429}
    for answer in answers:
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) >= 1
            assert "rows are waiting" in answer.json()["error"]


def test_an_answer_that_takes_too_long_is_504(changed: Callable[..., ServerSettings], example: dict[str, Any]) -> None:
    with running(changed(timeout_s=0.0005)) as address:
        answer = httpx.post(f"{address}/predict", json={"rows": [example] * 30}, timeout=60)
    assert answer.status_code == 504
    assert "No answer within 0.0005 s" in answer.json()["error"]
