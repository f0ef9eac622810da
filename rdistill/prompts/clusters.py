"""Clusters of near-duplicate prompts: word 3-gram Jaccard similarity at or above a threshold, closed under union.

The join is exact: by prefix filtering (Bayardo et al. 2007, "Scaling up all pairs similarity search") two sets that
reach the threshold must share one of their rarest grams, so only those are looked up, and each candidate is compared
in full. No pair is missed, nothing is random, and memory is a few entries a prompt.
"""

import math
import re
from collections import Counter

# Words and numbers, arithmetic signs (they make another question), and each CJK character by itself.
WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|[-+*/^=<>%]"
)


def grams(text: str) -> frozenset[str]:
    """The set of word 3-grams of a text (one shorter gram if it has fewer words)."""
    words = WORD.findall(text.casefold())
    return frozenset(" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2)))


def jaccard(a: frozenset, b: frozenset) -> float:
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


def near_duplicates(texts: list[str], threshold: float) -> list[int]:
    """For each text, the number of the first text of its cluster.

    Texts with equal gram sets are one cluster at any threshold (only case, spacing and punctuation differ).
    """
    sets = [grams(text) for text in texts]
    clusters = Clusters(len(texts))
    first: dict[frozenset[str], int] = {}
    for i, gram_set in enumerate(sets):
        clusters.join(first.setdefault(gram_set, i), i)
    if threshold < 1:
        _join_similar(sets, sorted(first.values()), threshold, clusters)
    return [clusters.root(i) for i in range(len(texts))]


def _join_similar(sets: list[frozenset[str]], rows: list[int], threshold: float, clusters: Clusters) -> None:
    """Join rows whose sets reach the threshold, smallest sets first, so that a candidate is never the larger one."""
    counts = Counter(gram for i in rows for gram in sets[i])
    rank = {gram: n for n, gram in enumerate(sorted(counts, key=lambda g: (counts[g], g)))}
    index: dict[int, dict[int, list[tuple[int, int]]]] = {}
    for i in sorted(rows, key=lambda r: (len(sets[r]), r)):
        ranks = sorted(rank[gram] for gram in sets[i])
        size = len(ranks)
        prefix = ranks[: size - math.ceil(threshold * size - 1e-9) + 1]
        for position, token in enumerate(prefix):
            _compare(i, size, position, index.get(token, {}), sets, threshold, clusters)
        for position, token in enumerate(prefix):
            index.setdefault(token, {}).setdefault(clusters.root(i), []).append((i, position))


def _compare(
    i: int,
    size: int,
    position: int,
    postings: dict[int, list[tuple[int, int]]],
    sets: list[frozenset[str]],
    threshold: float,
    clusters: Clusters,
) -> None:
    """Compare row i with the rows that share a rare gram, cluster by cluster; one match joins the whole cluster."""
    for root, entries in postings.items():
        if clusters.root(root) == clusters.root(i):
            continue
        for j, other_position in entries:
            other = len(sets[j])
            shared = min(size - position, other - other_position)  # the most they share, if this gram is their first
            if shared >= threshold * (size + other - shared) - 1e-9 and jaccard(sets[i], sets[j]) >= threshold:
                clusters.join(i, j)
                break
