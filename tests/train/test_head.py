"""Log-probabilities by slices of the vocabulary: those of log softmax, and never more than a slice at once."""

import pytest
import torch
from train_helpers import tiny_model
from transformers import AutoConfig, AutoModelForCausalLM

from rdistill.train.attention import Segment
from rdistill.train.head import FAMILIES, fit_head, head_targets, target_logps
from rdistill.train.losses import token_logps


def made_up(rows=40, width=16, vocabulary=50, dtype=torch.float32):
    torch.manual_seed(0)
    hidden = torch.randn(rows, width, dtype=dtype, requires_grad=True)
    weight = torch.randn(vocabulary, width, dtype=dtype, requires_grad=True)
    return hidden, weight, torch.randint(vocabulary, (rows,))


@pytest.mark.parametrize("most", [1, 40, 7 * 40, 50 * 40, 10_000])
def test_slices_give_log_softmax_and_its_gradients(most):
    hidden, weight, targets = made_up()
    sides = torch.randn(40)
    logps = (hidden @ weight.T).log_softmax(-1)[range(40), targets]
    expected = torch.autograd.grad((logps * sides).sum(), (hidden, weight))
    found = target_logps(hidden, weight, targets, most=most)
    torch.testing.assert_close(found, logps)
    torch.testing.assert_close(torch.autograd.grad((found * sides).sum(), (hidden, weight)), expected)


def test_gradcheck_in_float64():
    hidden, weight, targets = made_up(5, 3, 7, torch.float64)
    assert torch.autograd.gradcheck(lambda h, w: target_logps(h, w, targets, most=10), (hidden, weight))


def test_a_frozen_head_gets_no_gradient():
    hidden, weight, targets = made_up()
    target_logps(hidden, weight.requires_grad_(False), targets, most=80).sum().backward()
    assert hidden.grad is not None and weight.grad is None


def test_in_bfloat16_logits_are_rounded_as_the_heads_own_are():
    hidden, weight, targets = made_up(dtype=torch.bfloat16)
    plain = token_logps(hidden @ weight.T, targets)
    sliced = target_logps(hidden, weight, targets, most=280)
    torch.testing.assert_close(sliced, plain, rtol=1e-6, atol=1e-6)
    (ours,) = torch.autograd.grad(sliced.sum(), weight)
    assert torch.equal(ours, torch.autograd.grad(plain.sum(), weight)[0])


def test_no_target_keeps_the_graph():
    hidden, weight, _ = made_up()
    target_logps(hidden[:0], weight, torch.zeros(0, dtype=torch.long)).sum().backward()
    assert weight.grad is not None and not weight.grad.any()


def test_a_fitted_model_answers_with_log_probabilities_inside_and_logits_outside():
    model, ids = tiny_model(64), torch.randint(64, (1, 9))
    inputs = {"input_ids": ids, "segments": [Segment([], 0, 9)], "logits_to_keep": torch.arange(8)}
    targets = ids[0, 1:]
    logits = model(**inputs).logits
    with head_targets(model, targets) as has_logps:
        assert not has_logps and torch.equal(model(**inputs).logits, logits)
    assert fit_head(model)
    with head_targets(model, targets) as has_logps:
        assert has_logps
        torch.testing.assert_close(model(**inputs).logits[0], token_logps(logits[0], targets))
    assert torch.equal(model(**inputs).logits, logits)


def small(family, **options):
    """A model of one layer, its head drawn wide enough for logits to differ."""
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    common = {"vocab_size": 32, "num_key_value_heads": 1, "head_dim": 16, "pad_token_id": 0, "initializer_range": 1.0}
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **shape, **common, **options)).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_says_what_its_own_logits_say(family):
    model, ids = small(family), torch.randint(32, (1, 9))
    inputs = {"input_ids": ids, "logits_to_keep": torch.arange(8)}
    expected = model(**inputs).logits[0].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    assert fit_head(model)
    with head_targets(model, ids[0, 1:]):
        torch.testing.assert_close(model(**inputs).logits[0], expected)


@pytest.mark.parametrize(("family", "options"), [("gemma2", {}), ("gemma3_text", {"final_logit_softcapping": 30.0})])
def test_a_model_that_does_more_with_its_logits_stays_as_it_is(family, options):
    capped = small(family, **options)
    assert not fit_head(capped)
    with head_targets(capped, torch.zeros(1, dtype=torch.long)) as has_logps:
        assert not has_logps
