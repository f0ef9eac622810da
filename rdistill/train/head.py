"""Log-probabilities of target tokens without the logits: the last matrix product, taken a slice of the vocabulary at
a time.

    fit_head(model)                                     # once; False where the model does more with its logits
    with head_targets(model, targets_N):                # then `logits` are what each target's log-probability is
        logps_N = model(..., logits_to_keep=sources_N).logits[0]

Of vocabulary x targets only a slice is ever held, in either pass; the backward pass computes it again.

Shapes: N targets, D width of the model, V vocabulary. Log-probabilities are in nats, float32 or wider.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F

FAMILIES = ("gemma", "gemma3_text", "llama", "mistral", "olmo2", "phi3", "qwen2", "qwen3", "smollm3")
"""Model types whose logits are the head's product and nothing more, unless their config sets a soft cap."""
SLICE = 1 << 23
"""Logits that are held at once."""


class _TargetLogps(torch.autograd.Function):
    """log softmax(hidden weight^T) at one index of each row."""

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: torch.Tensor, weight_VD: torch.Tensor, targets_N: torch.Tensor, width: int
    ) -> torch.Tensor:
        wide = torch.promote_types(hidden_ND.dtype, torch.float32)
        lse_N = hidden_ND.new_full(targets_N.shape, -torch.inf, dtype=wide)
        picked_N = hidden_ND.new_zeros(targets_N.shape, dtype=wide)
        for start, rows_vD in _slices(weight_VD, width):
            logits_Nv = F.linear(hidden_ND, rows_vD).to(wide)
            lse_N = torch.logaddexp(lse_N, logits_Nv.logsumexp(-1))
            place_N, is_here_N = _places(targets_N, start, len(rows_vD))
            picked_N = torch.where(is_here_N, logits_Nv.gather(1, place_N[:, None])[:, 0], picked_N)
        ctx.save_for_backward(hidden_ND, weight_VD, targets_N, lse_N)
        ctx.width = width
        return picked_N - lse_N

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, None, None]:
        (grad_N,) = grads
        hidden_ND, weight_VD, targets_N, lse_N = ctx.saved_tensors
        grad_hidden_ND = torch.zeros_like(hidden_ND, dtype=lse_N.dtype)
        grad_weight_VD = torch.empty_like(weight_VD) if ctx.needs_input_grad[1] else None
        for start, rows_vD in _slices(weight_VD, ctx.width):
            grad_Nv = (F.linear(hidden_ND, rows_vD) - lse_N[:, None]).exp_().mul_(-grad_N[:, None])
            place_N, is_here_N = _places(targets_N, start, len(rows_vD))
            grad_Nv.scatter_add_(1, place_N[:, None], (grad_N * is_here_N)[:, None])
            grad_Nv = grad_Nv.to(weight_VD.dtype)
            grad_hidden_ND += grad_Nv @ rows_vD
            if grad_weight_VD is not None:
                grad_weight_VD[start : start + len(rows_vD)] = grad_Nv.T @ hidden_ND
        return grad_hidden_ND.to(hidden_ND.dtype), grad_weight_VD, None, None


def _slices(weight_VD: torch.Tensor, width: int) -> Iterator[tuple[int, torch.Tensor]]:
    for start in range(0, len(weight_VD), width):
        yield start, weight_VD[start : start + width]


def _places(targets_N: torch.Tensor, start: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Each target's column in a slice, and whether it has one."""
    place_N = targets_N - start
    return place_N.clamp(0, width - 1), (place_N >= 0) & (place_N < width)


def target_logps(
    hidden_ND: torch.Tensor, weight_VD: torch.Tensor, targets_N: torch.Tensor, *, most: int = SLICE
) -> torch.Tensor:
    """Log-probability of each target under softmax(hidden weight^T), (N,), with at most about `most` logits held."""
    if not len(targets_N):
        return F.linear(hidden_ND, weight_VD).float().sum(-1)
    logps_N: torch.Tensor = _TargetLogps.apply(hidden_ND, weight_VD, targets_N, max(1, most // len(targets_N)))
    return logps_N


def fit_head(model: Any) -> bool:
    """Make a transformers model answer with log-probabilities inside `head_targets`; False if it cannot."""
    head = model.get_output_embeddings()
    is_plain = type(head) is torch.nn.Linear and head.bias is None
    is_capped = getattr(model.config, "final_logit_softcapping", None) is not None
    fits = model.config.model_type in FAMILIES and is_plain and not is_capped
    if fits:
        head.targets_N = None
        head.forward = MethodType(_head_forward, head)
    return fits


def _head_forward(self: Any, hidden: torch.Tensor) -> torch.Tensor:
    if self.targets_N is None:
        return F.linear(hidden, self.weight)
    return target_logps(hidden[0], self.weight, self.targets_N)[None]


@contextmanager
def head_targets(model: Any, targets_N: torch.Tensor) -> Iterator[bool]:
    """Inside, `logits` of the model (or a wrapper of it) are log-probabilities, (1, N); False if it was not fitted."""
    head = model.get_output_embeddings()
    if not hasattr(head, "targets_N"):
        yield False
        return
    head.targets_N = targets_N
    try:
        yield True
    finally:
        head.targets_N = None
