"""Layers that keep less give the same outputs and gradients."""

import copy

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from rdistill.train.lean import _GatedProduct, _RmsNorm, make_lean

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
IDS = torch.randint(0, 64, (1, 24), generator=torch.Generator().manual_seed(0))


def models(kind, dtype=torch.float32):
    """A tiny model with norm weights that are not all 1, as it is and made lean."""
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_config(kind(**SIZES), dtype=dtype)
    for name, weight in plain.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(weight, 1.0, 0.2)
    lean = copy.deepcopy(plain)
    changed = make_lean(lean)
    return plain, lean, changed


def gradients(model):
    loss = torch.nn.functional.cross_entropy(model(input_ids=IDS).logits[0, :-1].float(), IDS[0, 1:])
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
        model.model(input_ids=IDS)
    return sum(t.untyped_storage().nbytes() for address, t in kept.items() if address not in weights)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config])
def test_same_outputs_and_gradients(kind, dtype):
    plain, lean, changed = models(kind, dtype)
    assert changed == (11 if kind is Qwen3Config else 7)  # Qwen3 normalises queries and keys too
    assert torch.equal(plain(input_ids=IDS).logits, lean(input_ids=IDS).logits)
    expected, found = gradients(plain), gradients(lean)
    tolerance = 1e-6 if dtype == torch.float32 else 2e-2
    for name, grad in expected.items():
        scale = grad.abs().max()
        assert (found[name] - grad).abs().max() <= tolerance * scale, name


def test_functions_have_the_right_gradients():
    torch.manual_seed(0)
    x, weight = torch.randn(3, 8, dtype=torch.float64, requires_grad=True), torch.rand(8, dtype=torch.float64)
    weight.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: _RmsNorm.apply(x, w, 1e-5), (x, weight))
    gate, up = (torch.randn(3, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(_GatedProduct.apply, (gate, up))


def test_less_is_kept():
    plain, lean, _ = models(LlamaConfig, torch.bfloat16)
    assert kept_bytes(lean) < 0.7 * kept_bytes(plain)


def test_the_product_is_computed_again_for_the_down_projection(monkeypatch):
    plain, lean, _ = models(LlamaConfig)
    x, calls, silu = torch.randn(1, 24, 32), [], torch.nn.functional.silu
    for model in (plain, lean):
        output = model.model.layers[0].mlp(x)
        with monkeypatch.context() as patch:
            patch.setattr(torch.nn.functional, "silu", lambda gate: calls.append(gate.shape) or silu(gate))
            output.sum().backward()
    assert len(calls) == 2  # for the gradient of up, and for that of down_proj's weight
    assert torch.equal(*(model.model.layers[0].mlp.down_proj.weight.grad for model in (plain, lean)))


def test_a_checkpointed_model_keeps_its_mlps():
    model = AutoModelForCausalLM.from_config(LlamaConfig(**SIZES))
    assert make_lean(model, checkpointing=True) == 5


def test_an_unknown_activation_is_left_alone():
    model = AutoModelForCausalLM.from_config(LlamaConfig(**SIZES, hidden_act="gelu"))
    assert make_lean(model) == 5
