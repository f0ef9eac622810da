"""Which rows each rank trains on, when: the same optimizer steps for any number of ranks.

    plan = plan_steps(lengths, batch_size=16, epochs=3, seed=0)       # rows of each step
    mine = rank_batches(plan, lengths, micro_batch_size=8, ranks=2, rank=0)

A step's rows depend on the seed and the data alone; ranks and micro-batches only cut them up.
"""

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, Sampler

from rdistill.train.packing import Batch, Tokens, pack


def plan_steps(num_rows: int, *, batch_size: int, epochs: float, seed: int) -> list[list[int]]:
    """Rows of each optimizer step: every epoch is a fresh permutation, its last step may be smaller.

    A fraction of an epoch is that fraction of its steps, at least one.
    """
    per_epoch = math.ceil(num_rows / batch_size)
    total = max(1, round(per_epoch * epochs))
    steps: list[list[int]] = []
    for epoch in range(math.ceil(total / per_epoch)):
        order = list(range(num_rows))
        random.Random(f"{seed}:{epoch}").shuffle(order)
        steps += [order[i : i + batch_size] for i in range(0, num_rows, batch_size)]
    return steps[:total]


def accumulation(batch_size: int, micro_batch_size: int, ranks: int) -> int:
    """Forward passes per rank and optimizer step."""
    return math.ceil(batch_size / (ranks * micro_batch_size))


def split_step(rows: Sequence[int], lengths: Sequence[int], parts: int, most: int) -> list[list[int]]:
    """Cut a step's rows into `parts` of at most `most` rows and about equal tokens: longest first, to the lightest."""
    assert len(rows) <= parts * most
    split: list[list[int]] = [[] for _ in range(parts)]
    load = [0] * parts
    for row in sorted(rows, key=lambda r: (-lengths[r], r)):
        lightest = min((p for p in range(parts) if len(split[p]) < most), key=lambda p: (load[p], p))
        split[lightest].append(row)
        load[lightest] += lengths[row]
    return split


def rank_batches(
    steps: Sequence[Sequence[int]],
    lengths: Sequence[int],
    *,
    batch_size: int,
    micro_batch_size: int,
    ranks: int,
    rank: int,
) -> list[list[int]]:
    """This rank's micro-batches in order, `accumulation(...)` of them per step; some may be empty."""
    times = accumulation(batch_size, micro_batch_size, ranks)
    return [b for s in steps for b in split_step(s, lengths, ranks * times, micro_batch_size)[rank::ranks]]


class PlannedBatches(Sampler[list[int]]):
    """A batch sampler over micro-batches that are already drawn. An empty one is given as [-1]."""

    def __init__(self, batches: Sequence[list[int]]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        return iter([b or [-1] for b in self.batches])

    def __len__(self) -> int:
        return len(self.batches)


class Rows:
    """Groups of tokenised sequences by row number; row -1 is row 0 without targets, for an idle rank."""

    def __init__(self, groups: Sequence[Sequence[Tokens]]) -> None:
        self.groups = groups

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, row: int) -> tuple[int, Sequence[Tokens]]:
        if row >= 0:
            return row, self.groups[row]
        return row, [Tokens(s.ids, [0.0] * len(s.ids)) for s in self.groups[0]]


def collate(items: Sequence[tuple[int, Sequence[Tokens]]]) -> Batch:
    """One packed row from groups; `rows` names them (-1 for the empty one)."""
    return pack([group for _, group in items])._replace(rows=tuple(row for row, _ in items))


def loader(groups: Sequence[Sequence[Tokens]], batches: Sequence[list[int]]) -> DataLoader[Any]:
    """A DataLoader of packed batches."""
    return DataLoader(Rows(groups), batch_sampler=PlannedBatches(batches), collate_fn=collate)  # type: ignore[arg-type]
