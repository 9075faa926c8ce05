"""What a run does not load and does not do again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch.optim import AdamW

import polymodal
from polymodal import run
from polymodal.baseline_cache import keep_baselines
from polymodal.baseline_features import FeatureBlocks
from polymodal.baselines import Baseline, fit_baselines
from polymodal.cache import ArrayCache
from polymodal.optimizer import PlainAdamW

HEAVY = ("torch._dynamo", "torch.distributed.tensor", "sympy", "sklearn", "scipy.stats", "matplotlib", "transformers")
"""What a run on tables, pictures and sounds needs nothing of."""
TRAIN = """
import sys
import numpy as np
import polymodal
random = np.random.default_rng(0)
kind = random.integers(0, 3, 80)
rows = {"size": (kind + random.random(80)).tolist(), "kind": [f"k{k}" for k in kind]}
settings = {"train.epochs": 1, "width": 16, "train.pretrain_epochs": 0}
model = polymodal.fit(rows, target="kind", settings=settings, output=sys.argv[1])
print(sorted(model.record["evaluation"]["baselines"]["kind"]))
print([name for name in sys.argv[2:] if name in sys.modules])
import lightgbm
print(lightgbm.LGBMClassifier(n_estimators=2, verbosity=-1).fit(np.eye(40), np.arange(40) % 2).n_classes_)
"""


def blocks(num_rows: int, seed: int) -> tuple[FeatureBlocks, NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, num_rows)
    values = (truth[:, None] + random.normal(size=(num_rows, 4))).astype(np.float32)
    sparse = csr_matrix((random.random((num_rows, 6)) > 0.7).astype(np.float32))
    return FeatureBlocks(values, sparse, values.copy()), truth


def given(seed: int = 0) -> tuple[Any, ...]:
    return ("category", 3, *blocks(120, 1), *blocks(40, 2), seed, 1)


class Fit:
    """Fits baselines and counts how often."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.arguments, self.count = arguments, 0

    def __call__(self) -> list[Baseline]:
        self.count += 1
        return fit_baselines(*self.arguments)


def test_a_run_loads_no_compiler_and_no_scikit_learn_and_lightgbm_stays_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TRAIN, str(tmp_path / "run"), *HEAVY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["['boosting', 'linear', 'prior']", "[]", "2"]


def test_the_plain_optimizer_takes_the_steps_of_torchs_own() -> None:
    def trained(kind: type[AdamW]) -> tuple[list[torch.Tensor], dict[str, Any]]:
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 1))
        groups = [{"params": [p], "weight_decay": 0.1 * p.ndim} for p in network.parameters()]
        optimizer = kind(groups, lr=0.05, fused=True)
        for step in range(6):
            if step == 3:
                optimizer.load_state_dict(optimizer.state_dict())
            optimizer.zero_grad()
            network(torch.ones(4, 5)).pow(2).sum().backward()
            optimizer.step()
        return [p.detach() for p in network.parameters()], optimizer.state_dict()

    (plain, plain_state), (usual, usual_state) = trained(PlainAdamW), trained(AdamW)
    assert all(torch.equal(a, b) for a, b in zip(plain, usual, strict=True))
    assert plain_state["param_groups"] == usual_state["param_groups"]


def test_baselines_are_fitted_once_and_come_back_bit_identical(tmp_path: Path) -> None:
    arguments, cache = given(), ArrayCache(tmp_path)
    fit = Fit(arguments)
    first, second = keep_baselines(cache, arguments, fit), keep_baselines(cache, arguments, fit)
    assert fit.count == 1
    fresh, features = fit_baselines(*arguments), arguments[4]
    for one, other, kept in zip(fresh, first, second, strict=True):
        assert one.name == other.name == kept.name
        assert np.array_equal(one.predict(features), other.predict(features))
        assert np.array_equal(one.predict(features), kept.predict(features))


@pytest.mark.parametrize("place", ["seed", "truth", "dense", "trees", "sparse"])
def test_anything_that_the_fit_depends_on_changes_the_key(tmp_path: Path, place: str) -> None:
    cache, one, other = ArrayCache(tmp_path), given(), given(seed=1 if place == "seed" else 0)
    features: FeatureBlocks = other[2]
    if place == "truth":
        other[3][0] = (other[3][0] + 1) % 3
    elif place == "sparse":
        features.sparse.data[0] += 1
    elif place != "seed":
        getattr(features, place)[0, 0] += 1
    fit = Fit(other)
    keep_baselines(cache, one, Fit(one))
    keep_baselines(cache, other, fit)
    assert fit.count == 1


def test_damaged_baselines_are_fitted_again(tmp_path: Path) -> None:
    arguments, cache = given(), ArrayCache(tmp_path)
    keep_baselines(cache, arguments, Fit(arguments))
    (values,) = tmp_path.glob("*/values.npy")
    content = bytearray(values.read_bytes())
    content[len(content) // 2] ^= 255
    values.write_bytes(bytes(content))
    fit = Fit(arguments)
    assert [baseline.name for baseline in keep_baselines(cache, arguments, fit)] == ["prior", "linear", "boosting"]
    assert fit.count == 1


def test_without_a_cache_baselines_are_fitted_and_nothing_is_kept() -> None:
    fit = Fit(given())
    keep_baselines(ArrayCache(None), given(), fit)
    keep_baselines(ArrayCache(None), given(), fit)
    assert fit.count == 2


def test_a_second_run_on_the_same_rows_fits_no_baselines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYMODAL_CACHE", str(tmp_path / "cache"))
    counted: list[int] = []

    def counting(*arguments: Any) -> list[Baseline]:
        counted.append(1)
        return fit_baselines(*arguments)

    monkeypatch.setattr(run, "fit_baselines", counting)
    random = np.random.default_rng(0)
    kind = random.integers(0, 3, 90)
    rows = {"size": (kind + random.random(90)).tolist(), "kind": [f"k{k}" for k in kind]}
    settings = {"train.epochs": 1, "width": 16, "num_threads": 1}
    found = [polymodal.fit(rows, target="kind", settings=settings).summary()["baselines"] for _ in range(2)]
    assert len(counted) == 1
    assert found[0] == found[1]
