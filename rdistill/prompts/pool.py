"""Build a run's problems: read every source, cluster near-duplicates, draw the splits, count what was left out."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from rdistill.config import Config, Source
from rdistill.errors import DataError
from rdistill.prompts.clusters import Grams, cluster_text, grams, like_any, near_duplicates, without_template
from rdistill.prompts.files import BadRow, Row, find_file, other_separator, read_file, read_hub
from rdistill.prompts.rows import Draft, column_names, nearest_first, read_draft
from rdistill.prompts.splits import SHOWN, place
from rdistill.prompts.tasks import make_rows
from rdistill.prompts.variations import calculation, variations
from rdistill.records import Pool, Problem, Split, canonical_json, content_id

MAX_BAD = 0.1
GIVE_UP_AFTER = 1000
NAMED = 20
"""Columns that an error offers."""


def build_problems(config: Config) -> tuple[list[Problem], dict[str, Any]]:
    """Every problem of a run with its cluster and split, and the report of what was read and what was left out.

    Raises: DataError for data that cannot be used, ConfigError for a task that does not exist.
    """
    drafts: list[tuple[Source, Draft]] = []
    texts: list[str] = []
    sets: list[Grams] = []
    report: dict[str, Any] = {"sources": [], "warnings": []}
    for number, source in enumerate(config.prompts.sources):
        kept, counts = read_source(source, config, f"prompts.sources.{number}")
        drafts += [(source, draft) for draft in kept]
        texts += (new := [cluster_text(draft.messages) for draft in kept])
        sets += without_template([grams(t) for t in new], new) if source.task else [grams(t) for t in new]
        report["sources"].append(counts)
        if lost := sum(counts["refused"].values()):
            reasons = ", ".join(f"{reason} ({n})" for reason, n in list(counts["refused"].items())[:SHOWN])
            report["warnings"].append(f"{lost} of {counts['rows']} rows of {counts['origin']} were left out: {reasons}")
        if source.hub and not source.revision and not counts["local"]:
            report["warnings"].append(
                f"prompts.sources.{number}.revision is null: the data set may change; pin a commit"
            )
    first = near_duplicates(sets, config.prompts.near_duplicate)
    names = [content_id("cluster", texts[root]) for root in first]
    placed = place([source.split for source, _ in drafts], names, texts, config)
    kept_rows = _problems(drafts, names, placed.split, report)
    practice = _told_again(drafts, kept_rows, config)
    problems = [*kept_rows.values(), *practice]
    sizes = Counter(first)
    report |= {
        "clusters": len(sizes),
        "largest_cluster": max(sizes.values()),
        "variations": sum(p.pool == "synthetic" for p in practice),
        "calculations": sum(p.pool == "domain" for p in practice),
        "leakage_removed": len(placed.leakage),
        "leakage_examples": placed.leakage[:SHOWN],
        "splits": {split: sum(p.split == split for p in problems) for split in ("train", "dev", "test")},
        "domains": _domains(problems),
    }
    assert straddling(problems) == 0, "a cluster stands on two sides of the split"
    _refuse_empty(report["splits"], config)
    return problems, report


def read_source(source: Source, config: Config, field: str) -> tuple[list[Draft], dict[str, Any]]:
    """The usable rows of one source, and the counts of those refused. Raises: DataError if too few are usable."""
    counts: dict[str, Any] = {"origin": source.path or source.hub or source.task, "rows": 0, "used": 0}
    refused: Counter[str] = Counter()
    shown: list[dict[str, str]] = []
    drafts: list[Draft] = []
    columns: list[str] = []
    for row in islice(_open(source, config, field, counts), source.size):
        counts["rows"] += 1
        columns = columns or column_names(row.values)
        try:
            if row.fault:
                raise row.fault
            drafts.append(read_draft(row.values, source))
        except BadRow as fault:
            refused[str(fault)] += 1
            if refused[str(fault)] == 1:
                shown.append({"place": row.place, "reason": str(fault)})
            if not drafts and refused.total() >= GIVE_UP_AFTER:
                break
    counts |= {"used": len(drafts), "refused": dict(refused.most_common()), "refused_examples": shown[:SHOWN]}
    _refuse_bad(counts, shown, columns, source, field)
    return drafts, counts


def _open(source: Source, config: Config, field: str, counts: dict[str, Any]) -> Iterator[Row]:
    """The source's rows; `counts` gets the hash of what was read, where it is a file."""
    if source.task:
        assert source.size is not None
        return make_rows(source.task, source.size, config.seed, source.options)
    if source.hub:
        counts["local"] = (Path(config.data_dir or ".") / source.hub).is_dir()
        counts["revision"] = source.revision
        return read_hub(source.hub, source.subset, source.hub_split, source.revision, config.data_dir)
    path = find_source(source, config, field)
    with open(path, "rb") as f:
        counts["sha256"] = hashlib.file_digest(f, "sha256").hexdigest()
    return read_file(path)


def find_source(source: Source, config: Config, field: str) -> Path:
    """The file that a source names. Raises: DataError if there is none."""
    assert source.path
    try:
        return find_file(source.path, config.data_dir)
    except DataError as error:
        raise DataError(f"{field}.path: {error}") from None


def _refuse_bad(
    counts: dict[str, Any], shown: list[dict[str, str]], columns: list[str], source: Source, field: str
) -> None:
    origin = f"{field} ({counts['origin']})"
    if counts["rows"] == 0:
        raise DataError(f"{origin}: holds no rows; name a file or split with at least one")
    bad = sum(counts["refused"].values())
    if counts["used"] and bad <= MAX_BAD * counts["rows"]:
        return
    reason = next(iter(counts["refused"]))
    place = next(s["place"] for s in shown if s["reason"] == reason)
    remedy = f"mend the rows, or correct {field}.fields"
    for name, column in source.fields:
        if column and reason == f"no column {column!r}":
            named = ", ".join(nearest_first(columns, column)[:NAMED]) or "none there"
            remedy = f"set {field}.fields.{name} to one of: {named}"
    if reason == "not UTF-8":
        remedy = "convert the file to UTF-8 (from Latin-1: iconv -f LATIN1 -t UTF-8 FILE > NEW)"
    if "more than once" in reason:
        remedy = "give each column of the file a name of its own"
    if "separated by" in reason or (reason.startswith("no column") and other_separator(columns)):
        remedy = "write the file with commas between the cells, or as JSONL"
    if "gold" in reason and "column" not in reason:
        remedy = f"correct {field}.gold_format={source.gold_format} or {field}.fields.gold"
    raise DataError(f"{origin}: {bad} of {counts['rows']} rows cannot be used, first {place}: {reason}; {remedy}")


def _problems(
    drafts: list[tuple[Source, Draft]], names: list[str], split: dict[int, Split], report: dict[str, Any]
) -> dict[int, Problem]:
    """Each kept row's problem, in the order read; of equal prompts the first stays, other golds are counted."""
    first: dict[str, int] = {}
    kept: dict[int, Problem] = {}
    report |= {"duplicates": 0, "conflicting_gold": 0}
    for row, (source, draft) in enumerate(drafts):
        if row not in split:
            continue
        if (same := first.setdefault(_prompt(draft), row)) != row:
            report["duplicates"] += 1
            report["conflicting_gold"] += kept[same].gold != draft.gold
            continue
        kept[row] = _problem(draft, source.pool, names[row], split[row])
    if report["conflicting_gold"]:
        report["warnings"].append(
            f"{report['conflicting_gold']} repeated prompts have another gold answer; the first was kept"
        )
    return kept


def _told_again(drafts: list[tuple[Source, Draft]], kept: dict[int, Problem], config: Config) -> list[Problem]:
    """Variations and calculations of the train problems whose source asks for them, each in its problem's cluster.

    Each prompt once, whatever its gold; none is that of a problem that was read, or like a held-out one.
    """
    made: dict[str, Problem] = {}
    for row, problem in kept.items():
        source, draft = drafts[row]
        wanted = source.variations + source.calculations
        found = variations(draft, wanted, config.seed) if wanted and problem.split == "train" else []
        for number, told in enumerate(found):
            pool: Pool = "synthetic" if number < source.variations else "domain"
            again = told if pool == "synthetic" else calculation(told)
            made.setdefault(_prompt(again), _problem(again, pool, problem.cluster, "train"))
    known = {_prompt(problem) for problem in kept.values()}
    fresh = [problem for prompt, problem in made.items() if prompt not in known]
    held = [cluster_text(p.messages) for p in kept.values() if p.split in ("dev", "test")]
    alike = like_any([cluster_text(p.messages) for p in fresh], held, config.prompts.near_duplicate)
    return [p for p, is_like in zip(fresh, alike, strict=True) if not is_like]


def _problem(draft: Draft, pool: Pool, cluster: str, split: Split) -> Problem:
    return Problem(
        id=Problem.make_id(draft.messages, draft.gold, draft.tools),
        messages=draft.messages,
        gold=draft.gold,
        tools=draft.tools,
        hint=draft.hint,
        domain=draft.domain,
        pool=pool,
        cluster=cluster,
        split=split,
    )


def _prompt(asked: Draft | Problem) -> str:
    """The same for equal prompts: case and spacing make no other."""
    messages = [{**m, "content": " ".join(m["content"].casefold().split())} for m in asked.messages]
    return canonical_json([messages, asked.tools])


def straddling(problems: Iterable[Problem]) -> int:
    """How many clusters stand on more than one side of the split: 0, or something leaks. `pair` is on train's side."""
    sides: dict[str, set[str]] = {}
    for problem in problems:
        sides.setdefault(problem.cluster, set()).add("train" if problem.split == "pair" else problem.split)
    return sum(len(splits) > 1 for splits in sides.values())


def _domains(problems: list[Problem]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for problem in problems:
        counts.setdefault(problem.split, Counter())[problem.domain] += 1
    return {split: dict(domains.most_common()) for split, domains in sorted(counts.items())}


def _refuse_empty(splits: dict[str, int], config: Config) -> None:
    if not splits["train"]:
        raise DataError(
            f"the train split is empty (splits: {splits}); lower prompts.test_fraction or prompts.dev_fraction, "
            "raise prompts.near_duplicate, or add a source with split: train"
        )
    split = config.evaluate.split
    if not splits[split]:
        raise DataError(
            f"evaluate.split={split} but that split is empty (splits: {splits}); raise prompts.{split}_fraction, "
            f"add rows, or give a source with split: {split}"
        )
