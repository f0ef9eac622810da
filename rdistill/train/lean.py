"""Layers that keep less for the backward pass: RMSNorm its input alone, a gated MLP no product of gate and up.

    make_lean(model)                            # the same outputs to the bit, the same gradients up to rounding

What was not kept is computed again. Only classes known to compute exactly this are changed; others stay as they are.

Shapes: T tokens, D width, F width inside the MLP.
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
        return weight * (wide * inverse).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        (grad,) = grads
        x, weight, inverse = ctx.saved_tensors
        normal = x * inverse
        grad_weight = None
        if ctx.needs_input_grad[1]:
            grad_weight = (grad * normal.to(x.dtype)).flatten(0, -2).sum(0)
        grad_normal = (grad * weight).to(normal.dtype)
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


def make_lean(model: torch.nn.Module, *, checkpointing: bool = False) -> int:
    """Change the layers of a transformers model in place; returns how many.

    With gradient `checkpointing` the MLPs stay: what is kept by them would no longer be dropped.
    """
    changed = 0
    for module in model.modules():
        name = type(module).__name__
        if name in {f"{family}RMSNorm" for family in FAMILIES}:
            module.forward = MethodType(_norm_forward, module)  # type: ignore[method-assign]
        elif name in {f"{family}MLP" for family in FAMILIES} and _is_silu(module) and not checkpointing:
            module.forward = MethodType(_mlp_forward, module)  # type: ignore[method-assign]
        else:
            continue
        changed += 1
    return changed


def _is_silu(mlp: Any) -> bool:
    return getattr(mlp.config, "hidden_act", None) in ("silu", "swish")
