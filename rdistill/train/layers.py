"""The student's layers as training wants them: they keep less for the backward pass, and sum in float32.

    fit_layers(model)                           # returns how many were changed

RMSNorm keeps its input alone, a gated MLP not the product of gate and up; what was not kept is computed again. What
layers add up, the residual stream, is float32 whatever the weights are: a bfloat16 model gives, to the bit, the outputs
of float32 weights under autocast (but for Qwen3's norms of queries and keys, which round once less), without a second
copy of them. Only classes known to compute exactly this are changed.
"""

from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.graph import saved_tensors_hooks

FAMILIES = ("Llama", "Mistral", "Qwen2", "Qwen3")


class _RmsNorm(torch.autograd.Function):
    """weight * x / rms(x), the mean square in float32 or wider. Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        inverse = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, weight, inverse)
        return (wide * inverse).mul_(weight).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        (grad,) = grads
        x, weight, inverse = ctx.saved_tensors
        normal = x * inverse
        grad_weight = None
        if ctx.needs_input_grad[1]:
            grad_weight = (grad * normal).flatten(0, -2).sum(0).to(weight.dtype)
        grad_normal = grad.to(normal.dtype) * weight
        mean = (grad_normal * normal).mean(-1, keepdim=True)
        return grad_normal.addcmul_(normal, mean, value=-1).mul_(inverse).to(x.dtype), grad_weight, None


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


def _norm_forward(self: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    normal: torch.Tensor = _RmsNorm.apply(hidden_states, self.weight, self.variance_epsilon)
    return normal


def _mlp_forward(self: Any, x: torch.Tensor) -> torch.Tensor:
    gate, up = self.gate_proj(x), self.up_proj(x)
    product = _GatedProduct.apply(gate, up)
    kept, storage = (gate.detach(), up.detach()), product.untyped_storage().data_ptr()

    def pack(saved: torch.Tensor) -> torch.Tensor | torch.Size:
        is_product = saved.untyped_storage().data_ptr() == storage and saved.is_contiguous()
        return saved.shape if is_product and saved.numel() == product.numel() else saved

    def unpack(packed: torch.Tensor | torch.Size) -> torch.Tensor:
        return packed if isinstance(packed, torch.Tensor) else F.silu(kept[0]).mul_(kept[1]).view(packed)

    with saved_tensors_hooks(pack, unpack):
        down: torch.Tensor = self.down_proj(product)
    return down


def fit_layers(model: Any, *, checkpointing: bool = False) -> int:
    """Change the layers of a transformers model in place; returns how many.

    With gradient `checkpointing` the MLPs stay: what they keep would no longer be dropped.
    """
    norms = [module for module in model.modules() if type(module).__name__.endswith("Norm")]
    known = [norm for norm in norms if type(norm).__name__ in {f"{family}RMSNorm" for family in FAMILIES}]
    mlps = [module for module in model.modules() if type(module).__name__ in {f"{family}MLP" for family in FAMILIES}]
    mlps = [] if checkpointing else [mlp for mlp in mlps if mlp.config.hidden_act in ("silu", "swish")]
    for norm in known:
        norm.forward = MethodType(_norm_forward, norm)
    for mlp in mlps:
        mlp.forward = MethodType(_mlp_forward, mlp)
    if norms == known:  # they bring the stream back to the weights' precision before each matrix product
        model.get_input_embeddings().register_forward_hook(_to_float32)
    return len(known) + len(mlps)


def _to_float32(module: Any, arguments: Any, embedded: torch.Tensor) -> torch.Tensor:
    return embedded.to(torch.promote_types(embedded.dtype, torch.float32))
