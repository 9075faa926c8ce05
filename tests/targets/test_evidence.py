from __future__ import annotations

import torch

from polymodal.targets import CategoryTarget, NumberTarget
from polymodal.targets.evidence import (
    WARMUP,
    EvidentialCategoryTarget,
    kl_from_uniform,
    to_evidential,
    with_annealed_penalty,
)

CELLS = ["a", "b", "c", "a"]


def evidence(penalty: float = 0.0) -> EvidentialCategoryTarget:
    return EvidentialCategoryTarget(**CategoryTarget.fit(CELLS).state(), penalty=penalty)


def test_the_loss_is_the_expected_cross_entropy() -> None:
    alpha = torch.tensor([4.0, 2.0, 1.0])
    drawn = torch.distributions.Dirichlet(alpha).sample((200_000,))
    found = evidence().loss(alpha.log().unsqueeze(0), torch.tensor([1]), 0.0)
    torch.testing.assert_close(found[0], -drawn[:, 1].log().mean(), atol=0.02, rtol=0.02)


def test_the_penalty_is_the_distance_from_the_uniform_distribution() -> None:
    alpha = torch.tensor([[1.0, 1.0, 1.0], [3.0, 1.0, 2.0]])
    uniform, found = (torch.distributions.Dirichlet(values) for values in (torch.ones(3), alpha[1]))
    expected = torch.distributions.kl_divergence(found, uniform)
    torch.testing.assert_close(kl_from_uniform(alpha), torch.stack([torch.tensor(0.0), expected]))


def test_right_evidence_is_not_penalised() -> None:
    surely_right = torch.tensor([[30.0, 1.0, 1.0]]).log()
    losses = [evidence(penalty).loss(surely_right, torch.tensor([0]), 0.0) for penalty in (0.0, 1.0)]
    torch.testing.assert_close(*losses)
    assert evidence(1.0).loss(surely_right, torch.tensor([1]), 0.0) > evidence(0.0).loss(
        surely_right, torch.tensor([1]), 0.0
    )


def test_the_penalty_grows_with_training() -> None:
    targets = to_evidential({"kind": CategoryTarget.fit(CELLS), "size": NumberTarget.fit([1.0, 2.0])})
    assert isinstance(targets["size"], NumberTarget)
    weights = [with_annealed_penalty(targets, share)["kind"].penalty for share in (0.0, WARMUP / 2, WARMUP, 1.0)]
    assert weights == [0.0, 0.5, 1.0, 1.0]
    plain = {"kind": CategoryTarget.fit(CELLS)}
    assert with_annealed_penalty(plain, 1.0) is plain
