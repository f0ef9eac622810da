"""Sealed Parquet rows as tokens: what cannot be trained on is refused with a reason and counted, never cut.

data = load_sft(run.sft_data, tokenizer, config.sft)
data.groups, data.refused
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from rdistill.config import DpoConfig, SftConfig, SpanWeights
from rdistill.errors import DataError, TrainError
from rdistill.records import content_id
from rdistill.train.batches import Unit
from rdistill.train.losses import normalized_weights
from rdistill.train.packing import Tokens, common_prefix
from rdistill.train.spans import Rendered, SpanError, parse_messages, parse_spans, render

MUCH = 0.25
"""Rows of a problem stay together in training if they begin alike for at least this part of the second one's tokens."""

TOLD = 0.01
"""Share of refused rows from which training warns."""
MOST = 0.5
"""Share of refused rows above which there is no training: what is left is not what was chosen."""


@dataclass
class TokenData:
    """Rows as groups of tokenised sequences: one sequence in SFT, chosen and rejected in DPO."""

    ids: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    modes: list[str | None] = field(default_factory=list)
    groups: list[list[Tokens]] = field(default_factory=list)
    clusters: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    example: str = ""
    """The first refused row, and why."""
    held_out: set[int] = field(default_factory=set)
    """Rows that early stopping looks at and nothing trains on."""

    @property
    def training(self) -> list[int]:
        """Rows that are trained on."""
        return [row for row in range(len(self.groups)) if row not in self.held_out]

    def hold_out(self, share: float) -> None:
        """Leave the rows of about `share` of the clusters out of training. Raises DataError if one side is empty."""
        digests = [content_id("held out", cluster) for cluster in self.clusters]
        self.held_out = {row for row, digest in enumerate(digests) if int(digest[:8], 16) < share * 16**8}
        if not 0 < len(self.held_out) < len(self.groups):
            raise DataError(
                f"sft.early_stop.share={share} holds out {len(self.held_out)} of {len(self.groups)} rows; raise it, "
                "or set sft.early_stop to null"
            )

    def units(self, most: int) -> list[Unit]:
        """Training rows in units of at most `most`: those of one problem that have much of their tokens in common."""
        units: list[Unit] = []
        for row in sorted(self.training, key=lambda r: (self.problems[r], self.groups[r][0].ids)):
            before = units[-1][-1] if units else row
            same = before != row and self.problems[before] == self.problems[row] and len(units[-1]) < most
            if same and self.shared(before, row) >= MUCH * len(self.groups[row][0].ids):
                units[-1].append(row)
            else:
                units.append([row])
        return sorted(units)

    def shared(self, before: int, row: int) -> int:
        """Tokens at the beginning of a row that it has in common with another."""
        return common_prefix(self.groups[before][0].ids, self.groups[row][0].ids)

    def own_lengths(self, units: Sequence[Unit]) -> list[int]:
        """Tokens of each row, less what it shares with the row before it in its unit."""
        lengths = self.lengths
        for unit in units:
            for before, row in pairwise(unit):
                lengths[row] -= self.shared(before, row)
        return lengths

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return [sum(len(s.ids) for s in g) for g in self.groups]

    @property
    def supervised_share(self) -> float:
        """Tokens with a weight above 0, as a fraction of all."""
        supervised = sum(w > 0 for g in self.groups for s in g for w in s.weights)
        return supervised / max(1, sum(self.lengths))

    def refusals(self) -> str:
        """Of the refused rows: how many, why, and what the first one's error says to change."""
        total = len(self.groups) + self.refused.total()
        why = ", ".join(f"{count} {reason}" for reason, count in self.refused.most_common())
        return f"{self.refused.total()} of {total} rows cannot be trained on ({why}); first {self.example}"

    def summary(self) -> dict[str, Any]:
        lengths = self.lengths
        lost = self.refused.total()
        is_told = lost > 0 and lost >= TOLD * (lost + len(self.groups))
        return {
            **({"warnings": [self.refusals()]} if is_told else {}),
            "rows": len(self.groups),
            "refused": dict(self.refused),
            "tokens_per_epoch": sum(lengths[row] for row in self.training),
            "supervised_share": round(self.supervised_share, 4),
        }


def load_sft(path: Path, tokenizer: Any, config: SftConfig) -> TokenData:
    """Tokens of RUN/data/sft.parquet. Raises DataError without rows, TrainError where most are refused."""

    def tokens(row: dict[str, Any]) -> list[Tokens]:
        rendered = _render(tokenizer, row["messages"], row["spans"], config.weights, config.max_length)
        weights = normalized_weights(rendered.weights, rendered.roles, config.normalize)
        times = config.mode_weights[row["mode"]] if row.get("mode") else 1.0
        return [Tokens(rendered.ids, [times * w for w in weights])]

    data = _load(path, tokens)
    if config.early_stop is not None:
        data.hold_out(config.early_stop.share)
    return data


def load_pairs(path: Path, tokenizer: Any, config: DpoConfig) -> TokenData:
    """Tokens of RUN/data/pairs.parquet: [chosen, rejected] per row, weights 0 or 1 (tool results 0).

    Raises DataError without rows, TrainError where most are refused.
    """

    def tokens(row: dict[str, Any]) -> list[Tokens]:
        prompt = json.loads(row["prompt"])
        sides = []
        for side in ("chosen", "rejected"):
            messages = json.dumps(prompt + json.loads(row[side]))
            rendered = _render(tokenizer, messages, row[f"{side}_spans"], SpanWeights(), config.max_length)
            sides.append(Tokens(rendered.ids, rendered.weights))
        if sides[0].ids == sides[1].ids:
            raise SpanError("SAME_TEXT", "chosen and rejected are the same tokens")
        return sides

    return _load(path, tokens)


def _render(tokenizer: Any, messages: str, spans: str, weights: SpanWeights, max_length: int) -> Rendered:
    return render(tokenizer, parse_messages(messages), parse_spans(spans), weights, max_length)


def _load(path: Path, tokens: Callable[[dict[str, Any]], list[Tokens]]) -> TokenData:
    import pyarrow.parquet as pq

    if not path.exists():
        raise DataError(f"{path} is missing; run the stages before this one (rdistill run CONFIG)")
    data = TokenData()
    rows = pq.read_table(path).to_pylist()
    for row in rows:
        try:
            data.groups.append(tokens(row))
            data.ids.append(row["id"])
            data.problems.append(row.get("problem_id") or row["id"])
            data.modes.append(row.get("mode"))
            data.clusters.append(row.get("cluster") or row["id"])
        except SpanError as error:
            data.refused[error.reason] += 1
            data.example = data.example or f"row {row['id']}: {error}"
    if not data.groups and not data.refused:
        raise DataError(f"{path} holds no rows; look at what the stage before left out")
    if data.refused.total() > MOST * len(rows):
        raise TrainError(f"{path}: {data.refusals()}")
    return data
