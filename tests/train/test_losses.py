"""Losses against values worked by hand, against torch, against TRL, and by gradient check."""

import math

import pytest
import torch

from rdistill.train.losses import (
    dpo_loss,
    length_weights,
    nll_anchor,
    sequence_sums,
    simpo_loss,
    span_loss,
    token_logps,
)


def test_token_logps_equal_log_softmax_and_so_do_their_gradients():
    torch.manual_seed(0)
    logits, targets, weights = torch.randn(600, 50), torch.randint(50, (600,)), torch.rand(600)
    ours, plain = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    (token_logps(ours, targets) * weights).sum().backward()
    (plain.log_softmax(-1).gather(1, targets[:, None])[:, 0] * weights).sum().backward()
    torch.testing.assert_close(token_logps(logits, targets), logits.log_softmax(-1)[range(600), targets])
    torch.testing.assert_close(ours.grad, plain.grad)


def test_token_logps_pass_gradcheck_in_float64():
    torch.manual_seed(1)
    logits = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: token_logps(x, torch.tensor([0, 3, 6, 3, 1])), logits)


def test_token_logps_of_no_target_keep_the_graph():
    logits = torch.zeros(0, 7, requires_grad=True)
    token_logps(logits, torch.zeros(0, dtype=torch.long)).sum().backward()
    assert logits.grad is not None


def test_span_loss_by_hand():
    logps, weights = torch.tensor([-1.0, -2.0, -4.0]), torch.tensor([1.0, 0.5, 2.0])
    assert span_loss(logps, weights, weights.sum()).item() == pytest.approx((1 + 1 + 8) / 3.5)
    parts = span_loss(logps[:1], weights[:1], 3.5) + span_loss(logps[1:], weights[1:], 3.5)
    assert parts.item() == pytest.approx(10 / 3.5)


def test_dpo_sigmoid_by_hand():
    chosen, rejected, ref = torch.tensor([-1.0]), torch.tensor([-5.0]), torch.tensor([-2.0])
    loss, margin = dpo_loss(chosen, rejected, ref, ref, beta=0.5)
    assert margin.item() == pytest.approx(0.5 * (1 + 3))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)))
    smooth, _ = dpo_loss(chosen, rejected, ref, ref, beta=0.5, label_smoothing=0.1)
    assert smooth.item() == pytest.approx(0.9 * math.log(1 + math.exp(-2)) + 0.1 * math.log(1 + math.exp(2)))


def test_dpo_ipo_by_hand():
    loss, _ = dpo_loss(
        *(torch.tensor([v]) for v in (-1.0, -5.0, -2.0, -2.0)),
        beta=0.5,
        kind="ipo",
        chosen_tokens_B=torch.tensor([2.0]),
        rejected_tokens_B=torch.tensor([3.0]),
    )
    assert loss.item() == pytest.approx((1 / 2 + 3 / 3 - 1) ** 2)


def test_dpo_robust_by_hand_is_right_on_average():
    chosen, rejected, ref = torch.tensor([-1.0]), torch.tensor([-5.0]), torch.tensor([-2.0])
    options = {"beta": 0.5, "kind": "robust", "label_smoothing": 0.1}
    right, _ = dpo_loss(chosen, rejected, ref, ref, **options)
    wrong, _ = dpo_loss(rejected, chosen, ref, ref, **options)
    clean, flipped = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    assert right.item() == pytest.approx((0.9 * clean - 0.1 * flipped) / 0.8)
    assert (0.9 * right + 0.1 * wrong).item() == pytest.approx(clean)


def test_simpo_by_hand():
    four = [torch.tensor([v]) for v in (-2.0, -6.0, 2.0, 3.0)]
    loss, margin = simpo_loss(*four, beta=2.0, gamma=0.5)
    assert margin.item() == pytest.approx(2 * (-1 + 2))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1.5)))


def test_length_weights_by_hand():
    owners = torch.tensor([0, 0, 0, 1, 2, 3, 3])
    assert length_weights(owners, 4, 0.5).tolist() == [1, 0.5, 0.5, 1, 1, 1, 0.5]
    assert length_weights(owners[:0], 2, 0.5).tolist() == []


def test_an_untrained_policy_has_margin_zero():
    same = torch.randn(4)
    loss, margin = dpo_loss(same, same - 1, same, same - 1, beta=0.1)
    assert margin.abs().max() == 0
    torch.testing.assert_close(loss, torch.full((4,), math.log(2.0)))


def test_nll_anchor_and_sums_by_hand():
    sums = sequence_sums(torch.tensor([-1.0, -2.0, -4.0]), torch.tensor([0, 0, 2]), 3)
    assert sums.tolist() == [-3.0, 0.0, -4.0]
    assert nll_anchor(torch.tensor([-6.0]), torch.tensor([3.0])).tolist() == [2.0]


@pytest.mark.parametrize("kind", ["sigmoid", "robust", "ipo"])
def test_dpo_passes_gradcheck_in_float64(kind):
    torch.manual_seed(2)
    tensors = [torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(4)]
    counts = torch.tensor([2.0, 3.0, 4.0], dtype=torch.float64)
    options = {"beta": 0.3, "kind": kind, "label_smoothing": 0.0 if kind == "ipo" else 0.1}

    def mean_loss(*parts):
        return dpo_loss(*parts, **options, chosen_tokens_B=counts, rejected_tokens_B=counts)[0].mean()

    assert torch.autograd.gradcheck(mean_loss, tensors)


def test_simpo_passes_gradcheck_in_float64():
    torch.manual_seed(3)
    sides = [torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    counts = torch.tensor([2.0, 3.0, 4.0], dtype=torch.float64)
    options = {"beta": 2.0, "gamma": 0.7, "label_smoothing": 0.1}
    assert torch.autograd.gradcheck(lambda *s: simpo_loss(*s, counts, counts + 1, **options)[0].mean(), sides)


def test_length_desensitised_dpo_passes_gradcheck_in_float64():
    torch.manual_seed(4)
    owners, reference = torch.tensor([0, 0, 0, 1, 2, 3, 3]), torch.randn(2, 2, dtype=torch.float64)
    logps = torch.randn(7, dtype=torch.float64, requires_grad=True)

    def mean_loss(values):
        sums = sequence_sums(length_weights(owners, 4, 0.3) * values, owners, 4).view(-1, 2)
        return dpo_loss(*sums.unbind(1), *reference, beta=0.3)[0].mean()

    assert torch.autograd.gradcheck(mean_loss, logps)


def test_dpo_refuses_what_makes_no_sense():
    four = [torch.zeros(2)] * 4
    with pytest.raises(ValueError, match=r"beta=0 must be above 0"):
        dpo_loss(*four, beta=0)
    with pytest.raises(ValueError, match="shapes"):
        dpo_loss(*four[:3], torch.zeros(3), beta=0.1)
    with pytest.raises(ValueError, match="ipo"):
        dpo_loss(*four, beta=0.1, kind="ipo")
