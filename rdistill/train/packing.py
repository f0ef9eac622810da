"""Padding-free batches: many sequences in one row, each attending to itself alone, shared beginnings computed once.

    batch = pack([[chosen, rejected], ...])       # a group's sequences share their longest common prefix
    logps_N = forward_logps(model, batch)         # log-probability of every target token

A sequence is (ids, weights); a token with a weight above 0 is a target. Linear layers see no padding, attention runs
per sequence, and the vocabulary is projected to only where a target is predicted.

Shapes: T tokens in the row, N target tokens, S sequences.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from rdistill.errors import TrainError
from rdistill.train.losses import token_logps

ATTENTION = "rdistill_packed"


class Tokens(NamedTuple):
    """One tokenised conversation; both lists are (T,)."""

    ids: list[int]
    weights: list[float]


class Segment(NamedTuple):
    """A sequence inside the row: a prefix [prefix_start, prefix_end) that others share, then [start, end)."""

    prefix_start: int
    prefix_end: int
    start: int
    end: int


class Batch(NamedTuple):
    """A packed row. `sources_N` are the positions whose hidden state predicts the target tokens `targets_N`."""

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    segments: list[Segment]
    sources_N: torch.Tensor
    targets_N: torch.Tensor
    weights_N: torch.Tensor
    owners_N: torch.Tensor
    rows: tuple[int, ...] = ()

    @property
    def num_sequences(self) -> int:
        return len(self.segments)

    def to(self, device: Any) -> "Batch":
        moved = {k: v.to(device) for k, v in self._asdict().items() if isinstance(v, torch.Tensor)}
        return self._replace(**moved)


def common_prefix(sequences: Sequence[list[int]]) -> int:
    """Length of the longest common beginning that leaves every sequence a token of its own."""
    limit = min(len(s) for s in sequences) - 1
    first = sequences[0]
    for i in range(limit):
        if any(s[i] != first[i] for s in sequences[1:]):
            return i
    return max(limit, 0)


def pack(groups: Sequence[Sequence[Tokens]]) -> Batch:
    """Lay groups of sequences into one row; within a group, the first sequence carries the common prefix.

    Sequences are numbered in order: owners_N counts through groups.
    """
    ids: list[int] = []
    positions: list[int] = []
    segments: list[Segment] = []
    targets: list[tuple[int, int, float, int]] = []
    for group in groups:
        shared = common_prefix([s.ids for s in group]) if len(group) > 1 else 0
        root = len(ids)
        for number, sequence in enumerate(group):
            own = 0 if number == 0 else shared
            start, length = len(ids), len(sequence.ids)
            ids += sequence.ids[own:]
            positions += range(own, length)
            segments.append(Segment(root, root + own, start, len(ids)))
            targets += [
                (root + i - 1 if i <= own else start + i - 1 - own, sequence.ids[i], weight, len(segments) - 1)
                for i, weight in enumerate(sequence.weights)
                if weight > 0
            ]
    sources, target_ids, weights, owners = zip(*targets, strict=True) if targets else ((), (), (), ())
    return Batch(
        torch.tensor([ids]),
        torch.tensor([positions]),
        segments,
        torch.tensor(sources, dtype=torch.long),
        torch.tensor(target_ids, dtype=torch.long),
        torch.tensor(weights, dtype=torch.float32),
        torch.tensor(owners, dtype=torch.long),
    )


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
    """Causal attention inside each segment of one packed row, in transformers' attention interface.

    Shapes: query (1, H, T, D), key and value (1, H_kv, T, D); without segments, plain causal attention over (B, ...).
    A segment with a prefix recomputes the prefix's own attention and drops it: cheaper than a mask, and causal
    kernels stay in use.
    Returns: (1, T, H, D).
    Raises: TrainError where the model needs a sliding window or a soft cap, which these kernels do not have.
    """
    longest = max((s.prefix_end - s.prefix_start + s.end - s.start for s in segments or ()), default=query.shape[2])
    if softcap is not None or (sliding_window is not None and longest > sliding_window):
        raise TrainError(
            f"{type(module).__name__} needs softcap={softcap}, sliding_window={sliding_window} at {longest} tokens; "
            "lower max_length to the window, or train a model without them"
        )
    same = query.shape[1] == key.shape[1]

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(
            q, k, v, is_causal=q.shape[2] > 1, scale=scaling, dropout_p=dropout, enable_gqa=not same
        )

    if segments is None:
        assert attention_mask is None, "packed attention takes no mask"
        return attend(query, key, value).transpose(1, 2).contiguous(), None
    sizes = [s.end - s.start for s in segments]
    parts = [list(t.split(sizes, dim=2)) for t in (query, key, value)]
    outputs = []
    for number, segment in enumerate(segments):
        own = [p[number] for p in parts]
        shared = segment.prefix_end - segment.prefix_start
        if shared:
            prefix = slice(segment.prefix_start, segment.prefix_end)
            own = [torch.cat([t[:, :, prefix], o], dim=2) for t, o in zip((query, key, value), own, strict=True)]
        outputs.append(attend(*own)[:, :, shared:])
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def register_attention() -> str:
    """Make packed attention known to transformers; returns the name to pass as `attn_implementation`."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(ATTENTION, packed_attention)
    AttentionMaskInterface.register(ATTENTION, lambda *args, **kwargs: None)
    return ATTENTION


def forward_logps(model: Any, batch: Batch) -> torch.Tensor:
    """Log-probability of each target token of a packed row, (N,) float32, in nats.

    `model` is a causal language model (or a DeepSpeed or PEFT wrapper of one) loaded with packed attention.
    """
    logits = model(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        segments=batch.segments,
        logits_to_keep=batch.sources_N,
        use_cache=False,
    ).logits
    return token_logps(logits[0], batch.targets_N)
