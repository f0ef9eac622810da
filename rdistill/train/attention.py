"""Causal attention inside each segment of a packed row, for transformers' attention interface.

    register_attention()                     # then: from_pretrained(..., attn_implementation=register_attention())

On a CPU a segment's attention is a few matrix products, which take half of the time of torch's kernel there at these
lengths (benchmarks/attention.py); elsewhere, and for very long segments, torch chooses the kernel.

Shapes: H query heads, K key heads, G = H / K of them share one, D their width, T tokens of the row, Q queries, L keys.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from rdistill.errors import TrainError

ATTENTION = "rdistill_packed"
MOST_SCORES = 1 << 24
"""Scores that may be held at once: 64 MiB of float32."""
BLOCK = 128
"""Queries at a time; what lies in the future of all of them is not computed."""


class Segment(NamedTuple):
    """A sequence inside the row: runs [from, to) that it shares with sequences before it, then its own [start, end)."""

    shared: list[tuple[int, int]]
    start: int
    end: int

    @property
    def length(self) -> int:
        return sum(stop - start for start, stop in [*self.shared, (self.start, self.end)])


def packed_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    segments: list[Segment] | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of every token to those before it in its own sequence.

    Shapes: query (1, H, T, D), key and value (1, K, T, D); without segments, plain causal attention over (B, ...).
    Returns: (1, T, H, D).
    Raises: TrainError where the model needs a sliding window or a soft cap, which these kernels do not have.
    """
    longest = max((segment.length for segment in segments or ()), default=query.shape[2])
    if softcap is not None or (sliding_window is not None and longest > sliding_window):
        raise TrainError(
            f"{type(module).__name__} needs softcap={softcap}, sliding_window={sliding_window} at {longest} tokens; "
            "lower max_length to the window, or train a model without them"
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    query, key = query.to(value.dtype), key.to(value.dtype)  # rotated in float32 where the residual stream is
    if segments is None:
        assert attention_mask is None, "packed attention takes no mask"
        return _by_torch(query, key, value, scale, dropout).transpose(1, 2).contiguous(), None
    sizes = [s.end - s.start for s in segments]
    queries, keys, values = (list(t.split(sizes, dim=2)) for t in (query, key, value))
    outputs = []
    for segment, q, k, v in zip(segments, queries, keys, values, strict=True):
        if segment.shared:
            k, v = (
                torch.cat([*(whole[:, :, start:stop] for start, stop in segment.shared), own], dim=2)
                for whole, own in ((key, k), (value, v))
            )
        outputs.append(attend(q, k, v, scale, dropout))
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, dropout: float = 0.0) -> torch.Tensor:
    """Causal attention of the last Q of L positions: q (1, H, Q, D), k and v (1, K, L, D) -> (1, H, Q, D)."""
    heads, queries, length = q.shape[1], q.shape[2], k.shape[2]
    if q.device.type == "cpu" and not dropout and heads * min(BLOCK, queries) * length <= MOST_SCORES:
        found: torch.Tensor = _ByProducts.apply(q, k, v, scale)
        return found
    if queries == length:
        return _by_torch(q, k, v, scale, dropout)
    # Causal kernels stay in use: the prefix asks too, and its answers are dropped.
    padded = torch.cat([q.new_zeros(1, heads, length - queries, q.shape[3]), q], dim=2)
    return _by_torch(padded, k, v, scale, dropout)[:, :, length - queries :]


def _by_torch(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, dropout: float) -> torch.Tensor:
    shares = q.shape[1] != k.shape[1]
    return F.scaled_dot_product_attention(
        q, k, v, is_causal=q.shape[2] > 1, scale=scale, dropout_p=dropout, enable_gqa=shares
    )


class _ByProducts(torch.autograd.Function):
    """softmax(q k^T scale) v by matrix products; the backward pass computes the probabilities again, and keeps none.

    Shapes: q (1, H, Q, D), k and v (1, K, L, D) -> (1, H, Q, D). Scores are float32 or wider.
    """

    @staticmethod
    def forward(ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> torch.Tensor:
        ctx.save_for_backward(q, k, v)
        ctx.scale = scale
        k, v = k[0].contiguous(), v[0].contiguous()
        parts = []
        for block, seen in _blocks(q.shape[2], k.shape[1]):
            p = _probabilities(_stacked(q[:, :, block], len(k)), k[:, :seen], block.stop - block.start, scale)
            parts.append((p.to(q.dtype) @ v[:, :seen]).view(q[:, :, block].shape))
        return torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        (grad,) = grads
        q, k, v = ctx.saved_tensors
        k, v = k[0].contiguous(), v[0].contiguous()
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for block, seen in _blocks(q.shape[2], k.shape[1]):
            q_block, grad_block = (_stacked(t[:, :, block], len(k)) for t in (q, grad))
            p = _probabilities(q_block, k[:, :seen], block.stop - block.start, ctx.scale)
            grad_v[:, :seen] += p.to(q.dtype).transpose(1, 2) @ grad_block
            grad_p = (grad_block @ v[:, :seen].transpose(1, 2)).to(p.dtype)
            grad_p -= torch.linalg.vecdot(grad_p, p)[..., None]
            grad_scores = grad_p.mul_(p).mul_(ctx.scale).to(q.dtype)
            grad_q[:, :, block] = (grad_scores @ k[:, :seen]).view(q[:, :, block].shape)
            grad_k[:, :seen] += grad_scores.transpose(1, 2) @ q_block
        return grad_q, grad_k[None], grad_v[None], None


def _blocks(queries: int, length: int) -> Iterator[tuple[slice, int]]:
    """BLOCK queries at a time, and how many of the `length` positions the last of them sees."""
    for start in range(0, queries, BLOCK):
        stop = min(start + BLOCK, queries)
        yield slice(start, stop), length - queries + stop


def _stacked(t: torch.Tensor, key_heads: int) -> torch.Tensor:
    """(1, H, Q, D) -> (K, G Q, D): the heads that share a key head, one after the other."""
    return t.reshape(key_heads, -1, t.shape[3])


def _probabilities(q: torch.Tensor, k: torch.Tensor, queries: int, scale: float) -> torch.Tensor:
    """(K, G Q, L); the queries stand at the last Q of L positions, and each sees those up to its own."""
    key_heads, length, _ = k.shape
    scores = (q @ k.transpose(1, 2)).to(torch.promote_types(q.dtype, torch.float32)).mul_(scale)
    future = torch.ones(queries, length, dtype=torch.bool, device=q.device).triu_(length - queries + 1)
    scores.view(key_heads, -1, queries, length).masked_fill_(future, -torch.inf)
    return scores.softmax(-1)


def register_attention() -> str:
    """Make packed attention known to transformers; returns the name to pass as `attn_implementation`."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(ATTENTION, packed_attention)
    AttentionMaskInterface.register(ATTENTION, lambda *args, **kwargs: None)
    return ATTENTION
