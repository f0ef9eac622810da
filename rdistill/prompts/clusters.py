"""Clusters of near-duplicate prompts: word 3-gram Jaccard similarity at or above a threshold, closed under union.

The join is exact: by prefix filtering (Bayardo et al. 2007, "Scaling up all pairs similarity search") two sets that
reach the threshold must share one of their rarest grams, so only those are looked up, and each candidate is compared
in full. No pair is missed, nothing is random, and memory is a few entries a prompt.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

from rdistill.records import Message

# Words and numbers, arithmetic signs (they make another question), and each CJK character by itself.
WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|[-+*/^=<>%]"
)

MIN_TEMPLATE = 20
ROUNDING = 1e-9
Grams = frozenset[str]
# Rows that have a gram among their rarest: (size of the set, the gram's position) -> cluster's root -> rows.
Postings = dict[tuple[int, int], dict[int, list[int]]]


def cluster_text(messages: list[Message]) -> str:
    """What makes a prompt this one: all its messages but the system's, which many share."""
    return "\n".join(m["content"] for m in messages if m["role"] != "system")


def grams(text: str) -> Grams:
    """The set of word 3-grams of a text (one shorter gram if it has fewer words)."""
    words = WORD.findall(text.casefold())
    return frozenset(" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2)))


def jaccard(a: Grams, b: Grams) -> float:
    """Size of the intersection over size of the union; 1 for two empty sets."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared) if a or b else 1.0


class Clusters:
    """Union-find over row numbers; a cluster's root is its first row."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def root(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        i, j = sorted((self.root(i), self.root(j)))
        self._parent[j] = i


def without_template(sets: list[Grams], texts: list[str]) -> list[Grams]:
    """Leave out the grams that more than half of a procedural task's prompts share: they are its instructions.

    What is left may be small, so the whole text counts as one more gram. A task without a template keeps its sets.
    """
    counts = Counter(gram for gram_set in sets for gram in gram_set)
    template = {gram for gram, count in counts.items() if count > max(MIN_TEMPLATE, len(sets) / 2)}
    if not template:
        return sets
    return [(own - template) | {" ".join(text.casefold().split())} for own, text in zip(sets, texts, strict=True)]


def near_duplicates(sets: list[Grams], threshold: float) -> list[int]:
    """For each prompt's grams, the number of the first prompt of its cluster.

    Equal sets are one cluster at any threshold (their texts differ in case, spacing and punctuation at most).
    """
    clusters = Clusters(len(sets))
    first: dict[Grams, int] = {}
    for i, gram_set in enumerate(sets):
        clusters.join(first.setdefault(gram_set, i), i)
    if threshold < 1:
        _join_similar(sets, sorted(first.values()), threshold, clusters)
    return [clusters.root(i) for i in range(len(sets))]


def like_any(texts: Sequence[str], held: Sequence[str], threshold: float) -> list[bool]:
    """Whether each text is in a cluster with one of `held`."""
    first = near_duplicates([grams(t) for t in [*held, *texts]], threshold)
    taken = set(first[: len(held)])
    return [root in taken for root in first[len(held) :]]


def _join_similar(sets: list[Grams], rows: list[int], threshold: float, clusters: Clusters) -> None:
    """Join rows whose sets reach the threshold, smaller sets first."""
    counts = Counter(gram for i in rows for gram in sets[i])
    rank = {gram: n for n, gram in enumerate(sorted(counts, key=lambda g: (counts[g], g)))}
    index: dict[int, Postings] = {}
    for i in sorted(rows, key=lambda r: (len(sets[r]), r)):
        ranks = sorted(rank[gram] for gram in sets[i])
        size = len(ranks)
        prefix = ranks[: size - math.ceil(threshold * size - ROUNDING) + 1]
        for position, gram in enumerate(prefix):
            for (other, other_position), groups in index.get(gram, {}).items():
                # The most that both can share, if this gram is the first that they do (it is, for one gram of a pair).
                shared = min(size - position, other - other_position)
                if shared >= threshold * (size + other - shared) - ROUNDING:
                    _join_groups(i, groups, sets, threshold, clusters)
        for position, gram in enumerate(prefix):
            groups = index.setdefault(gram, {}).setdefault((size, position), {})
            groups.setdefault(clusters.root(i), []).append(i)


def _join_groups(i: int, groups: dict[int, list[int]], sets: list[Grams], threshold: float, clusters: Clusters) -> None:
    """Compare row i with rows that share a rare gram, cluster by cluster; one match joins the whole cluster."""
    for root, rows in groups.items():
        if clusters.root(root) != clusters.root(i) and any(jaccard(sets[i], sets[j]) >= threshold for j in rows):
            clusters.join(root, i)
