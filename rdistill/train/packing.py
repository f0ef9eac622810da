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

from rdistill.train.attention import Segment
from rdistill.train.losses import token_logps


class Tokens(NamedTuple):
    """One tokenised conversation; both lists are (T,)."""

    ids: list[int]
    weights: list[float]


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
