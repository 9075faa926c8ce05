from __future__ import annotations

import numpy as np
import pytest

from polymodal.metrics import measure_rows
from polymodal.metrics.retrieval import Ranking, RetrievalRows, rank, rank_all


def measure_ranking(ranking: Ranking, weights: np.ndarray) -> dict[str, np.ndarray]:
    return measure_rows("embedding", RetrievalRows({"a → b": ranking}))(weights)


def test_metrics_of_a_ranking_worked_out_by_hand() -> None:
    queries = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    candidates = np.array([[0.9, 0.1], [1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    labels = np.array([0, 1, 0, 1, 1])
    ranking = rank(queries, candidates, (np.array([0, 1]), np.array([2, 3, 4])), labels)
    assert ranking.first.tolist() == [2.0, 1.0]
    assert ranking.precision == pytest.approx([1 / 2, (1 / 1 + 2 / 3) / 2])
    found = measure_ranking(ranking, np.ones((1, 5)))
    assert found["recall_at_1"][0] == 0.5
    assert found["recall_at_5"][0] == 1.0
    assert found["map"][0] == pytest.approx((1 / 2 + 5 / 6) / 2)


def test_weights_count_queries() -> None:
    queries = candidates = np.eye(3, dtype=np.float32)
    rows = (np.arange(3), np.arange(3))
    ranking = rank(queries, -candidates, rows, np.arange(3))
    weights = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    assert measure_ranking(ranking, weights)["median_rank"].tolist() == [3.0, 3.0]


def test_absent_streams_are_neither_queries_nor_candidates() -> None:
    one = np.array([1.0, 0.0], dtype=np.float32)
    found = rank_all([{"a": one, "b": one}, {"a": one}, {"b": one}, {}], np.array([0, 1, 2, 3]))
    assert set(found) == {"a → b", "b → a"}
    assert found["a → b"].rows.tolist() == [0]


def test_vectors_that_are_all_alike_are_ranked_by_chance() -> None:
    same = np.ones((400, 2), dtype=np.float32)
    rows = np.arange(400)
    ranking = rank(same, same, (rows, rows), rows % 4)
    assert measure_ranking(ranking, np.ones((1, 400)))["map"][0] == pytest.approx(0.25, abs=0.05)
