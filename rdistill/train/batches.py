"""Which rows each rank trains on, when: the same optimizer steps for any number of ranks.

    plan = plan_steps(data.units(8), batch_size=16, epochs=3, seed=0)            # units of rows of each step
    mine = rank_batches(plan, lengths, batch_size=16, micro_batch_size=8, ranks=2, rank=0)

A step's rows depend on the seed and the data alone; ranks and micro-batches only cut them up. A unit is rows that begin
alike, such as the answers to one question: in one micro-batch, what they share is computed once.
"""

import math
import random
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader, Sampler

from rdistill.train.packing import Batch, Tokens, pack

Unit = list[int]
LOOK_AHEAD = 16
"""Units that a step may pass over for one that fits; they stand first in the next."""


def plan_steps(units: Sequence[Unit], *, batch_size: int, epochs: float, seed: int) -> list[list[Unit]]:
    """Units of each optimizer step, at most `batch_size` rows: every epoch is a fresh permutation of the units.

    A fraction of an epoch is that fraction of its steps; there is at least one. No unit may be larger than a step.
    """
    steps: list[list[Unit]] = []
    for epoch in range(math.ceil(epochs)):
        order = list(units)
        random.Random(f"{seed}:{epoch}").shuffle(order)
        whole = fill_steps(order, batch_size)
        steps += whole[: round(min(1.0, epochs - epoch) * len(whole))]
    return steps or whole[:1]


def fill_steps(units: Sequence[Unit], batch_size: int) -> list[list[Unit]]:
    """Cut units into steps of at most `batch_size` rows, in their order but for a few that fill a step up."""
    assert all(len(unit) <= batch_size for unit in units)
    steps: list[list[Unit]] = []
    waiting = deque(units)
    while waiting:
        step: list[Unit] = []
        passed: list[Unit] = []
        room = batch_size
        while room and waiting and len(passed) < LOOK_AHEAD:
            unit = waiting.popleft()
            if len(unit) > room:
                passed.append(unit)
            else:
                step.append(unit)
                room -= len(unit)
        waiting.extendleft(reversed(passed))
        steps.append(step)
    return steps


def accumulation(batch_size: int, micro_batch_size: int, ranks: int) -> int:
    """Forward passes per rank and optimizer step."""
    return math.ceil(batch_size / (ranks * micro_batch_size))


def split_step(units: Sequence[Unit], lengths: Sequence[int], parts: int, most: int) -> list[list[int]]:
    """Cut a step into `parts` of at most `most` rows and about equal tokens: the longest first, to the lightest.

    A unit stays whole where it fits.
    """
    assert sum(map(len, units)) <= parts * most
    split: list[list[int]] = [[] for _ in range(parts)]
    load = [0] * parts

    def cost(rows: Unit) -> int:
        return sum(lengths[row] for row in rows)

    for unit in sorted(units, key=lambda u: (-cost(u), u)):
        fits = any(len(part) + len(unit) <= most for part in split)
        for piece in [unit] if fits else [[row] for row in unit]:
            open_parts = [p for p in range(parts) if len(split[p]) + len(piece) <= most]
            lightest = min(open_parts, key=lambda p: (load[p], p))
            split[lightest] += piece
            load[lightest] += cost(piece)
    return split


def rank_batches(
    steps: Sequence[Sequence[Unit]],
    lengths: Sequence[int],
    *,
    batch_size: int,
    micro_batch_size: int,
    ranks: int,
    rank: int,
) -> list[list[int]]:
    """This rank's micro-batches in order, `accumulation(...)` of them per step; some may be empty.

    lengths: tokens of each row, less what it shares with the row before it in its unit.
    """
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
