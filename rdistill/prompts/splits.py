"""Which side each prompt stands on: drawn once, over near-duplicate clusters, before anything else.

Explicit splits are kept. In a cluster with explicit test rows (else dev rows) every row of a lesser split is leakage
and is quarantined. The other clusters are drawn by a hash of the seed and the cluster's id, so that adding unrelated
rows moves none. A source that names its own test (dev) split replaces test_fraction (dev_fraction). Rows for practice
are only trained on: where their cluster is held out they are leakage too.
"""

import hashlib
from collections import defaultdict
from typing import Any, NamedTuple

from rdistill.config import Config
from rdistill.prompts.clusters import grams, jaccard
from rdistill.records import Split

STRENGTH = {"practice": -1, "auto": 0, "train": 1, "dev": 2, "test": 3}
SHOWN, EXCERPT = 10, 300


class Placed(NamedTuple):
    """Rows kept with their splits, and the leakage taken out."""

    split: dict[int, Split]
    leakage: list[dict[str, Any]]


def share(seed: int, purpose: str, cluster: str) -> float:
    """A number in [0, 1) that depends on these three alone."""
    digest = hashlib.blake2b(f"{seed}\0{purpose}\0{cluster}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def place(wanted: list[str], clusters: list[str], texts: list[str], config: Config) -> Placed:
    """Give every row a split, or quarantine it. `wanted` is each row's configured split, `auto` included."""
    p = config.prompts
    test_fraction = 0.0 if "test" in wanted else p.test_fraction
    dev_fraction = 0.0 if "dev" in wanted else p.dev_fraction
    members: dict[str, list[int]] = defaultdict(list)
    for row, cluster in enumerate(clusters):
        members[cluster].append(row)
    placed = Placed({}, [])
    for cluster, rows in members.items():
        strongest = max((wanted[row] for row in rows), key=STRENGTH.__getitem__)
        held = {row for row in rows if wanted[row] == strongest} if strongest in ("dev", "test") else set()
        side: Split = "train"
        if held:
            side = "test" if strongest == "test" else "dev"
        elif strongest == "auto" and share(config.seed, "test", cluster) < test_fraction:
            side = "test"
        elif strongest != "practice" and share(config.seed, "dev", cluster) < dev_fraction:
            side = "dev"
        if side != "train":
            held = held or {row for row in rows if wanted[row] != "practice"}
        for row in rows:
            if held and row not in held:
                placed.leakage.append(_leak(row, held, wanted, texts))
            else:
                placed.split[row] = side
    return placed


def _leak(row: int, held: set[int], wanted: list[str], texts: list[str]) -> dict[str, Any]:
    """What was taken out, and the held-out text that it matches best."""
    own = grams(texts[row])
    scores = {other: jaccard(own, grams(texts[other])) for other in held}
    match = max(held, key=lambda other: (scores[other], -other))
    return {
        "split": wanted[row],
        "text": texts[row][:EXCERPT],
        "matched_split": wanted[match],
        "matched_text": texts[match][:EXCERPT],
        "similarity": round(scores[match], 3),
    }
