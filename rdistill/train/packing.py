"""Padding-free batches: many sequences in one row, each attending to itself alone, shared beginnings computed once.

    batch = pack([[chosen, rejected], ...])       # groups of sequences
    logps_N = forward_logps(model, batch)         # log-probability of every target token

A sequence is (ids, weights); a token with a weight above 0 is a target. Linear layers see no padding, attention runs
per sequence, and the vocabulary is projected to only where a target is predicted. Sequences of a row share their
beginnings, whoever they belong to: a system prompt is computed once in a row, a question once for all its answers.

Shapes: T tokens in the row, N target tokens, S sequences.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch

from rdistill.train.attention import Segment
from rdistill.train.head import head_targets
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


def common_prefix(before: Sequence[int], ids: Sequence[int]) -> int:
    """Length of the common beginning of two sequences that leaves the second a token of its own."""
    limit = min(len(before), len(ids) - 1)
    return next((i for i in range(limit) if before[i] != ids[i]), max(limit, 0))


def pack(groups: Sequence[Sequence[Tokens]]) -> Batch:
    """Lay groups of sequences into one row, each token once for all sequences that begin alike up to it.

    Sequences are numbered in order: owners_N counts through groups. They are laid in the order of their ids, where
    each shares the most with the one before it.
    """
    sequences = [sequence for group in groups for sequence in group]
    ids: list[int] = []
    positions: list[int] = []
    segments: list[Segment] = []
    targets: list[tuple[int, int, int, float]] = []
    before: list[int] = []
    places: list[int] = []
    """Where in the row the tokens of the sequence before stand."""
    for owner in sorted(range(len(sequences)), key=lambda n: sequences[n].ids):
        sequence = sequences[owner]
        shared = common_prefix(before, sequence.ids)
        start = len(ids)
        ids += sequence.ids[shared:]
        positions += range(shared, len(sequence.ids))
        places = [*places[:shared], *range(start, len(ids))]
        segments.append(Segment(runs(places[:shared]), start, len(ids)))
        targets += [(owner, places[i - 1], sequence.ids[i], w) for i, w in enumerate(sequence.weights) if w > 0]
        before = sequence.ids
    targets.sort(key=lambda target: target[0])
    owners, sources, target_ids, weights = zip(*targets, strict=True) if targets else ((), (), (), ())
    return Batch(
        torch.tensor([ids]),
        torch.tensor([positions]),
        segments,
        torch.tensor(sources, dtype=torch.long),
        torch.tensor(target_ids, dtype=torch.long),
        torch.tensor(weights, dtype=torch.float32),
        torch.tensor(owners, dtype=torch.long),
    )


def runs(places: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as unbroken runs: [3, 4, 5, 9] -> [(3, 6), (9, 10)]."""
    breaks = [i for i in range(1, len(places)) if places[i] != places[i - 1] + 1]
    cuts = pairwise([0, *breaks, len(places)])
    return [(places[i], places[j - 1] + 1) for i, j in cuts if i < j]


def forward_logps(model: Any, batch: Batch) -> torch.Tensor:
    """Log-probability of each target token of a packed row, (N,) float32, in nats.

    `model` is a causal language model (or a DeepSpeed or PEFT wrapper of one) loaded with packed attention.
    """
    with head_targets(model, batch.targets_N) as has_logps:
        found = model(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            segments=batch.segments,
            logits_to_keep=batch.sources_N,
            use_cache=False,
        ).logits[0]
    return found if has_logps else token_logps(found, batch.targets_N)
