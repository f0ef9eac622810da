"""The student's layers as training wants them: they keep less for the backward pass, and sum in float32.

    fit_layers(model)                           # returns how many were changed

RMSNorm keeps its input alone, attention and MLP not the norm's output that they begin with, a gated MLP not the product
of gate and up either; what was not kept is computed again, to the bit. What layers add up, the residual stream, is
float32 whatever the weights are: a bfloat16 model gives, to the bit, the outputs of float32 weights under autocast (but
for Qwen3's norms of queries and keys, which round once less), without a second copy of them. Only classes known to
compute exactly this are changed.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.graph import saved_tensors_hooks

FAMILIES = ("Llama", "Mistral", "Qwen2", "Qwen3")


class _Kept:
    """What gives a norm's output again, from its forward pass to its backward pass."""

    x: torch.Tensor
    inverse: torch.Tensor
    weight: torch.Tensor
    """A copy: what ZeRO-3 shards may not be here when the output is wanted again."""
    normal: torch.Tensor | None = None
    output: torch.Tensor | None = None

    def again(self) -> torch.Tensor:
        """The norm's output; those that want it in the backward pass come one after the other, the norm last."""
        if self.output is None:
            self.normal = self.x * self.inverse
            self.output = (self.normal * self.weight).to(self.weight.dtype)
        return self.output


class _RmsNorm(torch.autograd.Function):
    """weight * x / rms(x), the mean square in float32 or wider. Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float, kept: _Kept) -> torch.Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        inverse = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, weight, inverse)
        ctx.kept, kept.x, kept.inverse, kept.weight = kept, x.detach(), inverse, weight.detach().clone()
        return (wide * inverse).mul_(weight).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None, None]:
        (grad,) = grads
        x, weight, inverse = ctx.saved_tensors
        normal = x * inverse if ctx.kept.normal is None else ctx.kept.normal
        ctx.kept.__dict__.clear()  # autograd frees what it saved by itself, but not this
        grad_weight = None
        if ctx.needs_input_grad[1]:
            grad_weight = (grad * normal).flatten(0, -2).sum(0).to(weight.dtype)
        grad_normal = grad.to(normal.dtype) * weight
        mean = (grad_normal * normal).mean(-1, keepdim=True)
        return grad_normal.addcmul_(normal, mean, value=-1).mul_(inverse).to(x.dtype), grad_weight, None, None


class _GatedProduct(torch.autograd.Function):
    """silu(gate) * up. Shazeer 2020, arXiv:2002.05202, eq. 6."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        (grad,) = grads
        gate, up = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grad * up, gate), F.silu(gate).mul_(grad)


def _computed_again(tensor: torch.Tensor, again: Callable[[], torch.Tensor] | None) -> AbstractContextManager[object]:
    """Inside, what is kept for the backward pass of the whole `tensor` is its shape; `again`, if any, makes it anew."""
    if again is None:
        return nullcontext()
    # Numbers, not the tensor: autograd holds on to these functions, and with them to what they refer to.
    storage, size = tensor.untyped_storage().data_ptr(), tensor.numel()

    def pack(saved: torch.Tensor) -> torch.Tensor | torch.Size:
        is_it = saved.untyped_storage().data_ptr() == storage and saved.is_contiguous()
        return saved.shape if is_it and saved.numel() == size else saved

    def unpack(packed: torch.Tensor | torch.Size) -> torch.Tensor:
        return packed if isinstance(packed, torch.Tensor) else again().view(packed)

    return saved_tensors_hooks(pack, unpack)


def _norm_forward(self: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    kept = _Kept()
    normal: torch.Tensor = _RmsNorm.apply(hidden_states, self.weight, self.variance_epsilon, kept)
    normal.again = kept.again  # type: ignore[attr-defined]
    return normal


def _attention_forward(self: Any, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    with _computed_again(hidden_states, getattr(hidden_states, "again", None)):
        return type(self).forward(self, hidden_states, *args, **kwargs)


def _mlp_forward(self: Any, x: torch.Tensor) -> torch.Tensor:
    with _computed_again(x, getattr(x, "again", None)):
        gate, up = self.gate_proj(x), self.up_proj(x)
    product, kept = _GatedProduct.apply(gate, up), (gate.detach(), up.detach())
    with _computed_again(product, lambda: F.silu(kept[0]).mul_(kept[1])):
        down: torch.Tensor = self.down_proj(product)
    return down


def fit_layers(model: Any, *, checkpointing: bool = False) -> int:
    """Change the layers of a transformers model in place; returns how many.

    With gradient `checkpointing` attention and MLPs stay: what they keep would no longer be dropped.
    """
    norms = [module for module in model.modules() if type(module).__name__.endswith("Norm")]
    known = [norm for norm in norms if type(norm).__name__ in {f"{family}RMSNorm" for family in FAMILIES}]
    mlps = [module for module in model.modules() if type(module).__name__ in {f"{family}MLP" for family in FAMILIES}]
    mlps = [] if checkpointing else [mlp for mlp in mlps if mlp.config.hidden_act in ("silu", "swish")]
    attentions = [m for m in model.modules() if type(m).__name__ in {f"{family}Attention" for family in FAMILIES}]
    attentions = [] if checkpointing else attentions
    for modules, forward in (known, _norm_forward), (mlps, _mlp_forward), (attentions, _attention_forward):
        for module in modules:
            module.forward = MethodType(forward, module)
    if norms == known:  # they bring the stream back to the weights' precision before each matrix product
        model.get_input_embeddings().register_forward_hook(_to_float32)
    return len(known) + len(mlps) + len(attentions)


def _to_float32(module: Any, arguments: Any, embedded: torch.Tensor) -> torch.Tensor:
    return embedded.to(torch.promote_types(embedded.dtype, torch.float32))
