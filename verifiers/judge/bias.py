"""How far a judge can be trusted: its comparisons of labelled pairs of replies, each asked in both orders.

    rows = judge_pairs(referee, pairs)      pairs: {"id", "question", "a", "b", "label", "model_a", "model_b"}
    report = bias_report(rows, "my-judge")

`label`, "a", "b" or "tie", is what people say; `model_a` and `model_b`, who wrote the replies, may be left out.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rdistill.verifiers.judge.referee import JudgeFault, Referee

SIDES = ("a", "b", "tie")
IN_FLIGHT = 16


async def judge_pairs(referee: Referee, pairs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each pair with `forward` and `backward`, the better side as judged in each order; both None after a fault."""
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def one(pair: dict[str, Any]) -> dict[str, Any]:
        async with gate:
            try:
                forward, backward = await referee.prefer(pair["question"], pair["a"], pair["b"])
            except JudgeFault as fault:
                return pair | {"forward": None, "backward": None, "fault": str(fault)}
        return pair | {"forward": forward, "backward": backward}

    return await asyncio.gather(*map(one, pairs))


def bias_report(rows: Sequence[dict[str, Any]], judge_model: str | None = None) -> dict[str, Any]:
    """Shares, null where nothing can be counted.

    faults        no usable judgement                          flips   another order, another judgement (a tie then)
    first_wins    the reply shown first wins; 0.5 is fair      agreement, kappa   with the labels, ties included
    longer_wins   the longer reply wins, by judge and by labels on the same rows; `bias` is the difference
    own_wins      the reply of `judge_model` wins, by judge and by labels, where one side alone is its own
    """
    judged = [row for row in rows if row["forward"] in SIDES and row["backward"] in SIDES]
    final = [row["forward"] if row["forward"] == row["backward"] else "tie" for row in judged]
    labels = [row["label"] for row in judged]
    shown_first = [row["forward"] == "a" for row in judged if row["forward"] != "tie"]
    shown_first += [row["backward"] == "b" for row in judged if row["backward"] != "tie"]
    return {
        "n": len(rows),
        "faults": share([row not in judged for row in rows]),
        "flips": share([row["forward"] != row["backward"] for row in judged]),
        "first_wins": share(shown_first),
        "agreement": share([f == label for f, label in zip(final, labels, strict=True)]),
        "kappa": kappa(final, labels),
        "longer_wins": favour(final, labels, [longer_side(row) for row in judged]),
        "own_wins": favour(final, labels, [own_side(row, judge_model) for row in judged]),
    }


def favour(final: list[str], labels: list[str], sides: list[str | None]) -> dict[str, Any]:
    """How often a kind of side wins by the judge and by the labels, where both decide; and the difference."""
    counted = [t for t in zip(final, labels, sides, strict=True) if t[2] and "tie" not in t[:2]]
    by_judge, by_labels = (share([t[i] == t[2] for t in counted]) for i in (0, 1))
    bias = None if by_judge is None or by_labels is None else round(by_judge - by_labels, 4)
    return {"n": len(counted), "judge": by_judge, "labels": by_labels, "bias": bias}


def longer_side(row: dict[str, Any]) -> str | None:
    a, b = len(row["a"]), len(row["b"])
    return None if a == b else "a" if a > b else "b"


def own_side(row: dict[str, Any], judge_model: str | None) -> str | None:
    own = [side for side in ("a", "b") if judge_model and row.get(f"model_{side}") == judge_model]
    return own[0] if len(own) == 1 else None


def kappa(first: list[str], second: list[str]) -> float | None:
    """Agreement beyond chance. Source: Cohen 1960, doi:10.1177/001316446002000104."""
    if not first:
        return None
    n, one, two = len(first), Counter(first), Counter(second)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    chance = sum(one[side] * two[side] for side in SIDES) / n**2
    return None if chance == 1 else round((observed - chance) / (1 - chance), 4)


def share(flags: Sequence[bool]) -> float | None:
    return round(sum(flags) / len(flags), 4) if flags else None
