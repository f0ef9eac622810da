"""Layers that keep less give the same outputs and gradients."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from rdistill.train.attention import register_attention
from rdistill.train.layers import _GatedProduct, _Kept, _RmsNorm, fit_layers

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
ATTENTION = register_attention()
IDS = torch.randint(0, 64, (1, 24), generator=torch.Generator().manual_seed(0))
ROUNDING = 4e-6
"""Of the largest value: float32 sums in another order, which a CPU's instructions decide (1.1e-6 seen with AVX2)."""


def models(kind, dtype=torch.float32):
    """A tiny model with norm weights that are not all 1, as it is and fitted."""
    torch.manual_seed(0)
    plain, fitted = (
        AutoModelForCausalLM.from_config(kind(**SIZES), dtype=dtype, attn_implementation=ATTENTION) for _ in range(2)
    )
    for name, weight in plain.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(weight, 1.0, 0.2)
    fitted.load_state_dict(plain.state_dict())
    return plain, fitted, fit_layers(fitted)


def gradients(model):
    loss = torch.nn.functional.cross_entropy(model(input_ids=IDS, use_cache=False).logits[0, :-1].float(), IDS[0, 1:])
    loss.backward()
    return {name: weight.grad for name, weight in model.named_parameters()}


def kept_bytes(model) -> int:
    """Bytes of the distinct storages that a forward pass keeps, weights not counted."""
    weights = {w.untyped_storage().data_ptr() for w in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(saved):
        kept[saved.untyped_storage().data_ptr()] = saved
        return saved

    with saved_tensors_hooks(pack, lambda saved: saved):
        model.model(input_ids=IDS, use_cache=False)
    return sum(t.untyped_storage().nbytes() for address, t in kept.items() if address not in weights)


@pytest.mark.parametrize("kind", [LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config])
def test_same_outputs_and_gradients_in_float32(kind):
    plain, fitted, changed = models(kind)
    assert changed == (13 if kind is Qwen3Config else 9)  # Qwen3 normalises queries and keys too
    assert torch.equal(plain(input_ids=IDS, use_cache=False).logits, fitted(input_ids=IDS, use_cache=False).logits)
    expected, found = gradients(plain), gradients(fitted)
    for name, grad in expected.items():
        assert (found[name] - grad).abs().max() <= ROUNDING * grad.abs().max(), name


@pytest.mark.parametrize("kind", [LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config])
def test_in_bfloat16_the_same_outputs_as_autocast(kind):
    _, fitted, _ = models(kind, torch.bfloat16)
    wide = AutoModelForCausalLM.from_config(kind(**SIZES), dtype=torch.float32, attn_implementation=ATTENTION)
    wide.load_state_dict(fitted.state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        expected = wide(input_ids=IDS, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(expected[0, :-1].float(), IDS[0, 1:])
    loss.backward()
    logits = fitted(input_ids=IDS, use_cache=False).logits
    if kind is Qwen3Config:  # its norms of queries and keys round once, not twice
        assert (logits - expected).abs().max() < 0.02 * expected.abs().max()
    else:
        assert torch.equal(logits, expected)
    found = gradients(fitted)
    for name, weight in wide.named_parameters():
        assert (found[name] - weight.grad).abs().max() <= 2e-2 * weight.grad.abs().max(), name


def test_functions_have_the_right_gradients():
    torch.manual_seed(0)
    x, weight = torch.randn(3, 8, dtype=torch.float64, requires_grad=True), torch.rand(8, dtype=torch.float64)
    weight.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: _RmsNorm.apply(x, w, 1e-5, _Kept()), (x, weight))
    gate, up = (torch.randn(3, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(_GatedProduct.apply, (gate, up))


def test_less_is_kept():
    plain, fitted, _ = models(LlamaConfig, torch.bfloat16)
    assert kept_bytes(fitted) < 0.6 * kept_bytes(plain)


def test_the_product_is_computed_again_for_the_down_projection(monkeypatch):
    plain, fitted, _ = models(LlamaConfig)
    x, calls, silu = torch.randn(1, 24, 32), [], torch.nn.functional.silu
    for model in (plain, fitted):
        output = model.model.layers[0].mlp(x)
        with monkeypatch.context() as patch:
            patch.setattr(torch.nn.functional, "silu", lambda gate: calls.append(gate.shape) or silu(gate))
            output.sum().backward()
    assert len(calls) == 2  # for the gradient of up, and for that of down_proj's weight
    assert torch.equal(*(model.model.layers[0].mlp.down_proj.weight.grad for model in (plain, fitted)))


def test_a_norms_output_is_made_again_to_the_bit_until_its_backward_pass():
    _, fitted, _ = models(LlamaConfig, torch.bfloat16)
    output = fitted.model.layers[0].input_layernorm(fitted.model.embed_tokens(IDS))
    assert torch.equal(output.again(), output)
    output.sum().backward()
    with pytest.raises(AttributeError):
        output.again()


def test_a_frozen_model_under_lora_learns_the_same():
    from peft import LoraConfig, get_peft_model

    found = []
    for model in models(LlamaConfig)[:2]:
        torch.manual_seed(1)
        adapted = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights="gaussian"))
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, 0.0, 0.1)
        found.append({name: grad for name, grad in gradients(adapted).items() if grad is not None})
    plain, fitted = found
    assert plain.keys() == fitted.keys() and len(plain) == 28
    for name, grad in plain.items():
        assert (fitted[name] - grad).abs().max() <= ROUNDING * grad.abs().max(), name


def test_a_checkpointed_model_keeps_its_attention_and_mlps():
    model = AutoModelForCausalLM.from_config(LlamaConfig(**SIZES))
    assert fit_layers(model, checkpointing=True) == 5


def test_an_unknown_activation_is_left_alone():
    model = AutoModelForCausalLM.from_config(LlamaConfig(**SIZES, hidden_act="gelu"))
    assert fit_layers(model) == 7
