"""Modality dropout, masked losses and their weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from polymodal.config import TrainConfig
from polymodal.model.network import Network, NetworkOutput, Truth
from polymodal.targets import CategoryTarget, NumberTarget, Target
from polymodal.tokens import Fused, Tokens
from polymodal.training.losses import LossInputs, loss_terms, sample_modality_dropout, target_losses

KIND = CategoryTarget.fit(["a", "b"])
WEIGHT = NumberTarget.fit([0.0, 2.0])
PRESENT = torch.tensor([[True, True], [True, False], [False, True], [False, False]])


def outputs_of(values: dict[str, torch.Tensor], with_fusion: bool = True) -> NetworkOutput:
    streams = {name: {"x": output, "y": output * 2} for name, output in values.items()}
    whole = Fused(torch.zeros(1, 4), Tokens(torch.zeros(1, 1, 4), torch.ones(1, 1, dtype=torch.bool)))
    return NetworkOutput(values if with_fusion else {}, streams, whole if with_fusion else None, {})


def loss_inputs_of(targets: dict[str, Target], truth: Truth, weight: float = 1.0, smoothing: float = 0.0) -> LossInputs:
    settings = TrainConfig(auxiliary_weight=weight, label_smoothing=smoothing)
    return LossInputs(targets=targets, truth=truth, present=PRESENT, settings=settings)


def network_of(targets: dict[str, Target]) -> Network:
    return Network({"x": nn.Identity(), "y": nn.Identity()}, None, targets, 4)


def test_modality_dropout_never_hides_all_streams_of_a_row() -> None:
    torch.manual_seed(0)
    present = torch.rand(20_000, 3) < 0.6
    hidden = sample_modality_dropout(present, 0.5)
    assert not (hidden & ~present).any()
    left = (present & ~hidden).sum(dim=1)
    assert (left[present.any(dim=1)] > 0).all()
    whole = present.all(dim=1)
    share = hidden[whole].float().mean(dim=0)
    assert (share - (0.5 - 0.5**3 / 3)).abs().max() < 0.03


def test_modality_dropout_is_sampled_for_each_row() -> None:
    torch.manual_seed(0)
    hidden = sample_modality_dropout(torch.ones(1000, 2, dtype=torch.bool), 0.4)
    assert len(hidden.unique(dim=0)) == 3


def test_a_probability_of_zero_hides_nothing() -> None:
    assert not sample_modality_dropout(torch.ones(50, 3, dtype=torch.bool), 0.0).any()


@pytest.mark.parametrize("present", [torch.zeros(4, 2, dtype=torch.bool), torch.zeros(0, 2, dtype=torch.bool)])
def test_rows_without_streams_and_no_rows_are_fine(present: torch.Tensor) -> None:
    hidden = sample_modality_dropout(present, 0.5)
    assert hidden.shape == present.shape
    assert not hidden.any()


def test_only_rows_with_truth_and_cells_count() -> None:
    output = torch.tensor([[0.0, 1.0], [9.0, -9.0], [1.0, 1.0], [5.0, 5.0]])
    truth = torch.tensor([0, 1, 0, 1])
    known = torch.tensor([True, False, True, True])
    fused, streams = target_losses(
        outputs_of({"kind": output}), "kind", KIND, loss_inputs_of({"kind": KIND}, {"kind": (truth, known)})
    )
    losses = KIND.loss(output, truth, 0.0)
    torch.testing.assert_close(fused, losses[[0, 2]].mean())
    torch.testing.assert_close(streams[0], losses[0])
    torch.testing.assert_close(streams[1], KIND.loss(output * 2, truth, 0.0)[[0, 2]].mean())


def test_truth_that_is_not_known_is_never_read() -> None:
    output = torch.randn(4, 1, requires_grad=True)
    known = torch.tensor([True, False, True, True])
    found = []
    for other in (0.0, torch.nan):
        truth = torch.tensor([1.0, other, 2.0, 3.0])
        loss_inputs = loss_inputs_of({"weight": WEIGHT}, {"weight": (truth, known)})
        fused, streams = target_losses(outputs_of({"weight": output}), "weight", WEIGHT, loss_inputs)
        found.append(torch.stack([fused, *streams]))
    assert torch.equal(found[0], found[1])


def test_without_known_truth_the_loss_is_zero() -> None:
    truth = (torch.zeros(4, dtype=torch.long), torch.zeros(4, dtype=torch.bool))
    output = torch.randn(4, 2, requires_grad=True)
    loss_inputs = loss_inputs_of({"kind": KIND}, {"kind": truth}, smoothing=0.05)
    loss = loss_terms(network_of({"kind": KIND}), outputs_of({"kind": output}), loss_inputs).total
    loss.backward()
    assert loss == 0
    assert not output.grad.any()


def test_the_streams_losses_are_weighted_unless_there_is_no_fusion() -> None:
    output, truth = torch.randn(4, 2), (torch.tensor([0, 1, 0, 1]), torch.ones(4, dtype=torch.bool))

    def loss(weight: float, with_fusion: bool) -> float:
        outputs = outputs_of({"kind": output}, with_fusion)
        network = network_of({"kind": KIND})
        return float(loss_terms(network, outputs, loss_inputs_of({"kind": KIND}, {"kind": truth}, weight)).total)

    fused, streams = target_losses(
        outputs_of({"kind": output}), "kind", KIND, loss_inputs_of({"kind": KIND}, {"kind": truth})
    )
    assert loss(0.0, True) == pytest.approx(float(fused))
    assert loss(0.5, True) == pytest.approx(float(fused + 0.5 * streams.sum()))
    assert loss(0.0, False) == pytest.approx(float(streams.sum()))


def test_several_targets_are_weighted_by_their_uncertainty() -> None:
    targets: dict[str, Target] = {"kind": KIND, "weight": WEIGHT}
    network = network_of(targets)
    outputs = outputs_of({"kind": torch.randn(4, 2), "weight": torch.full((4, 1), 30.0)})
    known = torch.ones(4, dtype=torch.bool)
    truth = {"kind": (torch.tensor([0, 1, 0, 1]), known), "weight": (torch.zeros(4), known)}
    before = loss_terms(network, outputs, loss_inputs_of(targets, truth)).total
    before.backward()
    assert network.log_variances.grad[1] < network.log_variances.grad[0]
    with torch.no_grad():
        network.log_variances[1] = 5.0
    assert loss_terms(network, outputs, loss_inputs_of(targets, truth)).total < before
